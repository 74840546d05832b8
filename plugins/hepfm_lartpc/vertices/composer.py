"""Compositions become primaries: event i of a seed, whatever was made before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from hepfm.errors import RecipeError
from hepfm_lartpc.event import Floats, Primaries
from hepfm_lartpc.species import NAMES
from hepfm_lartpc.streams import Stream, stream
from hepfm_lartpc.vertices import draws
from hepfm_lartpc.vertices.config import Bombs, CompositionConfig, Cosmics, Particles, RecordFile, Source
from hepfm_lartpc.vertices.file_source import FileSource
from hepfm_lartpc.vertices.named import species_of

Draw = Callable[[Stream, int, int], Floats]
"""Random numbers, index of the event and number of its first interaction give primaries ``(P, 10)``."""


class Composer:
    """What events begin with, in a box of argon.

    Args:
        config: The sources, added up in each event.
        low_mm: Lower corner of the box.
        high_mm: Upper corner.

    Attributes:
        nuclear: Whether the composition wants nuclear interactions.
        muon_capture: Whether it wants captures of mu-.
        files: Its files of records, with their weights and counts of skipped particles.

    Raises:
        RecipeError: A given particle lies outside the box.
        DataError: A file of records cannot be read.
    """

    def __init__(self, config: CompositionConfig, low_mm: Sequence[float], high_mm: Sequence[float]) -> None:
        self.config = config
        self.nuclear, self.muon_capture = config.nuclear, config.muon_capture
        self.files: list[FileSource] = []
        self._low, self._high = np.array(low_mm, np.float64), np.array(high_mm, np.float64)
        self._draws = [self._draw(source, f"sources[{i}]") for i, source in enumerate(config.sources)]

    def __call__(self, seed: int, index: int) -> Primaries:
        """Primaries of event ``index``, from the stream (seed, "vertices", index) alone.

        Raises:
            DataError: A record holds what can neither be followed nor decayed, or energies beyond the tables.
        """
        s = stream(seed, "vertices", index)
        parts: list[Floats] = []
        first = 0
        for draw in self._draws:
            rows = draw(s, index, first)
            if len(rows):
                parts.append(rows)
                first = int(rows[:, 9].max()) + 1
        table = np.concatenate(parts) if parts else np.empty((0, draws.COLUMNS))
        return Primaries(
            species=table[:, 0].astype(np.int32),
            kinetic_mev=table[:, 1].copy(),
            direction=table[:, 2:5].copy(),
            position_mm=table[:, 5:8].copy(),
            time_ns=table[:, 8].copy(),
            interaction=table[:, 9].astype(np.int32),
        )

    @property
    def skipped(self) -> Counter[int]:
        """PDG numbers of particles that files were allowed to lose, with their counts in this process."""
        return sum((file.skipped for file in self.files), Counter())

    def _draw(self, source: Source, where: str) -> Draw:
        if isinstance(source, Bombs):
            return self._bombs(source)
        if isinstance(source, Cosmics):
            return self._cosmics(source)
        if isinstance(source, Particles):
            return self._particles(source, where)
        assert isinstance(source, RecordFile)
        self.files.append(FileSource(source, self._low, self._high))
        return self.files[-1]

    def _bombs(self, source: Bombs) -> Draw:
        counts = np.array([*source.interactions, *source.particles], np.int64)
        names = [name for name in NAMES if source.weights.get(name)]
        species = np.array([species_of(name) for name in names], np.int64)
        chances = np.cumsum([source.weights[name] for name in names])
        chances /= chances[-1]
        energies = np.array([source.kinetic_mev[name] for name in names], np.float64)
        low, high, region = self._low, self._high, source.region

        def draw(s: Stream, _: int, first: int) -> Floats:
            return draws.bombs(s, low, high, counts, species, chances, energies, region, first)

        return draw

    def _cosmics(self, source: Cosmics) -> Draw:
        low, high = self._low, self._high

        def draw(s: Stream, _: int, first: int) -> Floats:
            return draws.cosmics(
                s, low, high, source.mean, source.kinetic_mev, source.least_cos2, source.plus_share,
                source.window_ns, first,
            )  # fmt: skip

        return draw

    def _particles(self, source: Particles, where: str) -> Draw:
        table = np.array([
            (species_of(p.name), p.kinetic_mev, *p.direction, *p.position_mm, p.time_ns, p.interaction)
            for p in source.particles
        ])  # fmt: skip
        outside = (table[:, 5:8] < self._low) | (table[:, 5:8] > self._high)
        for i in np.flatnonzero(outside.any(1)):
            raise RecipeError(
                f"position_mm {tuple(table[i, 5:8].tolist())} lies outside the argon",
                where=f"composition, {where}.particles[{i}]",
                fix=f"stay within {tuple(self._low.tolist())} and {tuple(self._high.tolist())} mm",
            )

        def draw(_: Stream, __: int, first: int) -> Floats:
            rows = table.copy()
            rows[:, 9] += first
            return rows

        return draw
