"""Columns of numbers that an event is told by: their truth, their scale, and how they are predicted.

Legend of shapes: B events, N rows of the table of labels, K numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from hepfm.api import Batch, Column
from hepfm.errors import DataError, RecipeError, did_you_mean
from hepfm.nn.ragged import segment_sum
from hepfm_tasks.labels import label_column
from hepfm_tasks.rows import Rows, at

Array = np.ndarray[Any, Any]

_LARGEST = 80.0
"""Of an exponent: float32 ends at 88."""


class Numbers(nn.Module):
    """K numbers of an event, from columns of one table.

    Args:
        rows: Of the table.
        labels: Columns; a vector's entries are numbers of their own.
        log: Those of them that are learned as logarithms.

    Raises:
        DataError: A column is missing, or of classes.
        RecipeError: A logarithm is asked for of what is not learned.
    """

    def __init__(self, rows: Rows, labels: Sequence[str], log: Sequence[str]) -> None:
        super().__init__()
        self.rows = rows
        for name in log:
            if name not in labels:
                raise RecipeError(
                    f"The logarithm of '{name}' is asked for, and it is not learned.",
                    where="objective.head.log",
                    fix=did_you_mean(name, labels),
                )
        self.labels = {name: label_column(rows.schema, rows.table, name, part=rows.part) for name in labels}
        for name, column in self.labels.items():
            if column.vocabulary or len(column.shape) > 1:
                raise DataError(
                    f"'{name}' is no number or vector." if column.shape else f"'{name}' is of classes.",
                    where=f"part {rows.part}, table {rows.table}",
                    fix="learn classes with the head event-class",
                )
        sizes = [column.shape[0] if column.shape else 1 for column in self.labels.values()]
        self.names = [
            f"{name}_{i}" if column.shape else name
            for (name, column), size in zip(self.labels.items(), sizes, strict=True)
            for i in range(size)
        ]
        logs = [name in log for name, size in zip(self.labels, sizes, strict=True) for _ in range(size)]
        self.sizes = sizes
        self.register_buffer("log", torch.tensor(logs), persistent=False)
        self.register_buffer("moments", torch.zeros(3, len(logs), dtype=torch.float64))

    log: torch.Tensor
    """``(K,)`` bool."""
    moments: torch.Tensor
    """``(3, K)`` float64: how many were observed, their sums, and sums of squares."""

    def columns(self) -> dict[str, Column]:
        """Columns of what is predicted."""
        found = {}
        for name, column in self.labels.items():
            plain = replace(column, dtype="float32", label=False)
            found[name] = plain
            found[f"{name}_sigma"] = replace(plain, doc=f"standard deviation of {name}")
        return found

    def rows_of(self, batch: Batch) -> torch.Tensor | None:
        """``(B,)`` the row that tells each event's truth, -1 for none; None where it is the sum of all."""
        return (
            None
            if self.rows.take == "sum"
            else self.rows.chosen(batch, self._values(batch).isfinite().any(1))
        )

    def truth(self, batch: Batch) -> torch.Tensor:
        """``(B, K)`` float64 in the labels' units; NaN where it is not known."""
        values = self._values(batch)
        rows = self.rows_of(batch)
        if rows is not None:
            found = at(values, rows, otherwise=torch.nan)
        else:
            counting, offsets = self.rows.counting(batch, values.isfinite().all(1)), self.rows.offsets(batch)
            found = segment_sum(values.masked_fill(~counting[:, None], 0.0), offsets)
            found = found.masked_fill((segment_sum(counting.long(), offsets) == 0)[:, None], torch.nan)
        return found.masked_fill(~found.isfinite() | (self.log.to(found.device) & (found <= 0)), torch.nan)

    def _values(self, batch: Batch) -> torch.Tensor:
        columns = [self.rows.values(batch, name).double() for name in self.labels]
        return torch.cat(
            [column.reshape(len(column), size) for column, size in zip(columns, self.sizes, strict=True)], 1
        )

    def observe(self, batch: Batch) -> None:
        """Adds training events to the scale."""
        values = self._logged(self.truth(batch))
        known = values.isfinite()
        values = values.masked_fill(~known, 0.0)
        self.moments.add_(torch.stack((known.double().sum(0), values.sum(0), values.square().sum(0))))

    def observed(self) -> list[torch.Tensor]:
        """Its sums."""
        return [self.moments]

    def scaled(self, truth: torch.Tensor) -> torch.Tensor:
        """``(B, K)`` with mean 0 and spread 1 over what was observed, of values in the labels' units."""
        mean, spread = self._scale()
        return (self._logged(truth) - mean) / spread

    def predicted(self, mean: torch.Tensor, log_width: torch.Tensor) -> dict[str, torch.Tensor]:
        """Columns of what is predicted, of means and logarithms of widths ``(B, K)`` of scaled numbers.

        A logarithm's mean becomes the median, and its width the part of it that is one standard deviation.
        """
        centre, spread = self._scale()
        value, sigma = mean.double() * spread + centre, log_width.double().exp() * spread
        exponential = value.clamp(-_LARGEST, _LARGEST).exp()
        sigma = torch.where(self.log, exponential * sigma, sigma)
        value = torch.where(self.log, exponential, value)
        limit = torch.finfo(torch.float32).max
        columns, first = {}, 0
        for (name, column), size in zip(self.labels.items(), self.sizes, strict=True):
            shape, mine = (len(value), *column.shape), slice(first, first + size)
            columns[name] = value[:, mine].clamp(-limit, limit).float().reshape(shape)
            columns[f"{name}_sigma"] = sigma[:, mine].clamp(max=limit).float().reshape(shape)
            first += size
        return columns

    def as_columns(self, values: Array) -> dict[str, Array]:
        """Columns of the labels' shapes, of numbers ``(B, K)``."""
        ends = np.cumsum(self.sizes)[:-1].tolist()
        return {
            name: each.reshape(len(values), *column.shape)
            for (name, column), each in zip(self.labels.items(), np.split(values, ends, axis=1), strict=True)
        }

    def units(self) -> dict[str, str | None]:
        """Unit of each number's residual; None of those learned as logarithms, where it is a part."""
        units = [
            column.unit
            for column, size in zip(self.labels.values(), self.sizes, strict=True)
            for _ in range(size)
        ]
        each = zip(self.names, units, self.log.tolist(), strict=True)
        return {name: None if log else unit for name, unit, log in each}

    def residuals(self, predicted: Mapping[str, Array], truth: Array) -> tuple[Array, Array]:
        """``(B, K)`` predicted less true, and the pulls; NaN where the truth is not known.

        Of logarithms, the residual is a part of the true value, and the pull is that of the logarithms.
        """
        value, sigma = (
            np.concatenate(
                [
                    predicted[name + end].reshape(len(truth), size)
                    for name, size in zip(self.labels, self.sizes, strict=True)
                ],
                1,
            ).astype(np.float64)
            for end in ("", "_sigma")
        )
        log = self.log.cpu().numpy()
        residual = value - truth
        tiny = np.finfo(np.float64).tiny
        whole = np.where(log, truth, 1.0)
        ratio = np.log(np.maximum(np.where(log, value, 1.0), tiny) / whole)
        pull = np.where(log, ratio * value, residual) / np.maximum(sigma, tiny)
        return residual / whole, pull

    def _logged(self, values: torch.Tensor) -> torch.Tensor:
        return torch.where(
            self.log.to(values.device), values.clamp(min=torch.finfo(torch.float64).tiny).log(), values
        )

    def _scale(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and spread ``(K,)`` of what was observed; a spread of 1 where there is none."""
        number, total, squares = self.moments
        mean = total / number.clamp(min=1)
        variance = squares / number.clamp(min=1) - mean.square()
        spread = torch.where(variance > 1e-12 * mean.square(), variance.clamp(min=0).sqrt(), 1.0)
        return mean, torch.where(spread > 0, spread, 1.0)
