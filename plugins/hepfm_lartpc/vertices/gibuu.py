"""GiBUU's ROOT output: the tree ``RootTuple``, a row an interaction, energies in GeV.

The hadrons stand in lists (``barcode`` holds PDG numbers), the outgoing lepton beside them (``lepOut_*``),
without its kind: that follows from ``flavor_ID`` (1, 2, 3: e, mu, tau) and ``process_ID`` (1
electromagnetic, 2 charged, 3 neutral current; negative for antiparticles), as GiBUU's namelist
``neutrino_induced`` defines them. Hadrons may lie off their mass shell; their momenta are taken, and their
energies follow from the masses.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hepfm.errors import DataError
from hepfm_lartpc.vertices.records import Records

_GEV = 1000.0
_LISTS = ("barcode", "Px", "Py", "Pz")
_SINGLE = ("weight", "flavor_ID", "process_ID", "lepOut_Px", "lepOut_Py", "lepOut_Pz")


def read_gibuu(path: Path) -> Records:
    """All interactions of a GiBUU file, the lepton first in each.

    Raises:
        DataError: The file is damaged, or has no ``RootTuple`` with the branches that are needed.
    """
    import uproot

    try:
        with uproot.open(path) as file:
            tree = file["RootTuple"]
            missing = [name for name in (*_LISTS, *_SINGLE) if name not in tree]
            if missing:
                raise DataError(
                    f"RootTuple lacks {', '.join(missing)}",
                    where=str(path),
                    fix="write it with GiBUU 2019 or later",
                )
            columns = tree.arrays([*_LISTS, *_SINGLE], library="np")
    except KeyError as error:
        raise DataError("the file has no RootTuple", where=str(path), fix="name a file of GiBUU") from error
    except (OSError, ValueError, EOFError, uproot.DeserializationError) as error:
        raise DataError(f"the file cannot be read: {error}", where=str(path), fix="check the file") from error
    lengths = np.array([len(row) for row in columns["barcode"]], np.int64)
    if any(not np.array_equal([len(row) for row in columns[name]], lengths) for name in _LISTS[1:]):
        raise DataError("barcode and momenta differ in length", where=str(path), fix="check the file")
    offsets = np.concatenate([[0], np.cumsum(lengths + 1)])
    lepton = offsets[:-1]
    hadron = np.ones(offsets[-1], bool)
    hadron[lepton] = False
    pdg = np.empty(offsets[-1], np.int64)
    momentum = np.empty((offsets[-1], 3))
    pdg[lepton] = _lepton(columns["flavor_ID"], columns["process_ID"], path)
    pdg[hadron] = np.concatenate([*columns["barcode"], np.empty(0, np.int64)])
    for axis, name in enumerate(("Px", "Py", "Pz")):
        momentum[lepton, axis] = columns[f"lepOut_{name}"]
        momentum[hadron, axis] = np.concatenate([*columns[name], np.empty(0)])
    weights = columns["weight"].astype(np.float64)
    return Records(where=str(path), offsets=offsets, pdg=pdg, momentum_mev=momentum * _GEV, weights=weights)


def _lepton(flavor: np.ndarray, process: np.ndarray, path: Path) -> np.ndarray:
    """PDG number of the outgoing lepton of each record."""
    bad = ~np.isin(flavor, (1, 2, 3)) | ~np.isin(np.abs(process), (1, 2, 3))
    if bad.any():
        record = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"flavor_ID {flavor[record]} with process_ID {process[record]} is no lepton's",
            where=f"{path}, record {record}",
        )
    neutral = np.abs(process) == 3
    return np.where(process > 0, 1, -1) * (2 * flavor.astype(np.int64) + np.where(neutral, 10, 9))
