"""The task ``semantic``: which class each point of an event is of.

Legend of shapes: N points, B events, C classes, D width of the features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from hepfm.api import Batch, Column, Features, Need, PartSchema, Ragged, RaggedTable, RaggedTables
from hepfm.metrics.classes import class_figures, confusion
from hepfm.nn.init import linear
from hepfm_tasks.labels import classes_of, index_of, label_column, the_part


class Prediction(NamedTuple):
    """Logits ``(N, C)`` of the points, and the events' offsets ``(B+1,)``."""

    logits: torch.Tensor
    offsets: torch.Tensor


class SemanticConfig(BaseModel):
    """What a recipe may say of the head ``semantic``."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    part: str = ""
    """The part whose points are classified; empty where there is but one."""
    label: str = "semantic"
    """Column of classes in the part's primary table. Points of values without a name are left out."""
    width: int = Field(default=128, ge=0)
    """Width of the hidden layer; 0 for a linear head."""


class Semantic(nn.Module):
    """A small network on each point's features (`hepfm.api.Head`).

    Args:
        config: What is to be told apart.
        schema: Part name to schema, with the labels.
        d_in: Width of the features of a need and a part.

    Raises:
        DataError: The part or its labels are missing, or the labels have no vocabulary.
    """

    Config: ClassVar[type[BaseModel]] = SemanticConfig
    needs: ClassVar[tuple[Need, ...]] = ("points",)
    weights: ClassVar[Mapping[str, float]] = {"class": 1.0}
    answers: Literal["classes", "values"] = "classes"

    def __init__(
        self, config: SemanticConfig, *, schema: Mapping[str, PartSchema], d_in: Callable[[Need, str], int]
    ) -> None:
        super().__init__()
        self.config = config
        self.part = part = the_part(config.part, schema)
        data = schema[part]
        self.table = data.primary
        column = label_column(data, self.table, config.label, part=part)
        classes = classes_of(data, column, where=f"part {part}, table {self.table}, column {config.label}")
        self.names, self.outputs = [each.name for each in classes], len(classes)
        self.register_buffer("values", torch.tensor([each.value for each in classes]), persistent=False)
        columns = {
            config.label: Column(dtype="int16", vocabulary=column.vocabulary, doc="most probable class"),
            "probability": Column(dtype="float32", shape=(len(classes),), doc="of each class"),
        }
        self.predictions = {
            part: PartSchema(
                kind=data.kind,
                primary=self.table,
                tables={self.table: columns},
                vocabularies={column.vocabulary: classes},
            )
        }
        width = d_in("points", part)
        hidden = [linear(width, config.width), nn.GELU()] if config.width else []
        self.network = nn.Sequential(
            nn.LayerNorm(width), *hidden, linear(config.width or width, len(classes))
        )

    values: torch.Tensor
    """``(C,)`` int64: what stands for each class in the data."""

    def forward(self, features: Features) -> Prediction:
        """Logits of each point, of features ``(N, D)``."""
        assert features.points is not None
        return Prediction(self.network(features.points.x), features.points.offsets)

    def counts(self, batch: Batch) -> dict[str, int]:
        """Points whose class has a name."""
        return {"class": int((self.targets(batch).values >= 0).sum())}

    def loss(self, prediction: Prediction, batch: Batch) -> dict[str, torch.Tensor]:
        """Cross-entropy, summed over the points whose class has a name."""
        index = self.targets(batch).values
        logits = prediction.logits.float()
        return {"class": nn.functional.cross_entropy(logits, index, ignore_index=-1, reduction="sum")}

    def predict(self, prediction: Prediction) -> dict[str, RaggedTables]:
        """The most probable class of each point, and the probability of each class."""
        probability = prediction.logits.float().softmax(1)
        label = self.values[probability.argmax(1)].to(torch.int16)
        columns = {self.config.label: label, "probability": probability}
        return {self.part: {self.table: RaggedTable(columns, prediction.offsets)}}

    def targets(self, batch: Batch) -> Ragged:
        """``(N,)`` which of the classes each point is of (`hepfm.api.Probed`)."""
        table = batch.labels[self.part][self.table]
        return Ragged(index_of(table.columns[self.config.label].long(), self.values), table.offsets)

    def from_outputs(self, outputs: Ragged) -> Prediction:
        """What another model says of the points (`hepfm.api.Probed`)."""
        return Prediction(outputs.values, outputs.offsets)

    def statistics(
        self, predicted: Mapping[str, RaggedTables], batch: Batch
    ) -> dict[str, np.ndarray[Any, Any]]:
        """``confusion (B, C, C)``: true and predicted classes."""
        values = self.values.cpu().numpy()
        truth = batch.labels[self.part][self.table].columns[self.config.label]
        found = predicted[self.part][self.table]
        call = index_of(found.columns[self.config.label], values)
        return {"confusion": confusion(index_of(truth, values), call, found.offsets, len(values))}

    def figures(self, sums: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, float]:
        """Precision, recall and F1 of each class, and the mean of the latter."""
        return class_figures(sums["confusion"], self.names)
