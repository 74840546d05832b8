"""The task ``event-class``: which class an event is of, e.g. its particle, interaction or jet.

Legend of shapes: B events, N rows of a table of labels, C classes, D width of the features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import nn

from hepfm.api import Batch, Column, Features, Need, PartSchema, Ragged, RaggedTable, RaggedTables
from hepfm.display.panels import Panel
from hepfm.display.plots import confusion_panel, reliability_panel, roc_panel
from hepfm.errors import DataError
from hepfm.metrics.calibration import expected_calibration_error, reliability
from hepfm.metrics.classes import class_figures, confusion
from hepfm.metrics.ranking import roc, roc_auc, score_histogram
from hepfm_tasks.balance import ClassWeights
from hepfm_tasks.labels import classes_of, dtype_of, index_of, label_column, the_part
from hepfm_tasks.network import mlp
from hepfm_tasks.rows import EVENT, Rows, RowsConfig, at, one_each


class EventClassConfig(RowsConfig):
    """What a recipe may say of the head ``event-class``."""

    label: str = "pid"
    """Column of classes. Rows of values without a name do not count."""
    width: int = Field(default=128, ge=0)
    """Width of the hidden layer; 0 for a linear head."""
    balance: float = Field(default=0.0, ge=0, le=1)
    """How far rare classes weigh more in the loss: 0 all events alike, 1 all classes alike."""


class EventClass(nn.Module):
    """A small network on each event's pooled tokens (`hepfm.api.Head`).

    Args:
        config: What is to be told apart.
        schema: Part name to schema, with the labels.
        d_in: Width of the features of a need and a part.

    Raises:
        DataError: Parts or labels are missing, or the labels have no vocabulary.
    """

    Config: ClassVar[type[BaseModel]] = EventClassConfig
    needs: ClassVar[tuple[Need, ...]] = ("pooled",)
    weights: ClassVar[Mapping[str, float]] = {"class": 1.0}
    answers: Literal["classes", "values"] = "classes"

    def __init__(
        self, config: EventClassConfig, *, schema: Mapping[str, PartSchema], d_in: Callable[[Need, str], int]
    ) -> None:
        super().__init__()
        self.config = config
        self.part = the_part(config.part, schema) if config.part else ""
        self.rows = rows = Rows(config, schema)
        column = label_column(rows.schema, rows.table, config.label, part=rows.part)
        where = f"part {rows.part}, table {rows.table}, column {config.label}"
        classes = [
            each
            for each in classes_of(rows.schema, column, where=where)
            if each.value in config.only.get(config.label, [each.value])
        ]
        if len(classes) < 2:
            raise DataError(
                f"There is nothing to tell apart: {len(classes)} classes are left.",
                where=f"{where}, objective.head.only",
                fix="leave more of them",
            )
        self.names, self.outputs = [each.name for each in classes], len(classes)
        self.dtype = dtype_of(column)
        self.register_buffer("values", torch.tensor([each.value for each in classes]), persistent=False)
        columns = {
            config.label: Column(dtype=column.dtype, vocabulary=column.vocabulary, doc="most probable class"),
            "probability": Column(dtype="float32", shape=(len(classes),), doc="of each class"),
        }
        self.predictions = {
            rows.part: PartSchema(
                kind=rows.schema.kind,
                primary=EVENT,
                tables={EVENT: columns},
                vocabularies={column.vocabulary: tuple(classes)},
            )
        }
        self.balance = ClassWeights(len(classes), config.balance)
        self.network = mlp(d_in("pooled", self.part), config.width, len(classes))

    values: torch.Tensor
    """``(C,)`` int64: what stands for each class in the data."""

    def forward(self, features: Features) -> torch.Tensor:
        """Logits ``(B, C)`` of pooled features ``(B, D)``."""
        assert features.pooled is not None
        logits: torch.Tensor = self.network(features.pooled)
        return logits

    def observe(self, batch: Batch) -> None:
        """Counts the classes (`hepfm.api.Observing`)."""
        self.balance.observe(self.targets(batch).values)

    def observed(self) -> list[torch.Tensor]:
        """Events of each class."""
        return self.balance.observed()

    def counts(self, batch: Batch) -> dict[str, int]:
        """Events whose class is known."""
        return {"class": int((self.targets(batch).values >= 0).sum())}

    def loss(self, prediction: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        """Cross-entropy, summed over the events whose class is known."""
        return {"class": self.balance.cross_entropy(prediction.float(), self.targets(batch).values)}

    def predict(self, prediction: torch.Tensor) -> dict[str, RaggedTables]:
        """The most probable class of each event, and the probability of each class."""
        probability = prediction.float().softmax(1)
        columns = {
            self.config.label: self.values[probability.argmax(1)].to(self.dtype),
            "probability": probability,
        }
        offsets = one_each(len(prediction), device=prediction.device)
        return {self.rows.part: {EVENT: RaggedTable(columns, offsets)}}

    def targets(self, batch: Batch) -> Ragged:
        """``(B,)`` which class each event is of, -1 where it is not known (`hepfm.api.Probed`)."""
        index = index_of(self.rows.values(batch, self.config.label), self.values)
        classes = at(index, self.rows.chosen(batch, index >= 0), otherwise=-1)
        return Ragged(classes, one_each(len(classes), device=classes.device))

    def from_outputs(self, outputs: Ragged) -> torch.Tensor:
        """What another model says of the events (`hepfm.api.Probed`)."""
        logits: torch.Tensor = outputs.values
        return logits

    def truth(self, batch: Batch) -> dict[str, RaggedTables]:
        """The class of each event; no row where it is not known (`hepfm.api.Answered`)."""
        index = self.targets(batch).values.numpy()
        known = index >= 0
        columns = {self.config.label: self.values.cpu().numpy()[index[known]]}
        return {self.rows.part: {EVENT: RaggedTable(columns, np.append(0, known.cumsum()))}}

    def statistics(
        self, predicted: Mapping[str, RaggedTables], batch: Batch
    ) -> dict[str, np.ndarray[Any, Any]]:
        """``confusion (B, C, C)``, ``scores (B, C, 2, H)`` for ROC curves, ``reliability (B, 3, H)``."""
        truth = self.targets(batch).values.numpy()
        table = predicted[self.rows.part][EVENT]
        probability = table.columns["probability"]
        event, events = np.arange(len(truth)), len(truth)
        return {
            "confusion": confusion(truth, probability.argmax(1), table.offsets, self.outputs),
            "scores": score_histogram(probability, truth, event, events),
            "reliability": reliability(probability, truth, event, events),
        }

    def figures(self, sums: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, float]:
        """Those of `class_figures`, the area under each class's ROC curve, and the calibration's error."""
        areas = {f"auc/{name}": roc_auc(each) for name, each in zip(self.names, sums["scores"], strict=True)}
        found = {**areas, "calibration_error": expected_calibration_error(sums["reliability"])}
        return {
            **class_figures(sums["confusion"], self.names),
            **{name: value for name, value in found.items() if value is not None},
        }

    def plots(self, sums: Mapping[str, np.ndarray[Any, Any]]) -> list[Panel]:
        """True and predicted classes, ROC curves of each against the rest, calibration."""
        curves = {
            name: roc(each)
            for name, each in zip(self.names, sums["scores"], strict=True)
            if each.sum(1).all()
        }
        return [
            confusion_panel(sums["confusion"], self.names),
            roc_panel(curves, title="each class against the others"),
            reliability_panel(sums["reliability"]),
        ]
