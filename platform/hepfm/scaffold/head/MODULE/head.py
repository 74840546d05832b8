"""The task NAME: which class of a vocabulary each point of an event belongs to, a voxel for instance.

Legend of shapes: N points, C classes, D width of the features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from hepfm.api import Batch, Column, Features, Need, PartSchema, Ragged, RaggedTable, RaggedTables
from hepfm.errors import DataError, did_you_mean
from hepfm.metrics.classes import class_figures, confusion
from hepfm.nn.init import linear


class Prediction(NamedTuple):
    """Logits ``(N, C)`` of the points, and the events' offsets ``(B+1,)``."""

    logits: torch.Tensor
    offsets: torch.Tensor


class CLASS(nn.Module):
    """A small network on each point's features (`hepfm.api.Head`).

    Args:
        config: What is to be told apart.
        schema: Part name to schema, with the labels.
        d_in: Width of the features of a need and a part.

    Raises:
        DataError: The part or its labels are missing, or the labels have no vocabulary.
    """

    class Config(BaseModel):
        """What a recipe may say of the task."""

        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        part: str = "image3d"
        """The part whose points are classified."""
        label: str = "semantic"
        """Column of classes in the part's primary table. Values without a name are left out of the loss."""
        width: int = Field(default=64, gt=0)
        """Width of the hidden layer."""

    needs = ("points",)
    weights: Mapping[str, float] = {"class": 1.0}
    answers = "classes"

    def __init__(
        self, config: Config, *, schema: Mapping[str, PartSchema], d_in: Callable[[Need, str], int]
    ) -> None:
        super().__init__()
        if config.part not in schema:
            raise DataError(f"There is no part '{config.part}'.", fix=did_you_mean(config.part, schema))
        data = schema[config.part]
        labels = {name: column for name, column in data.tables[data.primary].items() if column.label}
        where = f"part {config.part}, table {data.primary}"
        if config.label not in labels:
            raise DataError(
                f"There are no labels '{config.label}'.", where=where, fix=did_you_mean(config.label, labels)
            )
        vocabulary = labels[config.label].vocabulary
        if vocabulary not in data.vocabularies:
            raise DataError(f"The classes of '{config.label}' have no names.", where=where)
        self.config, self.part, self.table = config, config.part, data.primary
        classes = data.vocabularies[vocabulary]
        self.names, self.outputs = [c.name for c in classes], len(classes)
        self.register_buffer("values", torch.tensor([c.value for c in classes]), persistent=False)
        columns = {
            "class": Column(dtype="int16", vocabulary=vocabulary, doc="most probable class"),
            "probability": Column(dtype="float32", doc="of that class"),
        }
        self.predictions = {
            "NAME": PartSchema(
                kind="NAME",
                primary=self.table,
                tables={self.table: columns},
                vocabularies={vocabulary: classes},
            )
        }
        width = d_in("points", self.part)
        self.network = nn.Sequential(
            nn.LayerNorm(width), linear(width, config.width), nn.GELU(), linear(config.width, len(classes))
        )

    values: torch.Tensor
    """``(C,)`` int64: what stands for each class in the data."""

    def forward(self, features: Features) -> Prediction:
        """Logits of each point, of features ``(N, D)``."""
        assert features.points is not None, "they are among the needs"
        return Prediction(self.network(features.points.x), features.points.offsets)

    def counts(self, batch: Batch) -> dict[str, int]:
        """Points whose class has a name."""
        return {"class": int((self.targets(batch).values >= 0).sum())}

    def loss(self, prediction: Prediction, batch: Batch) -> dict[str, torch.Tensor]:
        """Cross-entropy, summed over the points whose class has a name."""
        index = self.targets(batch).values
        sum_ = nn.functional.cross_entropy(prediction.logits.float(), index, ignore_index=-1, reduction="sum")
        return {"class": sum_}

    def targets(self, batch: Batch) -> Ragged:
        """``(N,)`` which of the classes each point is of; -1 of one without a name."""
        table = batch.labels[self.part][self.table]
        hit = table.columns[self.config.label].long()[:, None] == self.values
        return Ragged(hit.long().argmax(1).where(hit.any(1), -1), table.offsets)

    def from_outputs(self, outputs: Ragged) -> Prediction:
        """What another model says (`hepfm.api.Probed`)."""
        return Prediction(outputs.values, outputs.offsets)

    def predict(self, prediction: Prediction) -> dict[str, RaggedTables]:
        """The most probable class of each point, and its probability."""
        probability, index = prediction.logits.float().softmax(1).max(1)
        columns = {"class": self.values[index].to(torch.int16), "probability": probability}
        return {"NAME": {self.table: RaggedTable(columns, prediction.offsets)}}

    def statistics(
        self, predicted: Mapping[str, RaggedTables], batch: Batch
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Tables of true and predicted classes, ``(B, C, C)``."""
        values = self.values.cpu().numpy()
        truth = batch.labels[self.part][self.table].columns[self.config.label]
        found = predicted["NAME"][self.table]
        return {
            "confusion": confusion(
                _index(truth, values), _index(found.columns["class"], values), found.offsets, len(values)
            )
        }

    def figures(self, sums: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, float]:
        """Precision, recall and F1 of each class, and the mean of the latter."""
        return class_figures(sums["confusion"], self.names)


def _index(classes: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which of the values each class is, -1 for none."""
    hit = classes[:, None] == values
    return np.where(hit.any(1), hit.argmax(1), -1)
