"""Random variants of an event: gain, time, noise, channels that are lost.

Legend: B events, K traces, N samples, F frequencies.
"""

from __future__ import annotations

import torch

from hepfm.random import Draws
from hepfm_waveform.traces import Traces

QUIET_NOISE = 4.0
"""Samples further from the pedestal than so many times the noise say nothing of its spectrum."""


def gain(draws: Draws, spread: float) -> torch.Tensor:
    """``(B,)`` float32, evenly in ``1 - spread`` to ``1 + spread``."""
    uniform: torch.Tensor = draws.per_event("waveform/gain", 1)[:, 0]
    return (1.0 + spread * (2.0 * uniform - 1.0)).float()


def shift(draws: Draws, span: int) -> torch.Tensor:
    """``(B,)`` int64: 0 to ``span - 1`` ticks, evenly."""
    uniform: torch.Tensor = draws.per_event("waveform/shift", 1)[:, 0]
    return (uniform * span).long()


def lost(draws: Draws, traces: Traces, share: float) -> torch.Tensor:
    """``(K,)`` bool: traces of the channels that are taken away, all of a channel together."""
    # Of detectors that number the channels of each plane anew, one number may be lost in all planes.
    uniform: torch.Tensor = draws.uniform("waveform/lost", traces.event, traces.channel)
    return uniform < share


def alike_noise(
    draws: Draws, traces: Traces, height: torch.Tensor, noise_adc: torch.Tensor, most: float
) -> torch.Tensor:
    """``(N,)`` float32: noise with the spectrum of each trace's own, in ADC, of a size drawn for each event.

    The amplitudes are those of the trace's Fourier transform without its signals, the phases are drawn: a
    stationary normal process has just such phases. The size is even in 0 to ``most`` times the noise.

    Args:
        draws: The events' random numbers.
        traces: The traces.
        height: ``(N,)`` above the pedestal in ADC, NaN where not known.
        noise_adc: ``(K,)``.
        most: Largest size.
    """
    size = most * draws.per_event("waveform/noise", 1)[:, 0].float()[traces.event] * noise_adc
    quiet = height.where(height.abs() <= QUIET_NOISE * traces.at_samples(noise_adc), 0.0)
    event = traces.at_samples(traces.event)
    events = torch.arange(len(draws.event_ids), device=event.device)
    first_sample = traces.offsets[torch.searchsorted(traces.event, events)]
    index = torch.arange(len(event), device=event.device) - first_sample[event]
    added = torch.zeros_like(height)
    lengths = traces.offsets.diff()
    for length in sorted(set(lengths.tolist())):
        if length < 2:
            continue
        some = (lengths == length).nonzero()[:, 0]
        rows = traces.offsets[some, None] + torch.arange(length, device=some.device)
        amplitude_KF = torch.fft.rfft(quiet[rows]).abs()
        amplitude_KF[:, 0] = 0
        of_frequency = rows[:, : amplitude_KF.shape[1]]
        angle = 2 * torch.pi * draws.uniform("waveform/phase", event[of_frequency], index[of_frequency])
        drawn = torch.fft.irfft(torch.polar(amplitude_KF, angle.float()), n=length)
        rms = drawn.square().mean(1).sqrt()
        added[rows] = drawn * (size[some] / rms.clamp_min(1e-6)).where(rms > 1e-6, 0.0)[:, None]
    return added
