"""From counts to heights above the pedestal in units of the noise, for each channel: the preparation.

A pure function of the event and the configuration, which is part of the recipe: a checkpoint carries it.

Legend: K traces, N samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from hepfm.api import RaggedTables
from hepfm.nn.ragged import segment_max, segment_sum
from hepfm_waveform.coherent import shared_noise
from hepfm_waveform.config import WaveformConfig
from hepfm_waveform.medians import segment_median
from hepfm_waveform.reader import DEAD_SAMPLES
from hepfm_waveform.traces import Traces

SIGMA_OF_MAD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

QUIET_NOISE = 3.0
"""Samples further from the pedestal than so many times the noise by MAD are left out of its estimate."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Samples as a model sees them.

    Attributes:
        traces: The traces.
        height: ``(N,)`` float32 above the pedestal, in units of the noise; 0 where a sample is not known.
        known: ``(N,)`` bool: not NaN, not infinite, not of a dead trace.
        pedestal_adc: ``(K,)`` float32.
        noise_adc: ``(K,)`` float32, standard deviation.
    """

    traces: Traces
    height: torch.Tensor
    known: torch.Tensor
    pedestal_adc: torch.Tensor
    noise_adc: torch.Tensor


def compress(height: torch.Tensor) -> torch.Tensor:
    """Heights in units of the noise to ``asinh(height)``: linear within the noise, logarithmic above it."""
    return height.asinh()


def expand(value: torch.Tensor) -> torch.Tensor:
    """The inverse of `compress`."""
    return value.sinh()


def prepare(tables: RaggedTables, config: WaveformConfig, attributes: Mapping[str, Any]) -> Prepared:
    """Subtracts pedestals and, if asked for, coherent noise; divides by the noise.

    Args:
        tables: ``samples`` and ``traces``, torch.
        config: What to do.
        attributes: The schema's: ``noise_adc`` where the configuration says nothing.
    """
    traces = Traces.of(tables)
    known = traces.adc.isfinite() & ~traces.at_samples(_dead(traces))
    adc = traces.adc.where(known, 0.0)
    pedestal = pedestals(traces, tables, config)
    height = adc - traces.at_samples(pedestal)
    noise, measured = noises(traces, height.where(known, torch.nan), config, attributes)
    if config.coherent_channels is not None:
        quiet = known & traces.at_samples(measured)
        shared = shared_noise(traces, height.detach(), noise, quiet, channels=config.coherent_channels)
        height = height - shared
        noise, _ = noises(traces, height.where(known, torch.nan), config, attributes)
    return Prepared(
        traces=traces,
        height=(height / traces.at_samples(noise)).where(known, 0.0),
        known=known,
        pedestal_adc=pedestal,
        noise_adc=noise,
    )


def pedestals(traces: Traces, tables: RaggedTables, config: WaveformConfig) -> torch.Tensor:
    """``(K,)`` float32: as stored, or the median; 0 for a trace of which nothing is known."""
    stored = tables["traces"].columns.get("pedestal_adc")
    if config.pedestal == "stored" and isinstance(stored, torch.Tensor):
        return stored.float()
    return segment_median(traces.adc, traces.offsets).nan_to_num(0.0)


@torch.no_grad()
def noises(
    traces: Traces, height: torch.Tensor, config: WaveformConfig, attributes: Mapping[str, Any]
) -> tuple[torch.Tensor, torch.Tensor]:
    """``(K,)`` float32 noise in ADC, and ``(K,)`` bool: whether the trace told it.

    The median distance from the pedestal (MAD) says where signals begin; the noise is the spread of what lies
    below. The median alone would not do: of whole counts it is 1 for a noise of 1, and for one of 2.

    Args:
        traces: The traces.
        height: ``(N,)`` above the pedestal, NaN where not known.
        config: From how many samples on a trace tells its noise; the noise of the others.
        attributes: The schema's.
    """
    given = config.noise_adc if config.noise_adc is not None else float(attributes.get("noise_adc", 1.0))
    noise = height.new_full((len(traces),), given)
    if config.noise_samples is None:
        return noise, torch.zeros_like(noise, dtype=torch.bool)
    measured = traces.offsets.diff() >= config.noise_samples
    if bool(measured.any()):
        mad = segment_median(height.abs(), traces.offsets).nan_to_num(0.0)
        most = QUIET_NOISE * SIGMA_OF_MAD * (mad + config.noise_floor_adc)  # digitised, it may be that low
        quiet = height.abs() <= traces.at_samples(most)
        square = segment_sum(height.square().where(quiet, 0.0), traces.offsets)
        spread = (square / segment_sum(quiet.float(), traces.offsets).clamp_min(1.0)).sqrt()
        noise = spread.clamp_min(config.noise_floor_adc).where(measured, noise)
    return noise, measured


def ends_of(config: WaveformConfig, attributes: Mapping[str, Any]) -> tuple[float, float]:
    """Lowest and highest count of the digitiser; infinite where they are not told."""
    low, high = config.adc_range or attributes.get("adc_range") or (-math.inf, math.inf)
    return float(low), float(high)


def saturated(adc: torch.Tensor, ends: tuple[float, float]) -> torch.Tensor:
    """Bool of the shape of the counts: those at an end of the digitiser's range, or beyond."""
    return (adc <= ends[0]) | (adc >= ends[1])


@torch.no_grad()
def _dead(traces: Traces) -> torch.Tensor:
    finite = traces.adc.isfinite()
    highest = segment_max(traces.adc.where(finite, -torch.inf), traces.offsets)
    lowest = -segment_max((-traces.adc).where(finite, -torch.inf), traces.offsets)
    return (traces.offsets.diff() >= DEAD_SAMPLES) & (highest <= lowest)
