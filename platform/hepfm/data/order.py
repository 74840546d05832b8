"""The order of training events: a pure function of (seed, epoch), cut into global batches by stored cost.

Nothing here depends on ranks, workers or history, so a cursor is all that a resume needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hepfm.errors import DataError
from hepfm.random import Permutation

Indices = np.ndarray[Any, np.dtype[np.int64]]

_CHUNK = 4096
"""Positions of the permutation evaluated at once: 0.6 us an event, where batches of 32 would take 24."""


@dataclass(frozen=True, order=True)
class Cursor:
    """Where the next global batch starts: an epoch, and a position in that epoch's order."""

    epoch: int = 0
    position: int = 0


class Order:
    """Global batches of events, endless over epochs.

    Each epoch visits every event once, in an order drawn from (seed, epoch). A batch is the longest run of
    that order whose cost stays within the budget; it holds at least one event and never crosses into the
    next epoch. An event without rows costs 1, so that a batch of them ends too.

    Args:
        costs: ``(N,)`` stored rows of each event; kept by reference, the only memory that grows with N.
        seed: The run's seed.
        batch_cost: Budget of a global batch, in stored rows.

    Raises:
        DataError: There are no events.
    """

    def __init__(self, costs: np.ndarray[Any, Any], seed: int, batch_cost: int) -> None:
        if not len(costs):
            raise DataError("There are no events to train on.", fix="check data.train, and the cuts on it.")
        self.costs = costs
        self.seed = seed
        self.batch_cost = batch_cost
        self._chunk_at = (-1, -1)
        self._chunk_events: Indices = np.empty(0, np.int64)
        self._chunk_spent: Indices = np.zeros(1, np.int64)

    def batch(self, cursor: Cursor) -> tuple[Indices, Cursor]:
        """The events ``(B,)`` of the global batch that starts at the cursor, and the cursor behind it.

        Raises:
            DataError: The cursor lies outside the epoch, so it belongs to other data.
        """
        size = len(self.costs)
        if not 0 <= cursor.position < size:
            raise DataError(
                "The run's position does not lie inside its training data.",
                where=f"position {cursor.position} of {size} events in epoch {cursor.epoch}",
                fix="resume with the data that the run was started with.",
            )
        position, left = cursor.position, self.batch_cost
        runs: list[Indices] = []
        while position < size:
            self._load_chunk(cursor.epoch, position // _CHUNK)
            start = position % _CHUNK
            spent = int(self._chunk_spent[start])
            fitting = int(np.searchsorted(self._chunk_spent, spent + left, side="right")) - 1
            stop = max(fitting, start if runs else start + 1)
            runs.append(self._chunk_events[start:stop])
            position += stop - start
            if stop < len(self._chunk_events):
                break
            left -= int(self._chunk_spent[-1]) - spent
        after = Cursor(cursor.epoch, position) if position < size else Cursor(cursor.epoch + 1, 0)
        return np.concatenate(runs), after

    def _load_chunk(self, epoch: int, chunk: int) -> None:
        if self._chunk_at == (epoch, chunk):
            return
        order = Permutation(len(self.costs), "order", self.seed, epoch)
        self._chunk_events = order[chunk * _CHUNK : (chunk + 1) * _CHUNK]
        costs = np.maximum(self.costs[self._chunk_events], 1)
        self._chunk_spent = np.concatenate([[0], np.cumsum(costs, dtype=np.int64)])
        self._chunk_at = (epoch, chunk)
