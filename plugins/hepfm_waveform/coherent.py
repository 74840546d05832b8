"""Noise that neighbouring channels share: their common supply and electronics are heard in all of them.

The idea is MicroBooNE's (JINST 12 (2017) P08003): the median over the channels of a group at each tick, with
samples left out that may be signal. A median without them would take tracks along the wires for noise.

Legend: K traces, N samples; G groups of up to C traces of L samples.
"""

from __future__ import annotations

import torch
from torch.nn.functional import max_pool1d

from hepfm_waveform.traces import Traces

PROTECT_NOISE = 4.0
"""Samples further from the pedestal than so many times the noise may be signal."""

PROTECT_TICKS = 10
"""So may be those that lie so many ticks before or after one."""

FEWEST = 4
"""Quiet channels that it takes to tell what is shared."""


@torch.no_grad()
def shared_noise(
    traces: Traces, height: torch.Tensor, noise_adc: torch.Tensor, usable: torch.Tensor, *, channels: int
) -> torch.Tensor:
    """``(N,)``: the median over each group at each tick, to be subtracted.

    A group is ``channels`` consecutive numbers of a plane, of traces that start and end together. It is 0
    where fewer than half of a group, or fewer than `FEWEST`, are quiet.

    Args:
        traces: The traces.
        height: ``(N,)`` above the pedestal, in ADC.
        noise_adc: ``(K,)``.
        usable: ``(N,)`` bool: what may be used.
        channels: In a group.
    """
    lengths = traces.offsets.diff()
    group = torch.stack(
        (
            traces.event,
            traces.plane,
            traces.channel.div(channels, rounding_mode="floor"),
            traces.start_tick,
            lengths,
        ),
        1,
    )
    shared = torch.zeros_like(height)
    loud = (height.abs() > PROTECT_NOISE * traces.at_samples(noise_adc)) & usable
    for length in sorted(set(lengths.tolist())):
        some = (lengths == length).nonzero()[:, 0]
        if not length:
            continue
        _, member_of = torch.unique(group[some], dim=0, return_inverse=True)
        size = member_of.bincount()
        order = member_of.argsort(stable=True)
        rank = torch.empty_like(order)
        rank[order] = (
            torch.arange(len(order), device=order.device) - (size.cumsum(0) - size)[member_of[order]]
        )
        rows = traces.offsets[some, None] + torch.arange(length, device=some.device)
        protect = max_pool1d(loud[rows].float(), 2 * PROTECT_TICKS + 1, 1, PROTECT_TICKS) > 0
        quiet_KL = usable[rows] & ~protect
        table_GCL = height.new_full((len(size), int(size.max()), length), torch.nan)
        table_GCL[member_of, rank] = height[rows].where(quiet_KL, torch.nan)
        median_GL = table_GCL.nanmedian(1).values
        enough_GL = table_GCL.isfinite().sum(1) >= (size / 2).clamp_min(FEWEST)[:, None]
        shared[rows] = median_GL.where(enough_GL, 0.0)[member_of]
    return shared
