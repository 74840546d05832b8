# ruff: noqa: INP001
"""A recipe trained in this process, and what its last checkpoint says of events that it has not seen."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hepfm.api import Batch, Units
from hepfm.cli.launch import new_run
from hepfm.data.source import Source, open_source
from hepfm.data.tensors import to_torch
from hepfm.nn.ragged import segment_max, segment_mean
from hepfm.recipe.load import load_recipe
from hepfm.recipe.schema import Recipe
from hepfm.training.model import PretrainModule, build
from hepfm.training.request import TrainRequest
from hepfm.training.validate import validation_plan
from hepfm.training.weights import load_weights
from hepfm.training.worker import train

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A run that is done.

    Attributes:
        recipe: What was trained.
        module: The model with the weights of the last checkpoint, to be read only.
        untrained: The same model as it was before the first step: what learning adds is seen beside it.
        figures: Steps, losses, and the seconds that training took.
    """

    recipe: Recipe
    module: PretrainModule
    untrained: PretrainModule
    figures: Mapping[str, Any]

    def events(self, path: Path, *, at_once: int = 16) -> Iterator[Batch]:
        """Torch batches of the events of a store, in order, with labels."""
        source = self._open(path)
        for first in range(0, len(source), at_once):
            indices = np.arange(first, min(first + at_once, len(source)))
            yield to_torch(source.read(indices, labels=True))

    def units(self, batch: Batch) -> dict[str, Units]:
        """The units of all parts of a batch, none hidden."""
        modalities = self._modalities
        return {part: modality.units(batch.parts[part]) for part, modality in modalities.items()}

    @torch.no_grad()
    def pooled(self, path: Path, *, learned: bool = True) -> Array:
        """``(B, 3 D)`` float64: mean, spread and highest value of each event's frozen tokens.

        Args:
            path: The store.
            learned: Whether with the weights that were learned; else with those at the start.
        """
        encoder = (self.module if learned else self.untrained).encoder
        found = []
        for batch in self.events(path):
            encoded = encoder(self.units(batch))
            x, offsets = encoded.x.double(), encoded.offsets
            mean = segment_mean(x, offsets)
            spread = (segment_mean(x.square(), offsets) - mean.square()).clamp_min(0).sqrt()
            found.append(torch.cat((mean, spread, segment_max(x, offsets)), 1).numpy())
        return np.concatenate(found)

    @torch.no_grad()
    def terms(self, path: Path) -> dict[str, list[float]]:
        """Each term's mean over hidden units, and that of learning nothing, under validation's masks."""
        objective, device = self.module.objective, torch.device("cpu")
        sums: dict[str, Array] = {}
        for batch in self.events(path, at_once=256):
            plan = validation_plan(self.module, batch, self.recipe.seed, device)
            learned, nothing = objective(self.module.encoder, plan), objective.baseline(plan)
            for term, count in plan.counts.items():
                found = np.array([float(learned[term]), float(nothing[term]), count])
                sums[term] = sums.get(term, np.zeros(3)) + found
        return {
            term.partition("/")[2]: [round(float(value), 4) for value in found[:2] / found[2]]
            for term, found in sums.items()
            if found[2]
        }

    @property
    def _modalities(self) -> Mapping[str, Any]:
        modalities: Mapping[str, Any] = self.module.objective.modalities
        return modalities

    def _open(self, path: Path) -> Source:
        data = self.recipe.data
        return open_source(str(path), parts=data.parts, max_event_cost=data.max_event_cost)


def pretrain(
    name: str, train_on: Path, validate_on: Path, out: Path, overrides: Sequence[str] = ()
) -> Trained:
    """Trains a named recipe, in this process.

    Args:
        name: Of the recipe.
        train_on: Store of training events.
        validate_on: Store of events for the validation loss; nothing is chosen by it.
        out: Folder of the run.
        overrides: Further ``key=value``.
    """
    data = [f"data.train={train_on}", f"data.val={validate_on}"]
    here = ["cluster.launcher=in-process", "cluster.workers=1"]
    resolved = load_recipe(name, [*data, *here, *overrides])
    run = new_run(resolved, out)
    begun = time.process_time()
    train(TrainRequest(recipe=resolved.recipe.model_dump(mode="json"), run_dir=str(run.path)))
    told, used_s = run.json(), time.process_time() - begun
    recipe = resolved.recipe
    source = open_source(str(train_on), parts=recipe.data.parts, max_event_cost=recipe.data.max_event_cost)
    module, untrained = (build(recipe, source.modalities, "fp32").eval() for _ in range(2))
    load_weights(module, Path(told["checkpoint"]) / "model.safetensors")
    _observe(module, source, recipe)
    figures = {
        "recipe": name,
        "steps": told["steps"],
        "parameters": told["effective"]["parameters"],
        "training_events": told["effective"]["train_events"],
        "held_out_events": told["effective"]["val_events"],
        "validation_loss": round(float(told["val_loss"]), 4),
        "validation_loss_without_learning": round(float(told["val_loss_baseline"]), 4),
        "processor_minutes": round(used_s / 60, 2),
    }
    return Trained(recipe=recipe, module=module, untrained=untrained, figures=figures)


def _observe(module: PretrainModule, source: Source, recipe: Recipe) -> None:
    """Gives the objective what learning nothing knows: how training events are on average."""
    for first in range(0, min(len(source), recipe.train.marginal_events), 64):
        batch = to_torch(source.read(np.arange(first, min(first + 64, len(source)))))
        module.objective.observe(validation_plan(module, batch, recipe.seed, torch.device("cpu")))
