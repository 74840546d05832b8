"""The task ``particles``: which points of an event are of one particle, what it is, and its energy.

Legend of shapes: N points, B events, P particles, A anchors of an event, D width, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, smooth_l1_loss

from hepfm.api import Batch, Column, Features, Need, PartSchema, RaggedTable, RaggedTables, Tokens
from hepfm.metrics.instances import instance_figures, instance_statistics, matches, overlaps
from hepfm.nn.init import linear
from hepfm.nn.ragged import event_index, offsets_of, segment_mean
from hepfm_tasks.anchors import anchors_of
from hepfm_tasks.grouping import grouped
from hepfm_tasks.instances import TRUTH, Learned, as_torch, learned_of, truth_tables
from hepfm_tasks.labels import classes_of, dtype_of, index_of, label_column, the_part
from hepfm_tasks.masks import MaskDecoder


class Prediction(NamedTuple):
    """What is known of the points.

    ``inside (N,)`` are logits of being of a particle.
    """

    points: Tokens
    tokens: Tokens
    inside: Tensor


class ParticlesConfig(BaseModel):
    """What a recipe may say of the head ``particles``."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    part: str = ""
    """The part whose points are grouped; empty where there is but one."""
    label: str = "group"
    """Column with the number of each point's particle in the part's primary table, negative for none."""
    properties: bool = True
    """Whether the class and the energy of particles are learned, too, from the table ``fragments``."""
    queries: int = Field(default=96, gt=0)
    """Anchors of an event at a time; and most instances of an event."""
    smallest: int = Field(default=3, gt=0)
    """Fewest points of an instance that is found; smaller ones go to those beside them."""
    width: int = Field(default=96, ge=32, multiple_of=8)
    """Width of points and queries."""
    layers: int = Field(default=2, ge=0)
    """How often a query is refined by the event's tokens and by what its mask covers."""


class Particles(nn.Module):
    """Groups points to particles: each one is the mask of a query, made of one of its points.

    What trains a query is known from the point that it is made of, its anchor: the particle that this is of.
    So queries need not be matched to particles first, which takes long to settle.

    Args:
        config: What is learned, and how large.
        schema: Part name to schema, with the labels.
        d_in: Width of the features of a need and a part.

    Raises:
        DataError: The part or its labels are missing.
    """

    Config: ClassVar[type[BaseModel]] = ParticlesConfig
    needs: ClassVar[tuple[Need, ...]] = ("points", "tokens")

    def __init__(
        self, config: ParticlesConfig, *, schema: Mapping[str, PartSchema], d_in: Callable[[Need, str], int]
    ) -> None:
        super().__init__()
        self.config = config
        self.part = part = the_part(config.part, schema)
        data, width = schema[part], config.width
        self.table = data.primary
        label_column(data, self.table, config.label, part=part)
        particle = {
            "instance": Column(dtype="int32", doc="number in the event"),
            "n_points": Column(dtype="int32", doc="points of the instance"),
            "score": Column(dtype="float32", doc="mean probability of its points"),
        }
        self.weights: dict[str, float] = {"mask": 1.0, "dice": 1.0, "inside": 1.0}
        self.names: list[str] = []
        vocabularies = {}
        if config.properties:
            columns = {name: label_column(data, "fragments", name, part=part) for name in TRUTH}
            column = columns["pid"]
            classes = classes_of(data, column, where=f"part {part}, table fragments, column pid")
            classes = tuple(each for each in classes if each.value >= 0)
            vocabularies = {column.vocabulary: classes}
            self.names, self.pid_dtype = [each.name for each in classes], dtype_of(column)
            self.register_buffer("values", torch.tensor([each.value for each in classes]), persistent=False)
            particle |= {
                "pid": Column(dtype=column.dtype, vocabulary=column.vocabulary, doc="most probable class"),
                "probability": Column(dtype="float32", shape=(len(classes),), doc="of each class"),
                "energy_mev": Column(dtype="float32", unit="MeV", doc="kinetic energy"),
            }
            self.weights |= {"pid": 0.3, "energy": 0.3}
            self.properties = nn.Sequential(
                nn.LayerNorm(width + 1), linear(width + 1, width), nn.GELU(), linear(width, len(classes) + 1)
            )
        point = {
            "instance": Column(dtype="int32", doc="number of the particle in the event, -1 for none"),
            "score": Column(dtype="float32", doc="probability that the point is of it; of none, for none"),
        }
        self.predictions = {
            part: PartSchema(
                kind=data.kind,
                primary=self.table,
                tables={self.table: point, "particles": particle},
                vocabularies=vocabularies,
            )
        }
        n_in = d_in("points", part)
        self.norm = nn.LayerNorm(n_in)
        self.enter = nn.Sequential(linear(n_in, width), nn.GELU(), linear(width, width))
        self.inside = linear(width, 1)
        self.decoder = MaskDecoder(width, config.layers, d_in("tokens", part))

    values: Tensor
    """``(C,)`` int64: what stands for each class in the data."""

    def forward(self, features: Features) -> Prediction:
        """What is known of each point; the masks follow when anchors are chosen."""
        assert features.points is not None
        assert features.tokens is not None
        points = self.enter(self.norm(features.points.x)).float()
        inside = self.inside(points).float()[:, 0]
        return Prediction(replace(features.points, x=points), features.tokens, inside)

    def counts(self, batch: Batch) -> dict[str, int]:
        """Anchors (as many as points of particles, but no more than queries), points, and particles."""
        learned = self._learned(batch.labels[self.part])
        instances, events = learned.instances, len(batch)
        inside = torch.bincount(instances.event, instances.size, minlength=events)
        anchors = int(inside.clamp(max=self.config.queries).sum())
        counts = {"mask": anchors, "dice": anchors, "inside": len(instances.of_point)}
        if self.config.properties:
            counts |= {
                "pid": int((learned.pid >= 0).sum()),
                "energy": int(learned.log_energy.isfinite().sum()),
            }
        return counts

    def loss(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Sums of each term.

        ``mask``: cross-entropy of an anchor's mask, averaged over the event's points; ``dice``: one minus the
        overlap of the mask and its particle (Milletari et al. 2016); both averaged over the layers.
        ``inside``: cross-entropy of being of a particle. ``pid`` and ``energy``: cross-entropy, and smooth
        absolute error of the logarithm.
        """
        learned = self._learned(batch.labels[self.part])
        of_point = learned.instances.of_point
        points = prediction.points
        zero = points.x.sum() * 0 + sum(p.sum() * 0 for p in self.decoder.parameters())
        sums = {"mask": zero, "dice": zero}
        rows = list(_events(points.offsets))
        anchors = [anchors_of(points.positions[r], of_point[r], self.config.queries) for r in rows]
        offsets = offsets_of(points.offsets.new_tensor([len(each) for each in anchors]))
        chosen = [each + r.start for each, r in zip(anchors, rows, strict=True)]
        layers = self.decoder(points, prediction.tokens, torch.cat([offsets[:0], *chosen]), offsets)
        for event, (r, mine) in enumerate(zip(rows, chosen, strict=True)):
            truth = (of_point[mine, None] == of_point[r]).float()
            for logits in (layer[event] for layer in layers):
                mask = binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(1).sum()
                probability = logits.sigmoid()
                overlap = 2 * (probability * truth).sum(1) / (probability.sum(1) + truth.sum(1))
                sums["mask"] = sums["mask"] + mask / len(layers)
                sums["dice"] = sums["dice"] + (1 - overlap).sum() / len(layers)
        sums["inside"] = binary_cross_entropy_with_logits(
            prediction.inside, (of_point >= 0).float(), reduction="sum"
        )
        if self.config.properties:
            made = self._properties(points.x, of_point, len(learned.pid))
            sums["pid"] = cross_entropy(made[:, :-1], learned.pid, ignore_index=-1, reduction="sum")
            known = learned.log_energy.isfinite()
            sums["energy"] = smooth_l1_loss(made[known, -1], learned.log_energy[known], reduction="sum")
        return sums

    def predict(self, prediction: Prediction) -> dict[str, RaggedTables]:
        """The particle of each point, and the particles."""
        points = prediction.points
        found = grouped(
            points,
            prediction.tokens,
            prediction.inside > 0,
            self.decoder,
            queries=self.config.queries,
            smallest=self.config.smallest,
        )
        counts = [int(each.max()) + 1 if len(each) else 0 for each, _ in found]
        instance = torch.cat([points.offsets[:0], *(each for each, _ in found)])
        surety = torch.cat([prediction.inside[:0], *(each for _, each in found)])
        table = {
            "instance": instance.int(),
            "score": torch.where(instance >= 0, surety, (-prediction.inside).sigmoid()),
        }
        offsets = offsets_of(points.offsets.new_tensor(counts))
        particles = self._particles(prediction, instance, surety, offsets)
        return {
            self.part: {
                self.table: RaggedTable(table, points.offsets),
                "particles": RaggedTable(particles, offsets),
            }
        }

    def truth(self, batch: Batch) -> dict[str, RaggedTables]:
        """The true particle of each point, and the true particles (`hepfm.api.Answered`)."""
        labels = batch.labels[self.part]
        points, particles = truth_tables(
            self._learned(as_torch(labels)), labels[self.table][self.config.label], self._values_or_none()
        )
        return {self.part: {self.table: points, "particles": particles}}

    def statistics(
        self, predicted: Mapping[str, RaggedTables], batch: Batch
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Of `hepfm.metrics.instances`; and ``energy (B, 3)``.

        The latter: matched particles, sums of the relative errors of their energies and of these squared.
        """
        points, particles = predicted[self.part][self.table], predicted[self.part]["particles"]
        labels = batch.labels[self.part]
        truth, found = labels[self.table].columns[self.config.label], points.columns["instance"]
        if not self.config.properties:
            return instance_statistics(truth, found, points.offsets)
        learned = self._learned(as_torch(labels))
        n_true = np.bincount(learned.instances.event.numpy(), minlength=len(points))
        true = RaggedTable(
            {"pid": learned.pid.numpy(), "energy_mev": learned.log_energy.double().exp().numpy()},
            np.concatenate(([0], n_true.cumsum())),
        )
        values = self.values.cpu().numpy()
        called = [index_of(particles["pid"][event].astype(np.int64), values) for event in range(len(points))]
        pids = [(true["pid"][event], each) for event, each in enumerate(called)]
        statistics = instance_statistics(truth, found, points.offsets, pids, len(values))
        errors = np.zeros((len(points), 3))
        for event, rows in enumerate(_events(points.offsets)):
            row, column, _ = matches(overlaps(truth[rows], found[rows])[0])
            error = particles["energy_mev"][event][column] / true["energy_mev"][event][row] - 1
            error = error[np.isfinite(error)]
            errors[event] = len(error), error.sum(), (error**2).sum()
        return {**statistics, "energy": errors}

    def figures(self, sums: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, float]:
        """Of `hepfm.metrics.instances.instance_figures`, and of the energies.

        ``energy_bias`` and ``energy_rms`` are those of the relative errors of matched particles.
        """
        figures = instance_figures(sums, self.names)
        if self.config.properties and (count := sums["energy"][0]):
            bias, square = sums["energy"][1:] / count
            figures |= {"energy_bias": float(bias), "energy_rms": float(square**0.5)}
        return figures

    def _learned(self, labels: RaggedTables) -> Learned:
        return learned_of(labels, self.table, self.config.label, self._values_or_none())

    def _values_or_none(self) -> Tensor | None:
        return self.values if self.config.properties else None

    def _properties(self, points: Tensor, instance: Tensor, count: int) -> Tensor:
        """``(P, C + 1)`` logits of classes and the logarithm of the energy, of each one's points."""
        inside = instance >= 0
        order = instance[inside].argsort(stable=True)
        size = torch.bincount(instance[inside], minlength=count)
        mean = segment_mean(points[inside][order].float(), offsets_of(size))
        joined = torch.cat((mean, size[:, None].float().clamp(min=1).log()), 1)
        made: Tensor = self.properties(joined).float()
        return made

    def _particles(
        self, prediction: Prediction, instance: Tensor, surety: Tensor, offsets: Tensor
    ) -> dict[str, Tensor]:
        points, count = prediction.points, int(offsets[-1])
        inside = instance >= 0
        whole = torch.where(inside, instance + offsets[:-1][event_index(points.offsets)], -1)
        size = torch.bincount(whole[inside], minlength=count)
        total = surety.new_zeros(count).index_add_(0, whole[inside], surety[inside])
        number = torch.arange(count, device=instance.device) - offsets[:-1][event_index(offsets)]
        columns = {"instance": number.int(), "n_points": size.int(), "score": total / size}
        if self.config.properties:
            made = self._properties(points.x, whole, count)
            probability = made[:, :-1].softmax(1)
            columns |= {
                "pid": self.values[probability.argmax(1)].to(self.pid_dtype),
                "probability": probability,
                "energy_mev": made[:, -1].clamp(max=20.0).exp(),
            }
        return columns


def _events(offsets: Any) -> Iterator[slice]:
    return (slice(first, last) for first, last in pairwise(offsets.tolist()))
