"""What a model with a head makes of events, as tables.

It is computed in float32, whatever precision the training had: so an event alone gives what it gives in any
batch, to 1e-5, on any machine.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from hepfm.api import Batch, PartSchema, RaggedTable, Units
from hepfm.data.tensors import tables_to_numpy, to_device
from hepfm.evaluation.checks import task_of
from hepfm.objectives.units import units_as_they_are
from hepfm.training.pretrained import Pretrained

Tables = dict[str, dict[str, RaggedTable]]
PREDICTED = "predicted_"
"""Before the name of a part whose tables are predictions."""


def prediction_schemas(model: Pretrained) -> dict[str, PartSchema]:
    """Part name (``predicted_...``) to the schema of what is predicted."""
    predictions: Mapping[str, PartSchema] = task_of(model).head.predictions
    return {PREDICTED + part: schema for part, schema in predictions.items()}


@torch.inference_mode()
def predict(model: Pretrained, batch: Batch) -> Tables:
    """Part name, as in the head's ``predictions``, to tables of predictions (numpy).

    Args:
        model: With a head.
        batch: Torch events, cut as the model's parts ask; labels are not looked at.
    """
    task = task_of(model)
    batch = to_device(batch, next(model.module.parameters()).device)
    found = task.head.predict(task.prediction(model.encoder, batch, inputs(model, batch)))
    return {part: tables_to_numpy(tables) for part, tables in found.items()}


def inputs(model: Pretrained, batch: Batch) -> dict[str, Units]:
    """A torch batch as units on the model's device, as they are: nothing is varied."""
    return units_as_they_are(batch, model.modalities, next(model.module.parameters()).device)
