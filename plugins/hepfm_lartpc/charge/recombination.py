"""Recombination: how many electrons of a deposit escape, and how many photons the others make.

A deposit makes ``dE / W`` ion pairs and 0.21 times as many excitons. Electrons that recombine make an exciton
each, and every exciton a photon; electrons and photons together are thus always 1.21 dE / W, whatever the
density of ionisation and the field (Doke et al., Jpn. J. Appl. Phys. 41 (2002) 1538).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hepfm_lartpc import argon
from hepfm_lartpc.charge.nest import nest_survival
from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Deposits, Floats
from hepfm_lartpc.streams import Stream, normal_pair

_HIGHEST_MEV_CM = 1000.0
"""An alpha particle near its end; no particle of ours ionises more densely over a length that matters."""


class Recombination(BaseModel):
    """A model of recombination and its constants."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    model: Literal["modified-box", "birks", "nest"] = "modified-box"
    """``modified-box``: ArgoNeuT, JINST 8 (2013) P08005. ``birks``: ICARUS, NIM A 523 (2004) 275. ``nest``:
    NEST's yields of electron recoils (needs ``pip install 'hepfm[nest]'``)."""
    alpha: float = Field(default=0.93, gt=0, le=1)
    """Of the modified box model."""
    beta: float = Field(default=0.212, gt=0)
    """Of the modified box model, in (kV/cm)(g/cm2)/MeV."""
    birks_a: float = Field(default=0.800, gt=0, le=1)
    """A of Birks' law."""
    birks_k: float = Field(default=0.0486, gt=0)
    """k of Birks' law, in (kV/cm)(g/cm2)/MeV."""
    fluctuate: bool = True
    """Whether the number of electrons is drawn (binomial, as a normal) or its mean."""


@dataclass(frozen=True, kw_only=True)
class Yields:
    """What deposits make of their energy.

    Attributes:
        electrons: ``(D,)`` that escape recombination.
        photons: ``(D,)`` of scintillation.
    """

    electrons: Floats
    photons: Floats


def survival(dedx_mev_cm: Floats, field_kv_cm: float, config: Recombination) -> Floats:
    """The mean fraction of electrons that escape recombination.

    The modified box model was fitted above the minimum of ionisation. Below it the formula has a maximum and
    falls, even under 0, which no measurement supports: there the fraction stays at the maximum.

    Args:
        dedx_mev_cm: ``(D,)`` density of ionisation.
        field_kv_cm: Drift field.
        config: The model.

    Returns:
        ``(D,)`` between 0 and 1.
    """
    scaled = np.minimum(dedx_mev_cm, _HIGHEST_MEV_CM) / (argon.DENSITY_G_CM3 * field_kv_cm)
    return _fractions(np.asarray(scaled, np.float64), _law(config, field_kv_cm))


def yields(deposits: Deposits, field_kv_cm: float, config: Recombination, s: Stream | None = None) -> Yields:
    """Electrons and photons of each deposit.

    Args:
        deposits: Their energies, and the lengths that these were left on.
        field_kv_cm: Drift field.
        config: The model.
        s: Random numbers; without them, or with ``fluctuate`` off, the means.

    Returns:
        Electrons and photons, real numbers, whose sum is 1.21 dE / W.
    """
    numbers = np.zeros(5, np.uint64) if s is None else s
    electrons, photons = _yields(
        deposits.energy_mev,
        deposits.length_mm,
        argon.DENSITY_G_CM3 * field_kv_cm,
        _law(config, field_kv_cm),
        1e6 / argon.W_ION_EV,
        argon.EXCITON_RATIO,
        config.fluctuate and s is not None,
        numbers,
    )
    return Yields(electrons=electrons, photons=photons)


class _Law(NamedTuple):
    """A law of recombination, over the density of ionisation divided by density and field.

    Attributes:
        box: Whether it is the box model rather than Birks' law.
        first: alpha, or A.
        second: beta, or k.
        lowest: Argument below which the box model's fraction stays.
        table: ``(N,)`` instead of a formula: fractions at `_TABLE`; of length 0 where there is a formula.
    """

    box: bool
    first: float
    second: float
    lowest: float
    table: Floats


_TABLE = np.linspace(math.log(1e-3), math.log(1e5), 4001)
"""Logarithms of MeV/cm over (kV/cm)(g/cm3), evenly spaced."""
_TABLE_BEGIN, _TABLE_PER_LOG = float(_TABLE[0]), 1.0 / float(_TABLE[1] - _TABLE[0])


@lru_cache
def _law(config: Recombination, field_kv_cm: float) -> _Law:
    if config.model == "nest":
        table = nest_survival(np.exp(_TABLE) * argon.DENSITY_G_CM3 * field_kv_cm, field_kv_cm)
        return _Law(False, 0.0, 0.0, 0.0, table)
    if config.model == "birks":
        return _Law(False, config.birks_a, config.birks_k, 0.0, np.empty(0))
    # ln(alpha + x) / x is largest where x = (alpha + x) ln(alpha + x); alpha just below 1 has it at small x.
    low, high = 1e-9, 2.0
    while high - low > 1e-12:
        x = 0.5 * (low + high)
        low, high = (x, high) if x > (config.alpha + x) * math.log(config.alpha + x) else (low, x)
    return _Law(True, config.alpha, config.beta, high, np.empty(0))


@compiled
def _fraction(scaled: float, law: _Law) -> float:
    if len(law.table):
        place = (math.log(max(scaled, 1e-30)) - _TABLE_BEGIN) * _TABLE_PER_LOG
        place = min(max(place, 0.0), len(law.table) - 1.0001)
        left = int(place)
        below, above = float(law.table[left]), float(law.table[left + 1])
        return below + (place - left) * (above - below)
    if not law.box:
        return law.first / (1.0 + law.second * scaled)
    x = max(law.second * scaled, law.lowest)
    return max(0.0, math.log(law.first + x) / x)


@compiled
def _fractions(scaled: Floats, law: _Law) -> Floats:
    out = np.empty(len(scaled))
    for i in range(len(scaled)):
        out[i] = _fraction(scaled[i], law)
    return out


@compiled
def _yields(
    energy_mev: Floats,
    length_mm: Floats,
    field_density: float,
    law: _Law,
    pairs_mev: float,
    excitons: float,
    fluctuate: bool,
    s: Stream,
) -> tuple[Floats, Floats]:
    n = len(energy_mev)
    electrons, photons = np.empty(n), np.empty(n)
    drawn, kept = 0.0, 0.0
    for i in range(n):
        pairs = energy_mev[i] * pairs_mev
        dedx_mev_cm = _HIGHEST_MEV_CM
        if energy_mev[i] < _HIGHEST_MEV_CM * 0.1 * length_mm[i]:
            dedx_mev_cm = 10.0 * energy_mev[i] / length_mm[i]
        mean = _fraction(dedx_mev_cm / field_density, law)
        escaped = mean * pairs
        if fluctuate:
            if i % 2:
                drawn = kept
            else:
                drawn, kept = normal_pair(s)
            escaped += math.sqrt(pairs * mean * (1.0 - mean)) * drawn
            escaped = min(max(escaped, 0.0), pairs)
        electrons[i] = escaped
        photons[i] = (1.0 + excitons) * pairs - escaped
    return electrons, photons
