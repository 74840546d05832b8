"""Waveforms as a head reads them: heights above the pedestal, and which samples follow one another.

Legend of shapes: N samples, K traces, B events, C filters, W taps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import conv1d

from hepfm.api import Batch, PartSchema, RaggedTables
from hepfm.errors import DataError
from hepfm.nn.ragged import event_index, offsets_of, segment_sum

TRACES, LENGTH, ADC, PEDESTAL, PLANE = "traces", "n_samples", "adc", "pedestal_adc", "plane"


def check_waveforms(part: str, schema: PartSchema) -> None:
    """Raises `DataError` for a part that is none of waveforms, or does not tell their pedestals."""
    lengths = schema.tables.get(TRACES, {}).get(LENGTH)
    if ADC not in schema.tables[schema.primary] or lengths is None or lengths.lengths_of != schema.primary:
        raise DataError(
            f"The part '{part}' is not of waveforms: there are no traces of samples 'adc'.",
            where=f"part {part}, kind {schema.kind}",
            fix="name a part of waveforms with objective.head.part",
        )
    if PEDESTAL not in schema.tables[TRACES]:
        raise DataError(
            "The waveforms do not tell their pedestals, above which heights are learned.",
            where=f"part {part}, table {TRACES}, column {PEDESTAL}",
            fix="give pedestals in the reader's options, or subtract them and give zeros",
        )


@dataclass(frozen=True, kw_only=True)
class Heights:
    """Samples of B events.

    Attributes:
        values: ``(N,)`` float32 above the pedestal, in ADC; 0 where not known.
        known: ``(N,)`` bool: finite.
        trace: ``(N,)`` int64, the trace of each sample.
        samples: ``(B+1,)`` int64, offsets of the events' samples.
        traces: ``(B+1,)`` int64, and of their traces.
        plane: ``(N,)`` int64, of each sample's trace, 0 where planes are not told.
    """

    values: torch.Tensor
    known: torch.Tensor
    trace: torch.Tensor
    samples: torch.Tensor
    traces: torch.Tensor
    plane: torch.Tensor

    @classmethod
    def of(cls, tables: RaggedTables, primary: str) -> Heights:
        """From the tables of a part (torch, or numpy), without labels."""
        samples, traces = tables[primary], tables[TRACES]
        trace = event_index(offsets_of(torch.as_tensor(traces.columns[LENGTH])))
        pedestal = torch.as_tensor(traces.columns[PEDESTAL]).float()
        height = torch.as_tensor(samples.columns[ADC]).float() - pedestal.index_select(0, trace)
        known = height.isfinite()
        planes = traces.columns.get(PLANE)
        plane = trace.new_zeros(len(pedestal)) if planes is None else torch.as_tensor(planes).long()
        return cls(
            values=height.where(known, 0.0),
            known=known,
            trace=trace,
            samples=torch.as_tensor(samples.offsets),
            traces=torch.as_tensor(traces.offsets),
            plane=plane.index_select(0, trace),
        )

    def of_traces(self, values: torch.Tensor) -> torch.Tensor:
        """``(K, ...)``: sums of values ``(N, ...)`` over each trace."""
        counts = self.trace.bincount(minlength=int(self.traces[-1]))
        return segment_sum(values, offsets_of(counts))

    def filtered(self, filters: torch.Tensor) -> torch.Tensor:
        """``(N, C)`` float32: each trace by itself, times each filter ``(C, W)`` of an odd number of taps.

        Beyond its ends a trace is at its pedestal.
        """
        row, place = self._in_a_row(filters.shape[1])
        return conv1d(row[None], filters[:, None])[:, place].T

    def around(self, taps: int) -> torch.Tensor:
        """``(N, W)``: the heights of its trace around each sample, by which filters are multiplied."""
        row, place = self._in_a_row(taps)
        return row.unfold(0, taps, 1)[place]

    def _in_a_row(self, taps: int) -> tuple[torch.Tensor, torch.Tensor]:
        """All traces, half a filter's zeros between them, and the place of each sample's first tap."""
        gap = taps // 2
        place = torch.arange(len(self.trace), device=self.trace.device) + gap * self.trace
        row = self.values.new_zeros(len(self.trace) + gap * (int(self.traces[-1]) + 2) + 1)
        row[place + gap] = self.values
        return row, place


def truth_of(batch: Batch, part: str, table: str, label: str) -> torch.Tensor:
    """``(N,)`` float32 labels of samples (torch, or numpy)."""
    return torch.as_tensor(batch.labels[part][table].columns[label]).float()
