"""Channels cut into windows of as many ticks as a patch has samples: the units that can be hidden.

Windows are the same at all channels: window w has the ticks ``w * patch`` to ``(w + 1) * patch - 1``, counted
as ``start_tick`` counts. All that a channel has in a window is one unit, in however many traces it came.

Legend: B events, K traces, N samples (rows), U units, P = patch, I pairs of a trace and a window.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch.nn.functional import pad

from hepfm.api import RaggedTable
from hepfm.nn.ragged import offsets_of
from hepfm_waveform.prepare import Prepared, compress, saturated


@dataclass(frozen=True, kw_only=True)
class Windows:
    """The units of packed events, in order of event, plane, channel and time.

    Attributes:
        value: ``(U, P)`` float32 prepared samples, 0 where not known.
        adc: ``(U, P)`` float32, the same in counts.
        known: ``(U, P)`` bool: there is a sample, and it is known. Other places have no point.
        clipped: ``(U, P)`` bool, of the known: saturated.
        event: ``(U,)`` int64.
        plane: ``(U,)`` int64.
        channel: ``(U,)`` int64.
        window: ``(U,)`` int64.
        trace: ``(U,)`` int64, the first trace that it has samples of.
        pedestal_adc: ``(U,)`` float32 of that trace.
        noise_adc: ``(U,)`` float32 of that trace.
        slot: ``(N,)`` int64: place of each row in ``(U, P)`` flattened; -1 for those that are not known.
        offsets: ``(B+1,)`` int64, units of each event.
        row_offsets: ``(B+1,)`` int64, rows of each event.
        traces: The table ``traces``.
    """

    value: torch.Tensor
    adc: torch.Tensor
    known: torch.Tensor
    clipped: torch.Tensor
    event: torch.Tensor
    plane: torch.Tensor
    channel: torch.Tensor
    window: torch.Tensor
    trace: torch.Tensor
    pedestal_adc: torch.Tensor
    noise_adc: torch.Tensor
    slot: torch.Tensor
    offsets: torch.Tensor
    row_offsets: torch.Tensor
    traces: RaggedTable

    def __len__(self) -> int:
        return len(self.event)

    @property
    def patch(self) -> int:
        """Samples of a window."""
        return self.value.shape[1]

    def keep(self, mask: torch.Tensor) -> Windows:
        """The units of a mask ``(U,)`` bool alone; the others' rows are in no place."""
        unit = self.slot.div(self.patch, rounding_mode="floor").clamp_min(0)
        there = (self.slot >= 0) & pad(mask, (0, 1))[unit]
        moved = (pad(mask, (0, 1)).long().cumsum(0) - 1)[unit] * self.patch + self.slot % self.patch
        first = pad(mask.long().cumsum(0), (1, 0))
        return replace(
            self,
            **{name: getattr(self, name)[mask] for name in _OF_UNITS},
            slot=moved.where(there, -1),
            offsets=first[self.offsets],
        )

    @cached_property
    def around(self) -> torch.Tensor:
        """``(U, 4)`` int64: the same channel one window before and after, the channels below and above.

        U where there is none. Looked up once.
        """
        columns = torch.stack((self.event, self.plane, self.channel, self.window), 1)
        if not len(self):
            return columns
        columns = columns - columns.min(0).values + 1
        _, planes, channels, windows = (columns.max(0).values + 2).tolist()
        stride = columns.new_tensor((planes * channels * windows, channels * windows, windows, 1))
        key = (columns * stride).sum(1)
        wanted = key[:, None] + columns.new_tensor((-1, 1, -windows, windows))
        found = torch.searchsorted(key, wanted)
        there = torch.cat((key, key.new_full((1,), -1)))[found] == wanted
        return found.where(there, len(self))


_OF_UNITS = (
    *("value", "adc", "known", "clipped", "event", "plane", "channel", "window", "trace"),
    *("pedestal_adc", "noise_adc"),
)


def windows_of(
    prepared: Prepared,
    traces: RaggedTable,
    row_offsets: torch.Tensor,
    *,
    patch: int,
    ends: tuple[float, float],
) -> Windows:
    """Cuts prepared samples into windows. A place that a channel has twice holds the sum of the heights.

    Two pieces of one channel at one time come from simulations that keep what particles add apart.

    Args:
        prepared: The samples.
        traces: The table that they are of.
        row_offsets: ``(B+1,)`` samples of each event.
        patch: Samples of a window.
        ends: Of the digitiser's range.
    """
    of = prepared.traces
    device = of.channel.device
    length = of.offsets.diff()
    first = of.start_tick.div(patch, rounding_mode="floor")
    last = (of.start_tick + length - 1).div(patch, rounding_mode="floor")
    n_windows = (last - first + 1).where(length > 0, 0)
    start = offsets_of(n_windows)
    trace = torch.arange(len(of), device=device).repeat_interleave(n_windows)
    window = first[trace] + torch.arange(len(trace), device=device) - start[trace]
    pair_of_row = of.at_samples(start[:-1] - first) + of.tick.div(patch, rounding_mode="floor")
    filled = torch.bincount(pair_of_row[prepared.known], minlength=len(trace)) > 0

    # Pairs that hold something, in order; those of one channel and window are one unit.
    pair = filled.nonzero()[:, 0]
    for column in (of.start_tick[trace], window, of.channel[trace], of.plane[trace], of.event[trace]):
        pair = pair[column[pair].argsort(stable=True)]
    trace_of_pair, window_of_pair = trace[pair], window[pair]
    place = torch.stack(
        (of.event[trace_of_pair], of.plane[trace_of_pair], of.channel[trace_of_pair], window_of_pair), 1
    )
    is_first = place.new_ones(len(pair), dtype=torch.bool)
    is_first[1:] = (place[1:] != place[:-1]).any(1)
    unit_of_pair = torch.full_like(window, -1)
    unit_of_pair[pair] = is_first.cumsum(0) - 1
    event, plane, channel, window_of_unit = place[is_first].unbind(1)
    trace_of_unit = trace_of_pair[is_first]

    n_units = len(event)
    slot = (unit_of_pair[pair_of_row] * patch + of.tick % patch).where(prepared.known, -1)
    rows = prepared.known.nonzero()[:, 0]
    at, size = slot[rows], n_units * patch
    count = torch.bincount(at, minlength=size)
    both = torch.stack((prepared.height, of.adc), 1)[rows]
    height, adc = both.new_zeros(size, 2).index_add(0, at, both).view(n_units, patch, 2).unbind(2)
    pedestal = prepared.pedestal_adc[trace_of_unit]
    adc = adc - (count - 1).clamp_min(0).view(n_units, patch) * pedestal[:, None]
    known = (count > 0).view(n_units, patch)
    return Windows(
        value=compress(height),
        adc=adc,
        known=known,
        clipped=known & saturated(adc, ends),
        event=event,
        plane=plane,
        channel=channel,
        window=window_of_unit,
        trace=trace_of_unit,
        pedestal_adc=pedestal,
        noise_adc=prepared.noise_adc[trace_of_unit],
        slot=slot,
        offsets=offsets_of(torch.bincount(event, minlength=len(traces))),
        row_offsets=row_offsets,
        traces=traces,
    )
