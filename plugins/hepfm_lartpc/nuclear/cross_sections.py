"""Cross sections of hadrons on argon, in mb, and the mean free paths that they give in the liquid.

Pions: the inelastic cross sections of calcium (A = 40.08, as argon's) that Barashenkov evaluated, JINR
P2-90-158 (1990), with some 5 to 10 %; pi+ and pi- differ by the Coulomb field below 100 MeV.

Nucleons above 20 MeV: Letaw, Silberberg and Tsao, Astrophys. J. Suppl. 51 (1983) 271, with 5 to 10 %.
Below: protons by the Coulomb barrier; neutrons by values near the ENDF/B-VIII.0 evaluation of argon-40,
averaged over resonances (some 30 %). Thermal capture: 0.673 b (ACED, Phys. Rev. D 99 (2019) 103021), as 1/v.

Kaons: rough (30 %), from the kaon-nucleon cross sections (PDG) and A^(2/3).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hepfm_lartpc.argon import ATOMS_MM3
from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.nuclear.nucleus import NUCLEONS
from hepfm_lartpc.species import KAON_MINUS, KAON_PLUS, MASS_MEV, NEUTRON, PION_MINUS, PION_PLUS, PROTON

_MB_TO_MM2 = 1e-25
THERMAL_MEV, THERMAL_CAPTURE_MB = 2.53e-8, 673.0

_LOWEST_MEV, _HIGHEST_MEV, _PER_DECADE = 1e-9, 1e5, 32
_LOG_LOWEST = math.log(_LOWEST_MEV)
_PER_LOG = _PER_DECADE / math.log(10.0)
GRID_MEV = 10.0 ** np.linspace(-9.0, 5.0, 14 * _PER_DECADE + 1)

# Kinetic energy in MeV: value in mb; between the points linear in the energy's logarithm.
_PION_MEV = (
    5, 10, 20, 40, 60, 80, 100, 120, 140, 160, 180, 200, 220, 250, 300, 350, 400, 500, 600, 800, 1e3, 2e3,
    3e3, 5e3, 1e4, 2e4, 1e5,
)  # fmt: skip
_PION_MINUS_MB = (
    380, 430, 470, 550, 620, 860, 955, 980, 960, 920, 860, 820, 780, 740, 665, 637, 615, 590, 590, 608, 615,
    550, 525, 510, 488, 470, 450,
)  # fmt: skip
_PION_PLUS_MB = (
    0, 60, 160, 315, 500, 745, 870, 905, 900, 860, 810, 770, 740, 710, 640, 617, 595, 575, 575, 600, 608,
    540, 525, 510, 488, 470, 450,
)  # fmt: skip
_KAON_MEV = (1, 10, 50, 100, 200, 500, 1e3, 1e4, 1e5)
_KAON_PLUS_MB = (0, 120, 250, 290, 340, 390, 420, 420, 400)
_KAON_MINUS_MB = (1000, 900, 800, 750, 680, 650, 640, 480, 440)
_NEUTRON_MEV = (1.51, 1.6, 2, 3, 4, 5, 8, 14)
_NEUTRON_INELASTIC_MB = (0, 150, 500, 800, 950, 1050, 1150, 1050)
_ELASTIC_MEV = (
    1e-9, 1e-3, 1e-2, 0.03, 0.057, 0.077, 0.1, 0.3, 1, 2, 3, 5, 8, 10, 14, 20, 30, 50, 100, 200, 500, 1e3,
    1e5,
)  # fmt: skip
_ELASTIC_MB = (
    650, 600, 450, 200, 50, 2500, 1800, 2500, 3000, 3000, 2700, 2200, 1400, 1150, 950, 1100, 1350, 1150,
    550, 250, 200, 250, 230,
)  # fmt: skip


def _letaw_mb(kinetic_mev: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inelastic cross section of nucleons (Letaw et al., eqs. 1 to 3)."""
    high = 45.0 * NUCLEONS**0.7 * (1.0 + 0.016 * math.sin(5.3 - 2.63 * math.log(NUCLEONS)))
    fall = np.exp(-kinetic_mev / 200.0) * np.sin(10.9 * kinetic_mev**-0.28)
    return np.asarray(high * (1.0 - 0.62 * fall))


def _tables() -> NDArray[np.float64]:
    """``(species + 2, energies)``: of each species, then elastic scattering and capture of neutrons."""
    table = np.zeros((len(MASS_MEV) + 2, len(GRID_MEV)))
    log = np.log(GRID_MEV)
    for species, energies, values in (
        (PION_MINUS, _PION_MEV, _PION_MINUS_MB),
        (PION_PLUS, _PION_MEV, _PION_PLUS_MB),
        (KAON_PLUS, _KAON_MEV, _KAON_PLUS_MB),
        (KAON_MINUS, _KAON_MEV, _KAON_MINUS_MB),
        (len(MASS_MEV), _ELASTIC_MEV, _ELASTIC_MB),
    ):
        table[species] = np.interp(log, np.log(energies), values)
    fast = _letaw_mb(np.maximum(GRID_MEV, 20.0))
    barrier = np.maximum(0.0, 1.0 - 4.0 / np.minimum(GRID_MEV, 20.0)) / 0.8
    table[PROTON] = fast * barrier
    slow = np.interp(
        log, np.log((*_NEUTRON_MEV, 20.0)), (*_NEUTRON_INELASTIC_MB, float(_letaw_mb(np.array(20.0))))
    )
    table[NEUTRON] = np.where(GRID_MEV < 20.0, slow, fast)
    table[-1] = THERMAL_CAPTURE_MB * np.sqrt(THERMAL_MEV / GRID_MEV)
    return table


INELASTIC_MB = _tables()
_ELASTIC_ROW, _CAPTURE_ROW = len(MASS_MEV), len(MASS_MEV) + 1


@compiled
def _at(row: int, kinetic_mev: float) -> float:
    """Value of a table's row, linear in the energy's logarithm and constant beyond the ends."""
    place = (math.log(max(kinetic_mev, _LOWEST_MEV)) - _LOG_LOWEST) * _PER_LOG
    i = min(int(place), INELASTIC_MB.shape[1] - 2)
    share = min(place - i, 1.0)
    return float(INELASTIC_MB[row, i] * (1.0 - share) + INELASTIC_MB[row, i + 1] * share)


@compiled
def inelastic_mb(species: int, kinetic_mev: float) -> float:
    """Cross section of all but elastic scattering (for neutrons also but capture); 0 where there is none."""
    return _at(species, kinetic_mev)


@compiled
def neutron_elastic_mb(kinetic_mev: float) -> float:
    """Elastic cross section of neutrons."""
    return _at(_ELASTIC_ROW, kinetic_mev)


@compiled
def neutron_capture_mb(kinetic_mev: float) -> float:
    """Cross section of neutrons for radiative capture."""
    return _at(_CAPTURE_ROW, kinetic_mev)


@compiled
def hadron_length_mm(species: int, kinetic_mev: float) -> float:
    """Mean free path in liquid argon until a nuclear interaction, infinite for what has none.

    Charged hadrons: until an inelastic one. Neutrons: until any, elastic scattering and capture included.
    Deuterons and alphas stop before they interact; pi0 decay first.
    """
    total = inelastic_mb(species, kinetic_mev)
    if species == NEUTRON:
        total += neutron_elastic_mb(kinetic_mev) + neutron_capture_mb(kinetic_mev)
    return 1.0 / (total * _MB_TO_MM2 * ATOMS_MM3) if total > 0.0 else math.inf
