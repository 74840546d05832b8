"""Transport by Geant4 (extra ``geant4``), behind the same call as our own.

Geant4 keeps its state in one place for the whole process, is initialised once, and ends the process when it
meets an error. It therefore runs in a process of its own (`child`), which `Geant4Transport` talks to.
"""

from hepfm_lartpc.geant4.backend import Geant4Transport, geant4_version
from hepfm_lartpc.geant4.config import Geant4Config

__all__ = ["Geant4Config", "Geant4Transport", "geant4_version"]
