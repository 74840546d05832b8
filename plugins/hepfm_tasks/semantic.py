"""The task ``semantic``: which class each point of an event is of.

Legend of shapes: N points, B events, C classes, D width of the features, E bins of what figures are told
against.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from hepfm.api import Batch, Column, Features, Need, PartSchema, Ragged, RaggedTable, RaggedTables
from hepfm.display.panels import Panel
from hepfm.display.plots import confusion_panel, reliability_panel
from hepfm.metrics.calibration import expected_calibration_error, reliability
from hepfm.metrics.classes import class_figures, confusion
from hepfm.metrics.residuals import in_bins
from hepfm.nn.ragged import segment_sum
from hepfm_tasks.against import Edges, named
from hepfm_tasks.balance import ClassWeights
from hepfm_tasks.labels import classes_of, dtype_of, index_of, label_column, the_part
from hepfm_tasks.lovasz import lovasz_softmax
from hepfm_tasks.network import mlp
from hepfm_tasks.point_values import PointValues


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
    balance: float = Field(default=0.0, ge=0, le=1)
    """How far rare classes weigh more in the loss: 0 all points alike, 1 all classes alike."""
    lovasz: float = Field(default=0.0, ge=0)
    """Weight of the Lovasz softmax, which goes with the overlap of each class in each event, beside the
    cross-entropy."""
    against: dict[str, Edges] = Field(default={})
    """Columns to edges of bins in which the macro F1 is told, too: of the points, of their fragments, or
    ``vertex_mm``, the distance to the nearest vertex."""


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
        self.weights: Mapping[str, float] = {
            "class": 1.0,
            **({"lovasz": config.lovasz} if config.lovasz else {}),
        }
        self.point_values = PointValues(part, data, config.against)
        self.balance = ClassWeights(len(classes), config.balance)
        self.names, self.outputs = [each.name for each in classes], len(classes)
        self.dtype = dtype_of(column)
        self.register_buffer("values", torch.tensor([each.value for each in classes]), persistent=False)
        columns = {
            config.label: Column(dtype=column.dtype, vocabulary=column.vocabulary, doc="most probable class"),
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
        self.network = mlp(d_in("points", part), config.width, len(classes))

    values: torch.Tensor
    """``(C,)`` int64: what stands for each class in the data."""

    def forward(self, features: Features) -> Prediction:
        """Logits of each point, of features ``(N, D)``."""
        assert features.points is not None
        return Prediction(self.network(features.points.x), features.points.offsets)

    def observe(self, batch: Batch) -> None:
        """Counts the classes (`hepfm.api.Observing`)."""
        self.balance.observe(self.targets(batch).values)

    def observed(self) -> list[torch.Tensor]:
        """Points of each class."""
        return self.balance.observed()

    def counts(self, batch: Batch) -> dict[str, int]:
        """Points whose class has a name, and events with such points."""
        target = self.targets(batch)
        known = target.values >= 0
        counts = {"class": int(known.sum())}
        if self.config.lovasz:
            counts["lovasz"] = int((segment_sum(known.long(), target.offsets) > 0).sum())
        return counts

    def loss(self, prediction: Prediction, batch: Batch) -> dict[str, torch.Tensor]:
        """Cross-entropy, summed over the points whose class has a name, and what else is asked for."""
        target = self.targets(batch)
        logits = prediction.logits.float()
        sums = {"class": self.balance.cross_entropy(logits, target.values)}
        if self.config.lovasz:
            sums["lovasz"] = lovasz_softmax(logits.softmax(1), target.values, target.offsets)
        return sums

    def predict(self, prediction: Prediction) -> dict[str, RaggedTables]:
        """The most probable class of each point, and the probability of each class."""
        probability = prediction.logits.float().softmax(1)
        label = self.values[probability.argmax(1)].to(self.dtype)
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
        """``confusion (B, C, C)``, in bins ``(B, E, C, C)``, and ``reliability (B, 3, H)``."""
        values = self.values.cpu().numpy()
        truth = index_of(batch.labels[self.part][self.table].columns[self.config.label], values)
        found = predicted[self.part][self.table]
        call = index_of(found.columns[self.config.label], values)
        events = len(found.offsets) - 1
        event = np.repeat(np.arange(events), np.diff(found.offsets))
        statistics = {
            "confusion": confusion(truth, call, found.offsets, self.outputs),
            "reliability": reliability(found.columns["probability"], truth, event, events),
        }
        for name, edges in self.config.against.items():
            bin_ = in_bins(self.point_values.of(batch, name), np.asarray(edges))
            statistics[f"confusion/{name}"] = np.stack(
                [
                    confusion(np.where(bin_ == k, truth, -1), call, found.offsets, self.outputs)
                    for k in range(len(edges) - 1)
                ],
                1,
            )
        return statistics

    def figures(self, sums: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, float]:
        """Those of `class_figures`, the calibration's error, and F1 in bins: ``macro_f1/COLUMN/LOW-HIGH``."""
        figures = class_figures(sums["confusion"], self.names)
        error = expected_calibration_error(sums["reliability"])
        figures |= {} if error is None else {"calibration_error": error}
        for name, edges in self.config.against.items():
            for where, table in zip(named(name, edges), sums[f"confusion/{name}"], strict=True):
                told = class_figures(table, self.names)
                figures |= {f"{figure}/{where}": value for figure, value in told.items() if "f1" in figure}
        return figures

    def plots(self, sums: Mapping[str, np.ndarray[Any, Any]]) -> list[Panel]:
        """True and predicted classes, and the calibration (`hepfm.api.Plotted`)."""
        return [confusion_panel(sums["confusion"], self.names), reliability_panel(sums["reliability"])]
