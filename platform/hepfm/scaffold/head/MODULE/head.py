"""The task NAME: which class of a vocabulary each point of an event belongs to, a voxel for instance.

Legend of shapes: N points, C classes, D width of the features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from hepfm.api import Batch, Column, PartSchema, Ragged, RaggedTable, RaggedTables
from hepfm.errors import DataError, did_you_mean
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
        d_in: Width of the features, D.

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

    needs = "points"

    def __init__(self, config: Config, *, schema: Mapping[str, PartSchema], d_in: int) -> None:
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
        self.network = nn.Sequential(
            nn.LayerNorm(d_in), linear(d_in, config.width), nn.GELU(), linear(config.width, len(classes))
        )

    values: torch.Tensor
    """``(C,)`` int64: what stands for each class in the data."""

    def forward(self, features: Ragged) -> Prediction:
        """Logits of each point, of features ``(N, D)``."""
        return Prediction(self.network(features.values), features.offsets)

    def loss(self, prediction: Prediction, batch: Batch) -> dict[str, tuple[torch.Tensor, int]]:
        """Cross-entropy, summed over the points whose class has a name."""
        truth = batch.labels[self.part][self.table].columns[self.config.label].long()
        hit = truth[:, None] == self.values
        known = hit.any(1)
        logits, index = prediction.logits.float()[known], hit[known].long().argmax(1)
        sum_ = nn.functional.cross_entropy(logits, index, reduction="sum")
        return {"class": (sum_, len(index))}

    def predict(self, prediction: Prediction) -> dict[str, RaggedTables]:
        """The most probable class of each point, and its probability."""
        probability, index = prediction.logits.float().softmax(1).max(1)
        columns = {"class": self.values[index].to(torch.int16), "probability": probability}
        return {"NAME": {self.table: RaggedTable(columns, prediction.offsets)}}
