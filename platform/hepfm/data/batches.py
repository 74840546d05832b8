"""A source's events in order, so many at once as memory bears."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hepfm.api import Batch
from hepfm.data.source import Source
from hepfm.data.tensors import to_torch

_MOST_EVENTS = 64
"""Of a batch, since what a generator's event costs is not known before it is made."""


def batches(
    source: Source, *, cost: int = 65_536, indices: Sequence[int] | None = None, labels: bool = True
) -> Iterator[Batch]:
    """Torch batches of a source's events (or those at some indices), in order.

    Args:
        source: Of files, or of what a generator makes.
        cost: Stored rows of a batch, unless a single event has more; no batch has more than 64 events.
        indices: Which events; by default all.
        labels: Whether labels are read too.
    """
    chosen = np.arange(len(source)) if indices is None else np.asarray(indices, np.int64)
    costs, first = source.costs[chosen].tolist(), 0
    while first < len(chosen):
        last, rows = first, 0
        while last < min(first + _MOST_EVENTS, len(chosen)) and (last == first or rows + costs[last] <= cost):
            rows += costs[last]
            last += 1
        yield to_torch(source.read(chosen[first:last], labels=labels))
        first = last
