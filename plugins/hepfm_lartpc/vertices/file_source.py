"""Interactions of a file as primaries of events."""

from __future__ import annotations

from collections import Counter

import numpy as np

from hepfm.errors import DataError
from hepfm_lartpc.event import Floats
from hepfm_lartpc.species import MASS_MEV
from hepfm_lartpc.streams import Stream, uniform
from hepfm_lartpc.vertices import draws
from hepfm_lartpc.vertices.config import RecordFile
from hepfm_lartpc.vertices.named import LEAST_MEV, MOST_MEV, SPECIES_OF_PDG
from hepfm_lartpc.vertices.records import read_records
from hepfm_lartpc.vertices.short_lived import final_particles


class FileSource:
    """The records of a file; each event gets one of them at a random point.

    Attributes:
        records: All of them, with the generator's weights.
        skipped: PDG numbers of particles left out, with their counts so far in this process.
    """

    def __init__(self, config: RecordFile, low_mm: Floats, high_mm: Floats) -> None:
        self.records = read_records(config.path, config.format)
        self.skipped: Counter[int] = Counter()
        self._config, self._low, self._high = config, low_mm, high_mm
        position = np.array(config.position_mm if config.position_mm is not None else (low_mm + high_mm) / 2)
        if ((position < low_mm) | (position > high_mm)).any():
            raise DataError(
                f"position_mm {config.position_mm} lies outside the argon",
                where=self.records.where,
                fix=f"stay within {tuple(low_mm.tolist())} and {tuple(high_mm.tolist())} mm",
            )
        self._first, self._stop = (int(len(self.records) * edge) for edge in config.share)
        if self._first == self._stop:
            raise DataError(
                f"share {list(config.share)} holds none of the file's {len(self.records)} records",
                where=self.records.where,
                fix="give a larger share",
            )
        # A generator's rare negative weights have no place in drawing; their sum is small by construction.
        self._chances = np.cumsum(np.maximum(self.records.weights[self._first : self._stop], 0.0))
        if config.pick == "weighted" and not self._chances[-1] > 0:
            raise DataError("no record has a weight above 0", where=self.records.where, fix="pick: random")

    def __call__(self, s: Stream, index: int, first: int) -> Floats:
        """Primaries ``(P, 10)`` of event ``index``, of interaction ``first``."""
        record = self.record(s, index)
        position = self._config.position_mm
        x, y, z = (
            position if position is not None else draws.point(s, self._low, self._high, self._config.region)
        )
        rows = []
        for i in range(self.records.offsets[record], self.records.offsets[record + 1]):
            try:
                left = final_particles(s, int(self.records.pdg[i]), self.records.momentum_mev[i])
            except KeyError as error:
                if self._config.unknown == "error":
                    raise DataError(
                        f"the particle with PDG number {error.args[0]} can neither be followed nor decayed",
                        where=f"{self.records.where}, record {record}",
                        fix="unknown: skip leaves such particles out and counts them",
                    ) from error
                self.skipped[error.args[0]] += 1
                continue
            for pdg, momentum in left:
                species = SPECIES_OF_PDG[pdg]
                p2 = float(momentum @ momentum)
                mass = float(MASS_MEV[species])
                kinetic = p2 / (np.sqrt(p2 + mass * mass) + mass) if p2 > 0.0 else 0.0
                if kinetic > MOST_MEV:
                    raise DataError(
                        f"a kinetic energy of {kinetic:g} MeV lies above the tables' {MOST_MEV:g} MeV",
                        where=f"{self.records.where}, record {record}",
                        fix="leave such records out",
                    )
                if kinetic >= LEAST_MEV:  # slower ones would leave no trace
                    rows.append((species, kinetic, *(momentum / np.sqrt(p2)), x, y, z, 0.0, first))
        return np.array(rows).reshape(-1, draws.COLUMNS)

    def record(self, s: Stream, index: int) -> int:
        """Number of the record that event ``index`` takes."""
        records = self._stop - self._first
        if self._config.pick == "in-order":
            place = index % records
        elif self._config.pick == "random":
            place = int(uniform(s) * records)
        else:
            place = int(np.searchsorted(self._chances, uniform(s) * self._chances[-1], "right"))
        return self._first + min(place, records - 1)
