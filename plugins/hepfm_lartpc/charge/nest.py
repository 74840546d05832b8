"""NEST's yields of electron recoils in liquid argon, as a law of recombination (extra ``nest``: nestpy).

NEST (Szydagis et al., nest.physics.ucdavis.edu) gives the electrons that an electron of energy E sets free
while it stops, fitted to measurements from 1 keV on. A deposit is taken for a piece of the track of that
electron which loses, by NEST's own stopping power, as much on a length: minimum-ionising particles then have
the yield of fast electrons, dense tracks that of slow ones. Where electrons get so slow that the yield rises
again (below some 15 keV, where they make but few pairs) a dense track has no part in it: from there on the
charge on a length stays as it is, as it does in the limit of the box model and of Birks' law.

Only NEST's means are used. Its own fluctuations come from one generator for the whole process, and an event
would depend on those before it.
"""

from __future__ import annotations

import importlib.metadata
from typing import Any

import numpy as np

from hepfm.errors import RecipeError
from hepfm_lartpc import argon
from hepfm_lartpc.event import Floats

_KEV = np.geomspace(1.0, 1e5, 4000)
_PAIRS_KEV = 1e3 / argon.W_ION_EV


def nest_survival(dedx_mev_cm: Floats, field_kv_cm: float) -> Floats:
    """The mean fraction of electrons that escape recombination, in NEST's model.

    Args:
        dedx_mev_cm: ``(D,)`` density of ionisation.
        field_kv_cm: Drift field.

    Returns:
        ``(D,)`` between 0 and 1.

    Raises:
        RecipeError: nestpy is not installed.
    """
    nestpy = _nestpy()
    nest, volt_cm = nestpy.LArNEST(nestpy.detectors.VDetector()), 1e3 * field_kv_cm
    stopping = np.array([nest.legacy_get_let(kev) for kev in _KEV]) * argon.DENSITY_G_CM3
    yields = [nest.get_er_yields(kev, volt_cm, argon.DENSITY_G_CM3) for kev in _KEV]
    # NEST counts 19.5 eV for a quantum, 1.21 of them for a pair: the share of pairs is what it measured.
    share = np.array([made.Ne / (made.Ne + made.Nph) for made in yields]) * (1.0 + argon.EXCITON_RATIO)
    slowest, fastest = int(share.argmin()), int(stopping.argmin())
    density, fraction = stopping[slowest:fastest][::-1], share[slowest:fastest][::-1]
    matched = np.interp(np.log(dedx_mev_cm), np.log(density), fraction)
    return np.asarray(matched * np.minimum(1.0, density[-1] / dedx_mev_cm))


def nest_version() -> str:
    """The version of NEST and of nestpy.

    Raises:
        RecipeError: nestpy is not installed.
    """
    nestpy = _nestpy()
    return f"{nestpy.__nest_version__} {importlib.metadata.version('nestpy')}"


def _nestpy() -> Any:
    try:
        import nestpy
    except ImportError as error:
        raise RecipeError(
            f"the model 'nest' of recombination needs nestpy, which cannot be imported ({error})",
            where="recombination.model",
            fix="pip install 'hepfm[nest]', or choose modified-box or birks",
        ) from error
    return nestpy
