"""A frozen encoder, asked for the features of what a head needs, beside the head's targets.

Legend of shapes: B events, N rows, D width of the features, C classes, K values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from hepfm.api import Batch, Modality, Probed, Ragged
from hepfm.data.batches import batches
from hepfm.data.source import Source
from hepfm.errors import DataError, RecipeError
from hepfm.nn.encoder import Encoder
from hepfm.objectives.task import Task, TaskConfig
from hepfm.objectives.units import units_as_they_are
from hepfm.random import Draws
from hepfm.recipe.schema import Component
from hepfm.training.pretrained import Pretrained

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Split:
    """Labelled events of a source, and which of them: ``(B,)`` indices, ascending."""

    source: Source
    indices: Array

    def ids(self) -> Array:
        """``(B,)`` uint64."""
        return self.source.event_ids()[self.indices]

    def place(self, row: int) -> str:
        """Where an event is, for messages."""
        return self.source.place(int(self.indices[row]))

    @property
    def places(self) -> str:
        """Where its events are, for messages."""
        further = len(self.indices) - 1
        return self.place(0) + (f", and {further} further events" if further else "")


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """An encoder that is read and never changed, and the head that says what of.

    Attributes:
        encoder: In evaluation.
        task: Has the head, made for the labels of the data.
        layers: That are read side by side.
    """

    encoder: Encoder
    task: Task
    layers: tuple[int, ...]

    @property
    def head(self) -> Any:
        """That is `Probed`."""
        return self.task.head

    @property
    def device(self) -> torch.device:
        """Where the encoder is. Head and batches are on the CPU."""
        return self.encoder.part_embedding.weight.device

    @property
    def answers(self) -> Literal["classes", "values"]:
        """What the head's targets are."""
        answers: Literal["classes", "values"] = self.head.answers
        return answers

    @property
    def names(self) -> list[str]:
        """Of the classes or values, as far as the head says them; else their numbers."""
        return list(getattr(self.head, "names", None) or map(str, range(self.head.outputs)))

    @torch.no_grad()
    def features(self, batch: Batch) -> Ragged:
        """``(N, D)`` float32 on the CPU, of a batch there: a row for each target.

        Raises:
            DataError: One is NaN or infinite; names the event's id.
        """
        need, part = self.head.needs[0], self.head.part
        units = units_as_they_are(batch, self.task.modalities, self.device)
        made = self.encoder.features(units, needs=(need,), part=part, layers=self.layers)
        if need == "pooled":
            rows = Ragged(made.pooled, torch.arange(len(batch) + 1))
        else:
            tokens = made.points if need == "points" else made.tokens
            assert tokens is not None
            rows = Ragged(tokens.x, tokens.offsets)
        rows = Ragged(rows.values.cpu(), rows.offsets.cpu())
        if not bool(torch.isfinite(rows.values).all()):
            row = int((~torch.isfinite(rows.values)).any(1).nonzero()[0])
            event = int(torch.searchsorted(rows.offsets, row, right=True)) - 1
            raise DataError(
                "The model's features of an event are NaN or infinite.",
                where=f"event id {int(batch.event_ids[event]) & 0xFFFFFFFFFFFFFFFF:#018x}",
                fix="look at the event with hepfm data inspect; if it is as others, training went wrong: "
                "look at train/loss and grad_norm, or take an earlier checkpoint (--step)",
            )
        return rows


def freeze(
    model: Pretrained,
    head: Mapping[str, Any],
    modalities: Mapping[str, Modality],
    *,
    layers: Sequence[int] = (),
    encoder: Encoder | None = None,
) -> Frozen:
    """A model's encoder, for a head on these data.

    Args:
        model: Of a checkpoint.
        head: ``name`` of the head, and its options.
        modalities: Of the labelled data, see `Source`.
        layers: Layers that are read side by side, from 1; by default `read_out`.
        encoder: By default the model's; another one of the same recipe, with initial weights.

    Raises:
        DataError: The data has no such labels.
        PluginError: There is no such head.
        RecipeError: It refuses its options or cannot be probed, or there is no such layer.
    """
    encoder = model.encoder if encoder is None else encoder
    n_layers = int(encoder.backbone.n_layers)
    chosen = tuple(layers) or read_out(n_layers)
    if wrong := [layer for layer in chosen if not 1 <= layer <= n_layers]:
        raise RecipeError(
            f"There is no layer {wrong[0]}.", where="--layers", fix=f"the model has layers 1 to {n_layers}"
        )
    task = task_on(encoder, head, modalities, layers=chosen)
    if not isinstance(task.head, Probed):
        raise RecipeError(
            f"The task '{head['name']}' cannot be probed: its answer is not one for each row.",
            fix="hepfm finetune learns it; hepfm plugin list shows the heads",
        )
    return Frozen(encoder=encoder, task=task, layers=chosen)


def task_on(
    encoder: Encoder,
    head: Mapping[str, Any],
    modalities: Mapping[str, Modality],
    *,
    layers: Sequence[int] = (),
) -> Task:
    """A head on these data, with initial weights; arguments and errors as of `freeze`, of whatever head."""
    config = TaskConfig(head=Component(**head), layers=list(layers))
    return Task(config, modalities=modalities, d_model=encoder.d_model).eval()


def read_out(n_layers: int) -> tuple[int, ...]:
    """Three layers spread over the backbone: the second, one halfway to the last, the last."""
    second = min(2, n_layers)
    return tuple(sorted({second, (second + n_layers + 1) // 2, n_layers}))


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Features ``x (N, D)`` float32, and targets ``y``: ``(N,)`` int64, or ``(N, K)`` float32."""

    x: Array
    y: Array


def sample(
    frozen: Frozen, split: Split, *, rows: int, per_class: int | None = None, seed: int, purpose: str
) -> Rows:
    """Rows with known targets, drawn among those of all events; of few, all.

    A row has a number that its event's id, its place, seed and purpose decide; those of the lowest numbers
    are taken. So memory is bounded by what is asked for, and 9 bytes for each row that there is.

    Args:
        frozen: Encoder and head.
        split: Events.
        rows: At most so many.
        per_class: At most so many of each class.
        seed: Another seed draws others.
        purpose: So do other purposes.
    """
    keep = drawn_rows(frozen, split, rows=rows, per_class=per_class, seed=seed, purpose=purpose)
    x: list[Array] = []
    y: list[Array] = []
    first = 0
    for batch in batches(split.source, indices=split.indices.tolist()):
        targets = frozen.head.targets(batch).values
        mask = torch.from_numpy(keep[first : first + len(targets)])
        first += len(targets)
        if bool(mask.any()):
            x.append(frozen.features(batch).values[mask].numpy())
            y.append(targets[mask].numpy())
    return Rows(x=np.concatenate(x), y=np.concatenate(y))


def drawn_rows(
    frozen: Frozen, split: Split, *, rows: int, per_class: int | None, seed: int, purpose: str
) -> Array:
    """``(N,)`` bool over the rows of all events in order: which ones `sample` takes.

    Raises:
        DataError: No row has a known target.
    """
    numbers, targets = [np.empty(0)], [np.empty(0, np.int64)]
    for batch, known in labels_of(frozen, split):
        draws = Draws(seed=seed, epoch=purpose, event_ids=batch.event_ids.numpy())
        numbers.append(draws.per_item("row", known.offsets.numpy()))
        values = known.values.numpy()
        found = values if values.ndim == 1 else np.where(np.isfinite(values).all(1), 0, -1)
        targets.append(found.astype(np.int16))
    number, target = np.concatenate(numbers), np.concatenate(targets)
    order = np.argsort(number, kind="stable")
    order = order[target[order] >= 0]
    if not len(order):
        raise DataError(
            "No row has a label that is known.",
            where=split.places,
            fix="name labelled events, or the labels' column with --set",
        )
    if per_class is not None:
        each = [order[target[order] == c][:per_class] for c in np.unique(target[order])]
        order = np.concatenate(each)
        order = order[np.argsort(number[order], kind="stable")]
    keep = np.zeros(len(target), bool)
    keep[order[:rows]] = True
    return keep


def labels_of(frozen: Frozen, split: Split) -> Iterator[tuple[Batch, Ragged]]:
    """Torch batches of a split's events, and their targets."""
    for batch in batches(split.source, indices=split.indices.tolist()):
        yield batch, frozen.head.targets(batch)
