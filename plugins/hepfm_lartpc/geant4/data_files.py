"""Where Geant4's data files are: in the environment, or in one folder; never from the network."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from hepfm.errors import DataError

_FOLDERS = {
    "G4LEDATA": "G4EMLOW",
    "G4ENSDFSTATEDATA": "G4ENSDFSTATE",
    "G4LEVELGAMMADATA": "PhotonEvaporation",
    "G4PARTICLEXSDATA": "G4PARTICLEXS",
    "G4NEUTRONHPDATA": "G4NDL",
    "G4RADIOACTIVEDATA": "RadioactiveDecay",
    "G4SAIDXSDATA": "G4SAIDDATA",
    "G4ABLADATA": "G4ABLA",
    "G4INCLDATA": "G4INCL",
    "G4PIIDATA": "G4PII",
    "G4REALSURFACEDATA": "RealSurface",
}
"""Geant4's variables, and what its folders' names begin with, before the version."""
_ELECTROMAGNETIC = ("G4LEDATA", "G4ENSDFSTATEDATA")
_HADRONIC = (*_ELECTROMAGNETIC, "G4LEVELGAMMADATA", "G4PARTICLEXSDATA")


def data_sets(folder: Path | None, physics_list: str | None) -> dict[str, Path]:
    """Variable to folder of each data set that is there.

    Args:
        folder: One that holds them all; None for what the environment says.
        physics_list: What is to be simulated with them; None for electromagnetic physics and decays.

    Raises:
        DataError: One that is needed is missing; names all of those.
    """
    root = folder or (Path(found) if (found := os.environ.get("GEANT4_DATA_DIR")) else None)
    sets: dict[str, Path] = {}
    for variable, name in _FOLDERS.items():
        said = os.environ.get(variable) if folder is None else None
        path = Path(said) if said else _newest(root, name) if root else None
        if path is not None and path.is_dir():
            sets[variable] = path
    needed = _ELECTROMAGNETIC if physics_list is None else _HADRONIC
    if physics_list and "HP" in physics_list:
        needed = (*needed, "G4NEUTRONHPDATA")
    if missing := [variable for variable in needed if variable not in sets]:
        names = ", ".join(f"{_FOLDERS[variable]} ({variable})" for variable in missing)
        raise DataError(
            f"Geant4 needs data files that are not there: {names}.",
            where=str(root) if root else "the environment",
            fix="Get them from geant4.web.cern.ch, and set these variables, or say which folder holds them: "
            "geant4.data=FOLDER. hepfm downloads nothing.",
        )
    return sets


def environment(sets: Mapping[str, Path]) -> dict[str, str]:
    """The environment of a process that runs Geant4 with these data sets.

    geant4-pybind offers to download what is missing when it is imported, unless GEANT4_DATA_DIR is set; and
    Geant4 ends with a riddle where a variable is unset, with a file's name where it leads nowhere.
    """
    root = sets["G4LEDATA"].parent
    folders = {variable: str(sets.get(variable, root / name)) for variable, name in _FOLDERS.items()}
    return {**os.environ, **folders, "GEANT4_DATA_DIR": str(root)}


def _newest(root: Path, name: str) -> Path | None:
    """The folder of the highest version: G4EMLOW8.8 comes before G4EMLOW8.10."""

    def version(path: Path) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", path.name[len(name) :])]

    found = [path for path in root.glob(f"{name}*") if re.fullmatch(r"[\d.]*", path.name[len(name) :])]
    return max(found, key=version, default=None)
