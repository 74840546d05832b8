"""Figures against something: statistics in bins of an energy, a momentum, a distance.

Legend of shapes: B events, N rows, E bins of what figures are told against.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import AfterValidator, Field

from hepfm.api import Batch
from hepfm.metrics.residuals import in_bins
from hepfm.nn.ragged import segment_sum
from hepfm_tasks.rows import Rows, at

Array = np.ndarray[Any, Any]


def _ascending(edges: list[float]) -> list[float]:
    if any(low >= high for low, high in pairwise(edges)):
        raise ValueError("the edges of bins must ascend")
    return edges


Edges = Annotated[list[float], Field(min_length=2), AfterValidator(_ascending)]
"""Of bins, in the unit of what they are of; each has its lower edge."""


def named(what: str, edges: Sequence[float]) -> list[str]:
    """A name for each bin: ``momentum_gev/0.1-0.3``."""
    return [f"{what}/{low:g}-{high:g}" for low, high in pairwise(edges)]


def of_event(rows: Rows, batch: Batch, column: str, chosen: torch.Tensor | None) -> Array:
    """``(B,)`` float64: a column at the rows ``(B,)`` that tell the events' truth; for None, its sum."""
    values = rows.values(batch, column).double()
    if chosen is not None:
        found: Array = at(values, chosen, otherwise=torch.nan).numpy()
        return found
    counting = rows.counting(batch, values.isfinite())
    total: Array = segment_sum(values.masked_fill(~counting, 0.0), rows.offsets(batch)).numpy()
    return total


def binned(statistics: Array, value: Array, edges: Sequence[float]) -> Array:
    """``(N, E, ...)``: statistics ``(N, ...)`` in the bin of each row's value ``(N,)``, zeros in others."""
    inside = in_bins(value, np.asarray(edges))[:, None] == np.arange(len(edges) - 1)
    in_bin: Array = statistics[:, None] * inside.reshape(*inside.shape, *[1] * (statistics.ndim - 1))
    return in_bin
