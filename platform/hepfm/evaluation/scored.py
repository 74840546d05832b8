"""What scores of events are made of: how badly a model fills in what is hidden, and where it puts them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hepfm.api import Batch, Column, PartSchema, RaggedTable
from hepfm.evaluation.embed import EMBEDDING, embed, embedding_schemas
from hepfm.evaluation.losses import by_event, losses, mean_loss, predictions
from hepfm.evaluation.predict import Tables, inputs
from hepfm.training.pretrained import Pretrained

SCORED = "scored"
"""Name and kind of the part."""


def scored_schemas(model: Pretrained, layers: Sequence[int] = ()) -> dict[str, PartSchema]:
    """The schema of the part ``scored``: a row for each event."""
    features = embedding_schemas(model, "pooled", layers=layers)[EMBEDDING].tables["events"]["features"]
    columns = {
        "features": features,
        "units": Column(dtype="int64", doc="units of all parts"),
        "error": Column(dtype="float64", doc="mean loss of what was hidden; 0 where nothing was"),
        "predicted": Column(dtype="int64", doc="predictions of what was hidden, over all masks"),
    }
    return {SCORED: PartSchema(kind=SCORED, primary="events", tables={"events": columns})}


def scored(model: Pretrained, batch: Batch, layers: Sequence[int] = (), *, masks: int) -> Tables:
    """The tables of `scored_schemas` (numpy), of a torch batch on the CPU.

    Args:
        model: Of a checkpoint.
        batch: Events, cut as the model's parts ask.
        layers: Layers whose pooled features are read side by side; none for the output.
        masks: How often each event is masked; see `hepfm.evaluation.losses.losses`.
    """
    events = embed(model, batch, "pooled", layers=layers)[EMBEDDING]["events"]
    units = sum(each.offsets.diff() for each in inputs(model, batch).values())
    error, predicted = np.zeros(len(batch)), np.zeros(len(batch), np.int64)
    if masks and by_event(model):
        found, weights = losses(model, batch, masks=masks), model.module.objective.weights
        predicted = predictions(weights, found).sum(0).astype(np.int64)
        error = np.where(predicted > 0, mean_loss(weights, found), 0)
    columns = {
        "features": events.columns["features"],
        "units": np.asarray(units.cpu()),  # type: ignore[union-attr]
        "error": error,
        "predicted": predicted,
    }
    return {SCORED: {"events": RaggedTable(columns, events.offsets)}}
