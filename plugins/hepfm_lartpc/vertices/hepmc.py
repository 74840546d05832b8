"""HepMC3 event records, in any form that pyhepmc reads (ASCII, compressed, HepMC2, HEPEVT, LHEF)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hepfm.errors import DataError
from hepfm_lartpc.vertices.records import Records

_ROOT = b"root"
"""Begins each ROOT file."""
_FINAL = 1
"""Status of particles that leave the interaction (HepMC)."""


def read_hepmc(path: Path) -> Records:
    """The outgoing particles of all events of a file.

    Raises:
        DataError: pyhepmc is not installed, or cannot read the file; or it is ROOT's.
    """
    try:
        with path.open("rb") as start:
            is_root = start.read(len(_ROOT)) == _ROOT
    except OSError as error:
        what = f"the file cannot be read: {error.strerror}"
        raise DataError(what, where=str(path), fix="check the file") from error
    if is_root:
        raise DataError(
            "the file is ROOT's, which HepMC is not read from",
            where=str(path),
            fix="GiBUU's files are read with format: gibuu, or by their ending .root with format: auto",
        )
    try:
        import pyhepmc
    except ImportError as error:
        raise DataError(
            "reading HepMC needs pyhepmc, which is not installed", where=str(path), fix="pip install pyhepmc"
        ) from error
    offsets, pdg, momentum, weights = [0], [], [], []
    try:
        with pyhepmc.open(str(path)) as file:
            for event in file:
                to_mev = 1000.0 if event.momentum_unit == pyhepmc.Units.GEV else 1.0
                for particle in event.particles:
                    if particle.status == _FINAL:
                        p = particle.momentum
                        pdg.append(particle.pid)
                        momentum.append((p.px * to_mev, p.py * to_mev, p.pz * to_mev))
                offsets.append(len(pdg))
                weights.append(event.weights[0] if len(event.weights) else 1.0)
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(
            f"the file cannot be read as HepMC: {error}", where=str(path), fix="check the file, or its format"
        ) from error
    return Records(
        where=str(path),
        offsets=np.array(offsets, np.int64),
        pdg=np.array(pdg, np.int64),
        momentum_mev=np.array(momentum, np.float64).reshape(-1, 3),
        weights=np.array(weights, np.float64),
    )
