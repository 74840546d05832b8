"""Labelled events for a model of a checkpoint: opened as it was trained, and known to be others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hepfm.api import Batch
from hepfm.data.few import FewEvents
from hepfm.data.source import EventSource, Source, open_source
from hepfm.data.tensors import to_torch
from hepfm.errors import DataError
from hepfm.recipe.schema import Generated, Recipe
from hepfm.training.pretrained import Pretrained

_MOST_EVENTS = 64
"""Of a batch, since what a generator's event costs is not known before it is made."""


def open_events(
    model: Pretrained,
    data: str | list[str] | Generated,
    *,
    reader: str | None = None,
    options: Mapping[str, Any] | None = None,
    seen: bool = False,
) -> Source:
    """Events for a model, with the parts, cuts and preparation that its checkpoint carries.

    Args:
        model: Of a checkpoint.
        data: File, folder, glob, list of them, or what a generator makes.
        reader: A reader's name; by default the one that the model was trained with.
        options: The reader's.
        seen: Whether the events may be those that the model was trained on.

    Raises:
        DataError: See `hepfm.data.source.open_source`; or the model was trained on just these events.
    """
    trained = model.recipe.data
    if reader is None:
        reader, options = trained.reader_name, trained.reader_options
    source = open_source(
        data, parts=trained.parts, reader=reader, options=options, max_event_cost=trained.max_event_cost
    )
    if not seen and _digest_as_trained(source, model.recipe) == model.about["data_digests"]["train"]:
        raise DataError(
            "The model was trained on these events, so figures would flatter.",
            where=f"{data}; checkpoint {model.folder}",
            fix="name events that it has not seen: hepfm data split makes files apart",
        )
    return source


def _digest_as_trained(source: Source, recipe: Recipe) -> str:
    """Of a source, or of as many of its events as the recipe draws: then all of it was there to be drawn."""
    few = recipe.data.train_events
    if few is None or not isinstance(source, EventSource) or few > len(source):
        return source.digest
    return FewEvents(source, few, recipe.seed).digest


def batches(
    source: Source, *, cost: int = 65_536, indices: Sequence[int] | None = None, labels: bool = True
) -> Iterator[Batch]:
    """Torch batches of a source's events (or those at some indices), in order.

    Args:
        source: Of `open_events`.
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
