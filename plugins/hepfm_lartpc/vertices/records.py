"""Interactions read from the files of event generators."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hepfm.errors import DataError
from hepfm_lartpc.event import Floats


@dataclass(frozen=True, kw_only=True)
class Records:
    """The outgoing particles of all interactions of a file.

    Attributes:
        where: The file, for messages.
        offsets: ``(R+1,)`` first particle of each record.
        pdg: ``(N,)`` PDG numbers.
        momentum_mev: ``(N, 3)``.
        weights: ``(R,)`` as the generator gives them; some may be negative.
    """

    where: str
    offsets: NDArray[np.int64]
    pdg: NDArray[np.int64]
    momentum_mev: Floats
    weights: Floats

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __post_init__(self) -> None:
        if not len(self):
            raise DataError("the file has no records", where=self.where, fix="name a file with interactions")
        bad = ~np.isfinite(self.momentum_mev).all(1)
        if bad.any():
            record = int(np.searchsorted(self.offsets, np.flatnonzero(bad)[0], "right")) - 1
            raise DataError("a momentum is not a number", where=f"{self.where}, record {record}")
        if not np.isfinite(self.weights).all():
            record = int(np.flatnonzero(~np.isfinite(self.weights))[0])
            raise DataError("a weight is not a number", where=f"{self.where}, record {record}")


def read_records(path: Path, form: str) -> Records:
    """All records of a file; ``form`` is ``auto``, ``gibuu`` or ``hepmc3``.

    Raises:
        DataError: The file is missing, damaged, empty or of another form, or its reader is not installed.
    """
    from hepfm_lartpc.vertices.gibuu import read_gibuu
    from hepfm_lartpc.vertices.hepmc import read_hepmc

    if not path.is_file():
        raise DataError("there is no such file", where=str(path), fix="check the source's path")
    if form == "gibuu" or (form == "auto" and path.suffix == ".root"):
        return read_gibuu(path)
    return read_hepmc(path)
