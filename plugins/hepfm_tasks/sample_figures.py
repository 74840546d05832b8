"""Figures of numbers of samples: how far they are from the truth, and whether their sums are right.

Legend of shapes: N samples, K traces, B events, E bins, H bins of a histogram.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hepfm.metrics.residuals import histogram, in_bins, residual_figures, two_sided
from hepfm_tasks.against import named
from hepfm_tasks.traces import Heights

Array = np.ndarray[Any, Any]

RATIOS = two_sided(1e-4, 1e3, per_decade=30)
"""Edges of a trace's sum over its true one, less 1."""


@dataclass(frozen=True, kw_only=True)
class SampleFigures:
    """What is told of predicted numbers of samples.

    Attributes:
        counts: Whether they are ADC counts, as the samples themselves: then the distance from the truth of
            those without a signal is the noise, that others are measured by.
        amounts: Whether their sums mean something.
        signal: A sample whose truth is so far from zero has a signal.
        amplitudes: Edges of bins of the size of the truth.
        sums: Edges of bins of a trace's true sum.
    """

    counts: bool
    amounts: bool
    signal: float
    amplitudes: Sequence[float] | None = None
    sums: Sequence[float] | None = None

    def statistics(
        self, found: torch.Tensor, truth: torch.Tensor, known: torch.Tensor, heights: Heights
    ) -> dict[str, Array]:
        """Sums for each event, float64.

        ``samples (B, 2, 4)``, of those without and with a signal: their number, sums of residuals, of their
        squares, and of those of the heights less the truth; ``amplitudes (B, E, 4)`` the same in bins;
        ``traces (B, H)``, a histogram of a trace's sum over its true one, less 1, ``sums (B, E, H)`` in bins;
        ``totals (B, 2)``, the sum of all, and the true one.

        Args:
            found: ``(N,)`` predicted.
            truth: ``(N,)``.
            known: ``(N,)`` bool.
            heights: The samples.
        """
        event = np.repeat(np.arange(len(heights.samples) - 1), heights.samples.diff().numpy())
        events, truth = len(heights.samples) - 1, truth.where(known, 0.0).double()
        residual = (found.double() - truth).where(known, 0.0)
        noise = (heights.values.double() - truth).where(known, 0.0)
        values = torch.stack((known.double(), residual, residual.square(), noise.square()), 1).numpy()
        size = truth.abs().numpy()
        statistics = {"samples": _in_cells(values, event, events, (size >= self.signal).astype(np.int64), 2)}
        if self.amplitudes:
            bins = in_bins(size, np.asarray(self.amplitudes))
            statistics["amplitudes"] = _in_cells(values, event, events, bins, len(self.amplitudes) - 1)
        if self.amounts:
            sums = torch.stack((found.double().where(known, 0.0), truth), 1)
            of_trace, true = heights.of_traces(sums).numpy().T
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = np.where(true >= self.signal, of_trace / true - 1, np.nan)
            event = np.repeat(np.arange(events), heights.traces.diff().numpy())
            statistics["traces"] = histogram(ratio, event, events, RATIOS)
            if self.sums:
                bins, number = in_bins(true, np.asarray(self.sums)), len(self.sums) - 1
                cell = event * number + bins
                binned = histogram(np.where(bins >= 0, ratio, np.nan), cell, events * number, RATIOS)
                statistics["sums"] = binned.reshape(events, number, binned.shape[-1])
            statistics["totals"] = _in_cells(
                np.stack((of_trace, true), 1), event, events, np.zeros_like(event), 1
            )[:, 0]
        return statistics

    def figures(self, sums: Mapping[str, Array]) -> dict[str, float]:
        """Figures of summed statistics.

        ``rms`` of all samples; ``rms/signal``, ``rms/quiet`` and ``bias/signal``, ``bias/quiet``, in the
        label's unit, and of counts ``noise`` with ``rms_over_noise/...``; in bins ``.../amplitude/LOW-HIGH``.
        Of amounts ``sum_bias`` and ``sum_resolution`` of a trace's sum over its true one, in bins
        ``.../sum/LOW-HIGH``, and ``total_bias``, of all that there is.
        """
        figures: dict[str, float] = {}
        number, _, squares, _ = sums["samples"].sum(0)
        if number:
            figures["rms"] = float(np.sqrt(squares / number))
        return figures | self._of_samples(sums) | (self._of_traces(sums) if self.amounts else {})

    def _of_samples(self, sums: Mapping[str, Array]) -> dict[str, float]:
        where = dict(zip(("quiet", "signal"), sums["samples"], strict=True))
        if self.amplitudes:
            where |= dict(zip(named("amplitude", self.amplitudes), sums["amplitudes"], strict=True))
        figures: dict[str, float] = {}
        number, _, _, noise = sums["samples"][0]
        if self.counts and number and noise:
            figures["noise"] = float(np.sqrt(noise / number))
        for name, (number, residual, squares, _) in where.items():
            if number:
                figures[f"rms/{name}"] = float(np.sqrt(squares / number))
                figures[f"bias/{name}"] = float(residual / number)
                if "noise" in figures:
                    figures[f"rms_over_noise/{name}"] = figures[f"rms/{name}"] / figures["noise"]
        return figures

    def _of_traces(self, sums: Mapping[str, Array]) -> dict[str, float]:
        told = {"": sums["traces"]}
        if self.sums:
            told |= {
                f"/{name}": each for name, each in zip(named("sum", self.sums), sums["sums"], strict=True)
            }
        figures = {
            f"sum_{key}{name}": value
            for name, counts in told.items()
            for key, value in residual_figures(counts, RATIOS).items()
        }
        found, true = sums["totals"]
        return figures | ({"total_bias": float(found / true - 1)} if true else {})


def _in_cells(values: Array, event: Array, events: int, cell: Array, cells: int) -> Array:
    """``(B, cells, ...)``: sums of values ``(N, ...)`` over each event's rows of each cell, -1 for none."""
    at = np.where(cell >= 0, event * cells + cell, events * cells)
    summed = [np.bincount(at, column, minlength=events * cells + 1)[:-1] for column in values.T]
    return np.stack(summed, -1).reshape(events, cells, values.shape[1]).astype(np.float64)
