"""Labelled events for a model of a checkpoint: opened as it was trained, and known to be others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from hepfm.data.few import first_events
from hepfm.data.source import Source, open_source
from hepfm.evaluation.checks import check_inputs, check_unseen
from hepfm.recipe.schema import Generated
from hepfm.training.pretrained import Pretrained

_log = logging.getLogger(__name__)


def open_events(
    model: Pretrained,
    data: str | list[str] | Generated,
    *,
    reader: str | None = None,
    options: Mapping[str, Any] | None = None,
    events: int | None = None,
    seen: bool = False,
    say: Callable[[str], None] = _log.warning,
) -> Source:
    """Events for a model, with the parts, cuts and preparation that its checkpoint carries.

    Args:
        model: Of a checkpoint.
        data: File, folder, glob, list of them, or what a generator makes.
        reader: A reader's name; by default the one that the model was trained with.
        options: The reader's; by default those of the training.
        events: So many of the events, the first in order; by default all.
        seen: Whether the events may be those that the model was trained on.
        say: Told in a sentence of what is not as in training, or flatters.

    Raises:
        DataError: See `hepfm.data.source.open_source`; or they lack what the model reads; or there are
            fewer than ``events``; or the model, or one that its weights come from, was trained on some.
    """
    trained = model.recipe.data
    if reader is None:
        reader, options = trained.reader_name, options or trained.reader_options
    if events is not None and isinstance(data, Generated) and events < data.events:
        data = data.model_copy(update={"events": events})  # as any range of the generator's events
    source = open_source(
        data, parts=trained.parts, reader=reader, options=options, max_event_cost=trained.max_event_cost
    )
    if events is not None:
        source = first_events(source, events)
    where = str(data)
    for doubt in check_inputs(model, source.parts, where=where):
        say(doubt)
    if not seen:
        for doubt in check_unseen(model, source, where=where):
            say(doubt)
    return source
