"""Events that a generator makes as they are asked for, numbered like those of files."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from hepfm.api import Batch, Modality
from hepfm.data.cuts import cut_rows
from hepfm.data.deal import deal
from hepfm.data.generator import GeneratedEvents
from hepfm.errors import DataError
from hepfm.readers.pack import take
from hepfm.recipe.schema import Generated


class GeneratorSource:
    """A range of a generator's events, with the methods of `EventSource`. Holds no events and no ids.

    What an event costs is known when it has been made, by the rank that computes it. So `costs` are 1 for
    each event, a global batch is a number of events, and `share` deals by number and cuts by true cost.

    Attributes:
        events: The generator's events, by index.
        parts: Part name to its schema.
        modalities: Part name to the modality whose `Modality.select` cuts its rows.

    Args:
        spec: What a recipe says.
        parts: Names of the parts to make.
        max_event_cost: Events with more rows are refused when they are made.

    Raises:
        RecipeError: The generator refuses its options, or makes no such part.
        PluginError: There is no such generator.
    """

    def __init__(self, spec: Generated, *, parts: Collection[str], max_event_cost: int | None = None) -> None:
        self.events = GeneratedEvents(spec.generator, spec.options(), seed=spec.seed, parts=parts)
        self.parts = {name: self.events.parts[name] for name in parts}
        self.modalities: dict[str, Modality] = {}
        self._first, self._size = spec.first, spec.events
        self._max_event_cost = max_event_cost

    def __len__(self) -> int:
        return self._size

    @property
    def costs(self) -> np.ndarray[Any, np.dtype[np.uint32]]:
        """``(N,)``: 1 for each event, in no memory."""
        return np.broadcast_to(np.uint32(1), self._size)

    @cached_property
    def digest(self) -> str:
        """A hex digest of generator, configuration, seed and range."""
        said = (self.events.digest, self.events.seed, self._first, self._size)
        return hashlib.sha256("\n".join(map(str, said)).encode()).hexdigest()

    def event_ids(self) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """``(N,)`` ids of all events; not kept. 1 us each."""
        indices = range(self._first, self._first + self._size)
        return np.fromiter(map(self.events.event_id, indices), np.uint64, self._size)

    def place(self, index: int) -> str:
        """Where an event is from, for messages."""
        return self.events.place(self._first + index)

    def first_shared(self, other: GeneratorSource) -> int | None:
        """The generator's lowest index that is in both sources; None where seeds or ranges differ."""
        if (self.events.generator, self.events.seed) != (other.events.generator, other.events.seed):
            return None
        first = max(self._first, other._first)
        last = min(self._first + self._size, other._first + other._size)
        return first if first < last else None

    def shared_records(self, other: GeneratorSource) -> tuple[float, float] | None:
        """The part of a file whose records both sources take, whatever their seeds; None where there is none.

        Raises:
            DataError: A file cannot be read.
        """
        theirs = other.events.records()
        for digest, (first, stop) in self.events.records().items():
            low, high = theirs.get(digest, (1.0, 0.0))
            if max(first, low) < min(stop, high):
                return max(first, low), min(stop, high)
        return None

    def counts(self) -> Counter[str]:
        """What the generator left out or changed in this process so far, in its words."""
        return self.events.counts()

    def read(self, indices: Any, labels: bool = False) -> Batch:
        """The events at these indices ``(B,)``, in this order, made, cut and checked.

        Raises:
            DataError: An event is too large or makes no sense, or a modality refuses it (names it).
            PluginError: The generator fails.
        """
        indices = np.asarray(indices, np.int64)
        batch = self.events.read((indices + self._first).tolist(), labels=labels)
        limit = self._max_event_cost
        if limit is not None and len(large := np.flatnonzero(batch.cost > limit)):
            raise DataError(
                f"An event has {batch.cost[large[0]]} rows, more than the {limit} allowed.",
                where=self.place(int(indices[large[0]])),
                fix="raise data.max_event_cost, or have the generator make smaller events",
            )
        return cut_rows(batch, self.modalities, self.parts, lambda row: self.place(int(indices[row])))

    def share(
        self,
        indices: Any,
        costs: Any,
        *,
        rank: int,
        world: int,
        micro_batch_cost: int,
        labels: bool,
        together: int = 1,
    ) -> list[Batch]:
        """A rank's micro-batches of a global batch; ranks may have different numbers of them.

        Every ``world``-th event, or group of ``together`` successive ones, is this rank's. It makes them, and
        cuts them by what they cost; groups stay whole, and `Batch.group` tells them apart.
        """
        del costs  # of one each
        if together == 1:
            batch = self.read(np.sort(indices[rank::world]), labels=labels)
        else:
            group = np.arange(len(indices)) // together
            mine = group % world == rank
            batch = replace(self.read(indices[mine], labels=labels), group=group[mine])
        (dealt,) = deal(batch.cost, 1, micro_batch_cost, together=together)
        return [batch] if len(dealt) == 1 else [take(batch, rows) for rows in dealt]
