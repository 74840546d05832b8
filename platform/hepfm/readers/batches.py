"""Reading many events, so many at once as memory bears."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hepfm.api import Batch, Reader

_EVENTS = 256
_ROWS = 1 << 23
"""Rows of primary tables that are read at once, where an event has fewer."""


def batches(reader: Reader, indices: Sequence[int]) -> Iterator[Batch]:
    """The events at these indices, labels included, in order.

    An image has some thousand rows and a frame of wires ten million: how many events are read at once follows
    from the largest so far, and at most doubles from one batch to the next.
    """
    at, count, largest = 0, 1, 1
    while at < len(indices):
        batch = reader.read(indices[at : at + count])
        yield batch
        at += len(batch)
        largest = max(largest, int(batch.cost.max()))
        count = max(1, min(2 * count, _EVENTS, _ROWS // largest))
