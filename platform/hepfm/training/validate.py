"""Validation: the loss over all validation events, with masks that never change."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch

from hepfm.api import Batch, Plan, Watched
from hepfm.data.tensors import to_device
from hepfm.random import Draws
from hepfm.training.model import PretrainModule
from hepfm.training.ranks import Ranks


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Losses over all validation events, the same on all ranks.

    Attributes:
        loss: Sum over terms of weight * sum / count; NaN where nothing was predicted that has a weight.
        terms: Of each term that had predictions, sum / count.
        baseline: The loss with the training set's marginals as prediction: what learning nothing gets. None
            where the objective has no such baseline.
        figures: What the objective says besides (`hepfm.api.Watched`).
    """

    loss: float
    terms: Mapping[str, float]
    baseline: float | None
    figures: Mapping[str, float] = field(default_factory=dict)


def validation_plan(module: PretrainModule, batch: Batch, seed: int, device: torch.device) -> Plan:
    """The plan of validation events: not augmented, and the same in every validation."""
    batch = to_device(batch, device)
    draws = Draws(seed=seed, epoch="validation", event_ids=batch.event_ids)
    plan: Plan = module.objective.plan(batch, draws, augment=False)
    return plan


@torch.no_grad()
def validate(module: PretrainModule, batches: Iterable[Batch], seed: int, ranks: Ranks) -> Validation:
    """Validates. All ranks call this, with as many batches each.

    Args:
        module: Model and objective.
        batches: This rank's share of the validation events.
        seed: The run's.
        ranks: The processes that train together.
    """
    weights: Mapping[str, float] = module.objective.weights
    counts, sums, baselines = (dict.fromkeys(weights, 0.0) for _ in range(3))
    without = False
    encoded = module.tokens
    watched = module.objective if isinstance(module.objective, Watched) else None
    for buffer in watched.watched() if watched else ():
        buffer.zero_()
    module.eval()
    for batch in batches:
        ranks.arrive()
        plan = validation_plan(module, batch, seed, ranks.device)
        _, parts = module(plan, dict.fromkeys(weights, 1.0))
        baseline = module.objective.baseline(plan)
        without |= not baseline
        for term in weights:
            counts[term] += plan.counts.get(term, 0)
            sums[term] += float(parts[term])
            baselines[term] += float(baseline.get(term, 0.0))
    module.train()
    module.tokens = encoded  # throughput is that of training
    if watched:
        ranks.add_up(watched.watched())
    total = ranks.sum([*counts.values(), *sums.values(), *baselines.values()])
    n = len(weights)
    means = [
        (term, total[n + i] / total[i], total[2 * n + i] / total[i])
        for i, term in enumerate(weights)
        if total[i]
    ]
    taught = any(weights[term] for term, _, _ in means)  # else there is no loss: 0 would be the best of all
    baseline_loss = sum(weights[term] * mean for term, _, mean in means) if taught else math.nan
    return Validation(
        loss=sum(weights[term] * mean for term, mean, _ in means) if taught else math.nan,
        terms={term: mean for term, mean, _ in means},
        baseline=None if without else baseline_loss,
        figures=watched.figures() if watched else {},
    )
