"""The task ``vertex``: where in the detector an event's interaction happened.

Each token says how likely it lies next to the vertex, and how far the vertex is from its middle. The most
likely token's word is the prediction: a mean over tokens would lie between two vertices, where there is none.

Legend of shapes: B events, T tokens, N rows of a table of labels, V true vertices, D width of the features,
H bins of distance, E bins of what figures are told against.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import nn

from hepfm.api import Batch, Column, Features, Need, PartSchema, Ragged, RaggedTable, RaggedTables
from hepfm.display.panels import Axis, Panel
from hepfm.display.plots import within_panel
from hepfm.errors import DataError
from hepfm.metrics.residuals import ONE_SIGMA, histogram, logarithmic, quantile
from hepfm.nn.ragged import event_index
from hepfm_tasks.against import Edges, binned, named
from hepfm_tasks.labels import label_column, the_part
from hepfm_tasks.network import mlp
from hepfm_tasks.rows import EVENT, Rows, RowsConfig, one_each

DISTANCES = logarithmic(1e-2, 1e5, per_decade=30)


class Prediction(NamedTuple):
    """What each token says.

    Attributes:
        logit: ``(T,)`` of lying next to a vertex.
        middle: ``(T, 3)`` mm, of the token.
        place: ``(T, 3)`` mm, of the vertex.
        offsets: ``(B+1,)``.
    """

    logit: torch.Tensor
    middle: torch.Tensor
    place: torch.Tensor
    offsets: torch.Tensor


class VertexConfig(RowsConfig):
    """What a recipe may say of the head ``vertex``."""

    label: str = "vertex"
    """Column of places in mm."""
    take: Literal["first", "largest", "all"] = "first"  # type: ignore[assignment]  # one more
    """The row that tells the event's vertex: the first that counts, or that with the largest ``by``; or all,
    and then any of them is right."""
    width: int = Field(default=128, ge=0)
    """Width of the hidden layer; 0 for a linear head."""
    against: dict[str, Edges] = Field(default={})
    """Columns of the table to edges of bins, in which figures are told, too."""


class Vertex(nn.Module):
    """A small network on each token's features (`hepfm.api.Head`).

    Args:
        config: Which vertex.
        schema: Part name to schema, with the labels.
        d_in: Width of the features of a need and a part.

    Raises:
        DataError: Part or labels are missing, or places have no unit, or the part's units none.
    """

    Config: ClassVar[type[BaseModel]] = VertexConfig
    needs: ClassVar[tuple[Need, ...]] = ("tokens",)
    weights: ClassVar[Mapping[str, float]] = {"token": 1.0, "distance": 1.0}

    def __init__(
        self, config: VertexConfig, *, schema: Mapping[str, PartSchema], d_in: Callable[[Need, str], int]
    ) -> None:
        super().__init__()
        self.config = config
        self.part = the_part(config.part, schema)
        self.rows = rows = Rows(
            config.model_copy(update={"label_part": config.label_part or self.part}), schema
        )
        column = label_column(rows.schema, rows.table, config.label, part=rows.part)
        where = f"part {rows.part}, table {rows.table}, column {config.label}"
        if column.shape != (3,) or column.unit != "mm":
            raise DataError(
                f"A vertex is three numbers in mm; found {list(column.shape)} in '{column.unit}'.",
                where=where,
                fix="convert the data again: stores written before vertices had a unit lack it",
            )
        for name in config.against:
            rows.column(name)
        self.primary = schema[self.part].primary
        about = schema[self.part].attributes
        if not {"unit_mm", "origin_mm", "grid", "voxel_mm"} <= set(about):
            raise DataError(
                "Nothing says where the part's tokens lie in the detector.",
                where=f"part {self.part}, attributes unit_mm, origin_mm, grid, voxel_mm",
                fix="read a part of a kind that has them, e.g. image3d, or give them in the reader's options",
            )
        self.unit_mm = float(about["unit_mm"])
        self.register_buffer("corner", torch.tensor(about["origin_mm"]).float(), persistent=False)
        half = 0.5 * float(about["voxel_mm"]) * torch.tensor(about["grid"]).float()
        self.register_buffer("centre", self.corner + half, persistent=False)
        columns = {
            config.label: Column(dtype="float32", shape=(3,), unit="mm", doc="of the most likely token"),
            "probability": Column(dtype="float32", doc="of that token to lie next to the vertex"),
        }
        self.predictions = {
            self.part: PartSchema(kind=schema[self.part].kind, primary=EVENT, tables={EVENT: columns})
        }
        self.network = mlp(d_in("tokens", self.part), config.width, 4)

    corner: torch.Tensor
    """``(3,)`` mm: of the grid."""
    centre: torch.Tensor
    """``(3,)`` mm: what is predicted of an event without tokens."""

    def forward(self, features: Features) -> Prediction:
        """What each token says, of features ``(T, D)``."""
        tokens = features.tokens
        assert tokens is not None
        out = self.network(tokens.x).float()
        middle = self.corner + self.unit_mm * (tokens.positions[:, :3].float() + 0.5)
        return Prediction(out[:, 0], middle, middle + self.unit_mm * out[:, 1:], tokens.offsets)

    def vertices(self, batch: Batch) -> tuple[Ragged, torch.Tensor]:
        """The true vertices of each event, ``(V, 3)`` mm, each one once; and the row ``(V,)`` of each.

        Events without a row of their part have none: they have no token that could say it.
        """
        values = self.rows.values(batch, self.config.label)
        known = values.isfinite().all(1)
        if self.config.take == "all":
            rows = self.rows.counting(batch, known).nonzero()[:, 0]
        else:
            rows = self.rows.chosen(batch, known)
            rows = rows[rows >= 0]
        event = event_index(self.rows.offsets(batch))[rows]
        seen = torch.as_tensor(batch.parts[self.part][self.primary].lengths)[event] > 0
        rows, event = rows[seen], event[seen]
        rows = rows[_firsts(torch.cat((event[:, None].double(), values[rows].double()), 1))]
        number = torch.bincount(event_index(self.rows.offsets(batch))[rows], minlength=len(batch))
        return Ragged(values[rows].float(), nn.functional.pad(number.cumsum(0), (1, 0))), rows

    def counts(self, batch: Batch) -> dict[str, int]:
        """Events with a true vertex, and true vertices."""
        true, _ = self.vertices(batch)
        return {"token": int((true.lengths > 0).sum()), "distance": len(true.values)}

    def loss(self, prediction: Prediction, batch: Batch) -> dict[str, torch.Tensor]:
        """What the tokens next to the vertices say.

        ``token``: negative logarithm of the probability that the softmax over an event's tokens gives to
        those next to its vertices. ``distance``: of each, how far its word is from the vertex, in units, by
        a loss that is linear from one unit on and quadratic below.
        """
        true, _ = self.vertices(batch)
        zero = prediction.logit.sum() * 0.0 + prediction.place.sum() * 0.0
        token, distance = [zero], [zero]
        for event in (true.lengths > 0).nonzero()[:, 0].tolist():
            mine = slice(int(prediction.offsets[event]), int(prediction.offsets[event + 1]))
            vertex, logit = true[event], prediction.logit[mine]
            nearest = (vertex[:, None] - prediction.middle[mine]).square().sum(2).argmin(1)
            token.append(logit.logsumexp(0) - logit[nearest.unique()].logsumexp(0))
            step = (prediction.place[mine][nearest] - vertex).norm(dim=1) / self.unit_mm
            distance.append(nn.functional.smooth_l1_loss(step, torch.zeros_like(step), reduction="sum"))
        return {"token": torch.stack(token).sum(), "distance": torch.stack(distance).sum()}

    def predict(self, prediction: Prediction) -> dict[str, RaggedTables]:
        """The vertex that the most likely token says; the detector's centre of an event without tokens."""
        events = len(prediction.offsets) - 1
        place = self.centre.repeat(events, 1)
        probability = self.centre.new_zeros(events)
        for event in (prediction.offsets.diff() > 0).nonzero()[:, 0].tolist():
            mine = slice(int(prediction.offsets[event]), int(prediction.offsets[event + 1]))
            best = prediction.logit[mine].argmax()
            place[event] = prediction.place[mine][best]
            probability[event] = prediction.logit[mine].softmax(0)[best]
        columns = {self.config.label: place, "probability": probability}
        return {self.part: {EVENT: RaggedTable(columns, one_each(events, device=place.device))}}

    def truth(self, batch: Batch) -> dict[str, RaggedTables]:
        """The true vertices, of which any is right (`hepfm.api.Answered`)."""
        true, _ = self.vertices(batch)
        columns = {self.config.label: true.values.numpy()}
        return {self.part: {EVENT: RaggedTable(columns, true.offsets.numpy())}}

    def statistics(
        self, predicted: Mapping[str, RaggedTables], batch: Batch
    ) -> dict[str, np.ndarray[Any, Any]]:
        """``distance (B, H + 2)``: from the predicted to the nearest true vertex, of events that have one."""
        true, rows = self.vertices(batch)
        places = predicted[self.part][EVENT].columns[self.config.label]
        events, row = len(batch), np.full(len(batch), -1)
        distance = np.full(events, np.nan)
        for event in np.flatnonzero(true.lengths.numpy()).tolist():
            apart = np.linalg.norm(true[event].numpy() - places[event], axis=1)
            distance[event] = apart.min()
            row[event] = rows[int(true.offsets[event]) + int(apart.argmin())]
        counts = histogram(distance, np.arange(events), events, DISTANCES)
        found = {"distance": counts}
        for name, edges in self.config.against.items():
            values = self.rows.values(batch, name).double().numpy()
            value = np.where(row >= 0, values[row] if len(values) else np.nan, np.nan)
            found[f"distance/{name}"] = binned(counts, value, edges)
        return found

    def figures(self, sums: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, float]:
        """``median_mm`` and ``contained68_mm``: within them half and 68 % are found; and so in bins."""
        found = _contained(sums["distance"])
        for name, edges in self.config.against.items():
            for where, counts in zip(named(name, edges), sums[f"distance/{name}"], strict=True):
                found |= {f"{figure}/{where}": value for figure, value in _contained(counts).items()}
        return found

    def plots(self, sums: Mapping[str, np.ndarray[Any, Any]]) -> list[Panel]:
        """Share of the events whose vertex is found within a distance (`hepfm.api.Plotted`)."""
        distance = Axis("distance to the nearest true vertex", "mm")
        return [within_panel(sums["distance"], DISTANCES, distance, title="vertices found")]


def _contained(counts: np.ndarray[Any, Any]) -> dict[str, float]:
    if not counts.sum():
        return {}
    return {
        "median_mm": quantile(counts, DISTANCES, 0.5),
        "contained68_mm": quantile(counts, DISTANCES, ONE_SIGMA),
    }


def _firsts(rows: torch.Tensor) -> torch.Tensor:
    """Indices, ascending, of the first of each group of equal rows ``(N, K)``."""
    if not len(rows):
        return torch.empty(0, dtype=torch.int64, device=rows.device)
    group: torch.Tensor = torch.unique(rows, dim=0, return_inverse=True)[1]
    order = group.argsort(stable=True)
    new = torch.ones_like(group, dtype=torch.bool)
    new[1:] = group[order][1:] != group[order][:-1]
    firsts: torch.Tensor = order[new].sort().values
    return firsts
