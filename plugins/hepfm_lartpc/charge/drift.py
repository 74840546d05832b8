"""Drift: electrons of deposits on their way to the anode, until they arrive.

Electrons move at a constant velocity, are lost to impurities, and spread: after a time t by sigma^2 = 2 D t.
Legend: D deposits, N pieces of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Array, Deposits, Floats, Integers
from hepfm_lartpc.streams import Stream, normal
from hepfm_lartpc.tpc import Tpc

_MM2_US = 1e-4
"""1 cm2/s in mm2/us."""


class ElectronDrift(BaseModel):
    """How electrons drift and spread in liquid argon."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    longitudinal_cm2_s: float = Field(default=4.0, ge=0)
    """Diffusion along the drift. MicroBooNE measured 3.74 +0.28 -0.29 at 0.27 kV/cm (JINST 16 (2021) P09025);
    DUNE's near detector is simulated with 4.0 (larnd-sim)."""
    transverse_cm2_s: float = Field(default=8.8, ge=0)
    """Diffusion across the drift, as DUNE's near detector is simulated (larnd-sim)."""
    velocity_mm_us: float | None = Field(default=None, gt=0)
    """As measured in the detector; otherwise from field and temperature."""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The drift in one detector, as numbers."""

    velocity_mm_us: float
    lifetime_us: float
    longitudinal_mm2_us: float
    transverse_mm2_us: float


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """Electrons that reach an anode, in clouds that are Gaussian across and along the drift.

    Attributes:
        tpc: ``(N,)`` drift volume.
        across_mm: ``(N, 2)`` along the two axes that are not the drift's, in their order.
        time_ns: ``(N,)`` at the anode.
        electrons: ``(N,)`` that are left.
        sigma_mm: ``(N,)`` across the drift.
        sigma_ns: ``(N,)`` along the drift, as a time.
    """

    tpc: Integers
    across_mm: Floats
    time_ns: Floats
    electrons: Floats
    sigma_mm: Floats
    sigma_ns: Floats

    def __len__(self) -> int:
        return len(self.electrons)


def velocity_mm_us(field_kv_cm: float, temperature_k: float) -> float:
    """Drift velocity of electrons in liquid argon.

    Walkowiak's form and temperature dependence (NIM A 449 (2000) 288) above 0.7 kV/cm, the same form with
    ICARUS' constants (Amoruso et al., NIM A 516 (2004) 68) below 0.62 kV/cm, a blend in between, and below
    about 0.1 kV/cm a constant mobility, as LArSoft has it (``DetectorPropertiesStandard::DriftVelocity``).

    Args:
        field_kv_cm: Drift field.
        temperature_k: Of the argon.
    """

    def form(t0: float, p1: float, p2: float, p3: float, p4: float, p5: float, p6: float) -> float:
        cold = temperature_k - t0
        mobile = p3 * field_kv_cm * math.log(1.0 + p4 / field_kv_cm) + p5 * math.pow(field_kv_cm, p6)
        return (p1 * cold + 1.0) * mobile + p2 * cold

    warm = temperature_k - 87.203
    if field_kv_cm < 0.0938163 - 0.0052563 * warm - 0.0001470 * warm**2:
        return field_kv_cm * (5.18406 + 0.01448 * warm - 0.003497 * warm**2 - 0.000516 * warm**3)
    icarus = form(105.749, -0.04640, 0.01712, 1.88125, 0.99408, 0.01172, 4.20214)
    walkowiak = form(90.371, -0.01481, -0.0075, 0.141, 12.4, 1.627, 0.317)
    share = min(max((field_kv_cm - 0.619) / 0.08, 0.0), 1.0)
    return share * walkowiak + (1.0 - share) * icarus


def drift_of(config: ElectronDrift, *, field_kv_cm: float, temperature_k: float, lifetime_ms: float) -> Drift:
    """The drift in a detector with this field, temperature and lifetime of electrons."""
    velocity = config.velocity_mm_us or velocity_mm_us(field_kv_cm, temperature_k)
    return Drift(
        velocity_mm_us=velocity,
        lifetime_us=1e3 * lifetime_ms,
        longitudinal_mm2_us=_MM2_US * config.longitudinal_cm2_s,
        transverse_mm2_us=_MM2_US * config.transverse_cm2_s,
    )


def arrivals(
    deposits: Deposits,
    electrons: Floats,
    tpcs: Sequence[Tpc],
    drift: Drift,
    *,
    step_mm: float,
    drift_step_mm: float,
    s: Stream | None = None,
) -> Arrivals:
    """Drifts the electrons of deposits, cut into short pieces, to the anodes of the volumes that they lie in.

    Args:
        deposits: Where and when electrons were set free; what lies in no drift volume is lost.
        electrons: ``(D,)``.
        tpcs: Drift volumes; of two that hold a point, the first counts.
        drift: Of the detector.
        step_mm: Longest piece.
        drift_step_mm: Longest piece along the drift, the spread of its arrival times.
        s: Random numbers for the electrons that are lost (binomial, as a normal); without them, the mean.

    Returns:
        One cloud for each piece.
    """
    tpc, across_mm, time_ns, left, sigma_mm, sigma_ns = _drift(
        deposits.start_mm,
        deposits.end_mm,
        deposits.time_ns,
        np.asarray(electrons, np.float64),
        np.array([tpc.low_mm for tpc in tpcs], np.float64),
        np.array([tpc.high_mm for tpc in tpcs], np.float64),
        np.array([tpc.axis for tpc in tpcs]),
        np.array([tpc.anode_mm for tpc in tpcs], np.float64),
        drift.velocity_mm_us,
        drift.lifetime_us,
        drift.longitudinal_mm2_us,
        drift.transverse_mm2_us,
        step_mm,
        drift_step_mm,
        s is not None,
        np.zeros(5, np.uint64) if s is None else s,
    )
    return Arrivals(
        tpc=tpc,
        across_mm=across_mm,
        time_ns=time_ns,
        electrons=left,
        sigma_mm=sigma_mm,
        sigma_ns=sigma_ns,
    )


@compiled
def _volume(x: float, y: float, z: float, low: Floats, high: Floats) -> int:
    for k in range(len(low)):
        if low[k, 0] <= x <= high[k, 0] and low[k, 1] <= y <= high[k, 1] and low[k, 2] <= z <= high[k, 2]:
            return k
    return -1


@compiled
def _drift(
    start: Floats,
    end: Floats,
    time_ns: Floats,
    electrons: Floats,
    low: Floats,
    high: Floats,
    axis: Array,
    anode: Floats,
    velocity: float,
    lifetime: float,
    longitudinal: float,
    transverse: float,
    step: float,
    drift_step: float,
    fluctuate: bool,
    s: Stream,
) -> tuple[Integers, Floats, Floats, Floats, Floats, Floats]:
    pieces, total = np.empty(len(start), np.int64), 0
    for i in range(len(start)):
        dx, dy, dz = end[i, 0] - start[i, 0], end[i, 1] - start[i, 1], end[i, 2] - start[i, 2]
        longest = math.sqrt(dx * dx + dy * dy + dz * dz) / step
        for k in range(len(axis)):
            longest = max(longest, abs(end[i, axis[k]] - start[i, axis[k]]) / drift_step)
        pieces[i] = max(1, math.ceil(longest))
        total += pieces[i]
    tpc, across = np.empty(total, np.int32), np.empty((total, 2))
    arrived, left, wide, long = np.empty(total), np.empty(total), np.empty(total), np.empty(total)
    n = 0
    for i in range(len(start)):
        for piece in range(pieces[i]):
            f = (piece + 0.5) / pieces[i]
            x = start[i, 0] + f * (end[i, 0] - start[i, 0])
            y = start[i, 1] + f * (end[i, 1] - start[i, 1])
            z = start[i, 2] + f * (end[i, 2] - start[i, 2])
            k = _volume(x, y, z, low, high)
            if k < 0:
                continue
            if axis[k] == 0:
                drift_mm, across[n, 0], across[n, 1] = abs(x - anode[k]), y, z
            elif axis[k] == 1:
                drift_mm, across[n, 0], across[n, 1] = abs(y - anode[k]), x, z
            else:
                drift_mm, across[n, 0], across[n, 1] = abs(z - anode[k]), x, y
            drift_us = drift_mm / velocity
            survives = math.exp(-drift_us / lifetime)
            free = electrons[i] / pieces[i]
            left[n] = free * survives
            if fluctuate:
                left[n] += math.sqrt(free * survives * (1.0 - survives)) * normal(s)
                left[n] = min(max(left[n], 0.0), free)
            tpc[n] = k
            arrived[n] = time_ns[i] + 1e3 * drift_us
            wide[n] = math.sqrt(2.0 * transverse * drift_us)
            long[n] = 1e3 * math.sqrt(2.0 * longitudinal * drift_us) / velocity
            n += 1
    return tpc[:n], across[:n], arrived[:n], left[:n], wide[:n], long[:n]
