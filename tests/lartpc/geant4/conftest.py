"""Geant4 without its data files: stand-ins for the few that electromagnetic physics in argon reads.

They hold the plugin's own tables of photons and a formula of bremsstrahlung, so that Geant4 itself runs, and
its ranges, losses and scattering of heavy particles, which read no file, are its own. Showers are not.
"""

from __future__ import annotations

import numpy as np
import pytest

from hepfm_lartpc import argon
from hepfm_lartpc.transport.attenuation import RAYLEIGH, TOTAL, photon_table
from hepfm_lartpc.transport.grid import GRID_MEV

_MM2_BARN = 1e-22


def _vector(path, energy, values):
    rows = "".join(f"{e:.8e} {v:.8e}\n" for e, v in zip(energy, values, strict=True))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{energy[0]:.8e} {energy[-1]:.8e} {len(energy)}\n{len(energy)}\n{rows}")


def _bremsstrahlung(path):
    """Screened photons (Tsai's formula without corrections): beta^2 / Z^2 k dsigma/dk in mb."""
    share = np.concatenate([[0.0, 1e-4, 1e-3, 0.01], np.linspace(0.05, 1.0, 20)])
    log_energy = np.linspace(np.log(1e-3), np.log(1e4), 57)
    scaled = 2.318 * (4 / 3 - 4 / 3 * share + share**2) * (5.21 - np.log(argon.Z) / 3)
    lines = [f"8 {len(share)} {len(log_energy)}", *(" ".join(map(str, axis)) for axis in (share, log_energy))]
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines + [" ".join(map(str, scaled))] * len(log_energy)) + "\n")


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory):
    """A folder as `Geant4Config.data` wants it."""
    root = tmp_path_factory.mktemp("geant4")
    (root / "G4ENSDFSTATE3.0").mkdir()
    (root / "G4ENSDFSTATE3.0" / "ENSDFSTATE.dat").write_text("\n")
    low = root / "G4EMLOW8.8"
    _bremsstrahlung(low / "brem_SB" / "br18")
    energy, table = GRID_MEV[::8], photon_table()[::8]
    keep = (energy >= 5e-3) & (energy < 100.0)
    energy, table = energy[keep], table[keep]
    barn = table / argon.ATOMS_MM3 / _MM2_BARN
    photoelectric = np.maximum(barn[:, TOTAL] - barn[:, 1:4].sum(1), 1e-12)
    _vector(low / "epics2017/phot/pe-cs-18.dat", energy, energy**3 * photoelectric)
    for name in ("high", "low"):  # a fit above 1 TeV, and the K shell at 3.2 keV
        (low / f"epics2017/phot/pe-{name}-18.dat").write_text("1 1 1e6\n3.2e-3 1e-3 0 0 0 0 0\n")
    _vector(low / "epics2017/rayl/re-cs-18.dat", energy, energy**2 * barn[:, RAYLEIGH] * _MM2_BARN)
    return root
