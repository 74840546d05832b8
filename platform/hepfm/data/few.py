"""A few of many events: drawn once for a whole run, to ask how many labels are needed; or the first ones."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from hepfm.api import Batch, Modality, PartSchema
from hepfm.errors import DataError
from hepfm.random import Draws

if TYPE_CHECKING:
    from hepfm.data.source import Source


def first_events(source: Source, events: int) -> Source:
    """The first events of files, in their order; the source itself where these are all of them.

    Raises:
        DataError: There are fewer.
    """
    return source if events == len(source) else FewEvents(source, events, seed=None)


def whole_of(source: Source) -> Source:
    """All events of the files or the generator that a few are of."""
    return source.source if isinstance(source, FewEvents) else source


def drawn_events(event_ids: Any, events: int, seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """``(K,)`` indices, ascending, of the events that are drawn.

    Each event has a number that its id and the seed alone decide, and those of the lowest numbers are taken.
    So the first 10 are among the first 30, whatever files the events are in and in which order.

    Args:
        event_ids: ``(N,)`` uint64.
        events: K, at most N.
        seed: Another seed draws others.
    """
    draws = Draws(seed=seed, epoch="few", event_ids=np.asarray(event_ids, np.uint64).view(np.int64))
    numbers = draws.per_event("few", 1)[:, 0]
    return np.sort(np.argsort(numbers, kind="stable")[:events])


class FewEvents:
    """So many events of files or a generator, with the methods of `EventSource`.

    Args:
        source: All events.
        events: How many.
        seed: Of the draw, see `drawn_events`; None for the first ones, in order.

    Raises:
        DataError: There are not so many.
    """

    def __init__(self, source: Source, events: int, seed: int | None) -> None:
        if events > len(source):
            asked, option = (
                (f"first {events} that were asked for", "--events")
                if seed is None
                else (f"{events} to be drawn", "data.train_events")
            )
            raise DataError(
                f"There are {len(source)} events, fewer than the {asked}.",
                where=f"{source.place(0)}, and {len(source) - 1} further events",
                fix=f"ask for fewer ({option}), or name more files",
            )
        self.source: Source = source
        self.parts: Mapping[str, PartSchema] = source.parts
        self.modalities: Mapping[str, Modality] = source.modalities
        self.indices = np.arange(events) if seed is None else drawn_events(source.event_ids(), events, seed)

    def __len__(self) -> int:
        return len(self.indices)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "costs"}

    @cached_property
    def costs(self) -> np.ndarray[Any, np.dtype[np.uint32]]:
        """``(K,)`` stored rows of each event."""
        costs: np.ndarray[Any, np.dtype[np.uint32]] = self.source.costs[self.indices]
        return costs

    @cached_property
    def digest(self) -> str:
        """A hex digest of the files' content, and of which events of them these are."""
        return hashlib.sha256(self.source.digest.encode() + self.event_ids().tobytes()).hexdigest()

    def event_ids(self) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """``(K,)`` ids."""
        ids: np.ndarray[Any, np.dtype[np.uint64]] = self.source.event_ids()[self.indices]
        return ids

    def place(self, index: int) -> str:
        """Where an event is, for messages."""
        return self.source.place(int(self.indices[index]))

    def read(self, indices: Any, labels: bool = False) -> Batch:
        """The events at these indices, see `EventSource.read`."""
        return self.source.read(self.indices[np.asarray(indices, np.int64)], labels=labels)

    def share(self, indices: Any, costs: Any, *, together: int = 1, **dealing: Any) -> list[Batch]:
        """A rank's micro-batches of a global batch, see `EventSource.share`."""
        return self.source.share(self.indices[indices], costs, together=together, **dealing)

    def counts(self) -> Counter[str]:
        """See `EventSource.counts`."""
        return self.source.counts()
