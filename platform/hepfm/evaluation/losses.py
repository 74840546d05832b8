"""What a pretraining objective says of each event by itself: its loss terms, and what learning nothing gets.

Each event is computed alone, so its numbers do not depend on the others. Several masks of an event are copies
of it in one batch, whose sums are those over the masks.

Legend of shapes: B events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hepfm.api import Batch, Comparing
from hepfm.data.batches import batches
from hepfm.data.source import Source
from hepfm.data.tensors import to_numpy, to_torch
from hepfm.metrics.bootstrap import Figures
from hepfm.objectives.masked import Masked
from hepfm.objectives.task import Task
from hepfm.random import stable_id
from hepfm.readers.pack import take
from hepfm.training.pretrained import Pretrained
from hepfm.training.validate import validation_plan

Array = np.ndarray[Any, Any]
_WHOLE = "loss"
COMPLETION = "completion/"
"""Before a part's name: statistics of what is filled in of it."""


def by_event(model: Pretrained) -> bool:
    """Whether an event has a loss by itself: not where it is compared with others, or where labels teach."""
    return not isinstance(model.module.objective, Task | Comparing)


@torch.inference_mode()
def losses(model: Pretrained, batch: Batch, *, masks: int = 1) -> dict[str, Array]:
    """Of each event, sums over the predictions of what is hidden, in float32 whatever the training had.

    Args:
        model: Of a pretraining (`by_event`).
        batch: Torch events on the CPU, cut as the model's parts ask.
        masks: How often each event is masked. The first time as in the run's validation, further ones as
            events with other ids would be: always the same, wherever the event is.

    Returns:
        Term to ``(B, 3)`` float64: sum of the loss, the same for a prediction that learned nothing (NaN
        where the objective knows none), and number of predictions. Of the objective ``masked`` also
        ``completion/PART`` to ``(B, F)``, see `hepfm.api.Completing`.
    """
    module = model.module
    objective, seed = module.objective, model.recipe.seed
    device = next(module.parameters()).device
    events = to_numpy(batch)
    rows: dict[str, list[Any]] = {}
    for index, event_id in enumerate(events.event_ids.view(np.uint64).tolist()):
        ids = [event_id, *(stable_id(event_id, "mask", k) for k in range(1, masks))]
        copies = replace(take(events, [index] * masks), event_ids=np.array(ids, np.uint64).view(np.int64))
        plan = validation_plan(module, to_torch(copies), seed, device)
        if isinstance(objective, Masked):
            sums, completed = objective.completed(module.encoder, plan)
        else:
            sums, completed = objective(module.encoder, plan), {}
        nothing = objective.baseline(plan)
        for term in objective.weights:
            values = float(sums[term]), float(nothing.get(term, np.nan)), plan.counts.get(term, 0)
            rows.setdefault(term, []).append(values)
        for part, each in completed.items():
            rows.setdefault(COMPLETION + part, []).append(each.cpu().numpy())
    return {name: np.array(values, np.float64) for name, values in rows.items()}


def mean_loss(weights: Mapping[str, float], found: Mapping[str, Array]) -> Array:
    """``(B,)``: weighted sum of the terms' means of each event; NaN where none with a weight was predicted.

    Args:
        weights: The objective's.
        found: Of `losses`.
    """
    counts = predictions(weights, found)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.stack([weight * found[term][:, 0] / found[term][:, 2] for term, weight in weights.items()])
    loss: Array = np.where(counts > 0, means, 0).sum(0)
    return np.where((counts > 0).any(0), loss, np.nan)


def predictions(weights: Mapping[str, float], found: Mapping[str, Array]) -> Array:
    """``(L, B)``: how much of each event is predicted, for each of the L terms; 0 for one without weight."""
    return np.stack([found[term][:, 2] * bool(weight) for term, weight in weights.items()])


def losses_of(
    model: Pretrained, source: Source, progress: Callable[[int], None] = lambda _: None
) -> dict[str, Array]:
    """`losses` of all events of a source, in order, masked as in validation."""
    parts: dict[str, list[Array]] = {}
    for batch in batches(source, labels=False):
        for term, values in losses(model, batch).items():
            parts.setdefault(term, []).append(values)
        progress(len(batch))
    return {term: np.concatenate(values) for term, values in parts.items()}


def figures_of(model: Pretrained) -> Figures:
    """Makes figures of the summed `losses`.

    ``loss`` is the validation's, where anything with a weight was predicted; ``loss/TERM`` a term's mean over
    all predictions, ``nothing/TERM`` that of a prediction which learned nothing, and ``explained/TERM`` what
    share of it was taken away by learning. Others, as ``recall/PART``, are the decoders' own.
    """
    objective = model.module.objective
    weights: Mapping[str, float] = objective.weights
    completing = objective.completing() if isinstance(objective, Masked) else {}

    def figures(sums: Mapping[str, Array]) -> dict[str, float]:
        found: dict[str, float] = {}
        means = {term: sums[term][:2] / sums[term][2] for term in weights if sums[term][2]}
        if not means:
            return found
        taught = [weights[term] * mean for term, mean in means.items() if weights[term]]
        whole = {_WHOLE: sum(taught)} if taught else {}
        for name, (own, nothing) in (whole | means).items():
            of = "" if name == _WHOLE else f"/{name.replace('/', '.')}"
            found[f"loss{of}"] = float(own)
            if np.isfinite(nothing):
                found[f"nothing{of}"] = float(nothing)
                if nothing > 0:
                    found[f"explained{of}"] = float(1 - own / nothing)
        for part, decoder in completing.items():
            of_part = decoder.figures(sums[COMPLETION + part])
            found |= {f"{name}/{part}": value for name, value in of_part.items()}
        return found

    return figures
