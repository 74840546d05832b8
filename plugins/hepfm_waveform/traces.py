"""The traces of a batch: which samples are whose, and what is known of each.

Legend: B events, K traces, N samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hepfm.api import RaggedTables
from hepfm.nn.ragged import event_index, offsets_of


@dataclass(frozen=True, kw_only=True)
class Traces:
    """Packed traces.

    Attributes:
        adc: ``(N,)`` float32.
        offsets: ``(K+1,)`` int64, samples of each trace.
        trace: ``(N,)`` int64, the trace of each sample.
        tick: ``(N,)`` int64, number of each sample in its channel.
        event: ``(K,)`` int64.
        channel: ``(K,)`` int64.
        plane: ``(K,)`` int64, 0 where planes are not told.
        start_tick: ``(K,)`` int64.
    """

    adc: torch.Tensor
    offsets: torch.Tensor
    trace: torch.Tensor
    tick: torch.Tensor
    event: torch.Tensor
    channel: torch.Tensor
    plane: torch.Tensor
    start_tick: torch.Tensor

    @classmethod
    def of(cls, tables: RaggedTables) -> Traces:
        """From the tables ``samples`` and ``traces`` (torch) of a batch."""
        table = tables["traces"]
        channel, start_tick = table.columns["channel"].long(), table.columns["start_tick"].long()
        plane = table.columns["plane"].long() if "plane" in table.columns else torch.zeros_like(channel)
        offsets = offsets_of(table.columns["n_samples"])
        trace = event_index(offsets)
        within = torch.arange(len(trace), device=trace.device) - offsets[:-1].index_select(0, trace)
        return cls(
            adc=tables["samples"].columns["adc"].float(),
            offsets=offsets,
            trace=trace,
            tick=start_tick.index_select(0, trace) + within,
            event=event_index(table.offsets),
            channel=channel,
            plane=plane,
            start_tick=start_tick,
        )

    def __len__(self) -> int:
        return len(self.channel)

    def at_samples(self, values: torch.Tensor) -> torch.Tensor:
        """``(N,)``: values of traces ``(K,)`` at their samples."""
        return values.index_select(0, self.trace)
