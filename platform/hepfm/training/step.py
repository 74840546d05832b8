"""One optimiser step over the micro-batches of a global batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from hepfm.api import Plan
from hepfm.training.engine import Engine


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What a step did, the same on all ranks.

    Attributes:
        taken: False where a loss or gradient was not finite, on whichever rank, or where nothing was to be
            predicted; then nothing changed.
        loss: Sum over terms of weight * sum / count, over the global batch.
        terms: Of each term that had predictions, sum / count.
        grad_norm: Before clipping; not finite for a step that was not taken.
        tokens: That the backbone encoded, of all ranks.
        asked_to_stop: Whether any rank asked for it.
        saving: Whether any rank still writes a checkpoint.
    """

    taken: bool
    loss: float
    terms: Mapping[str, float]
    grad_norm: float
    tokens: int
    asked_to_stop: bool
    saving: bool


def train_step(
    engine: Engine,
    plans: Sequence[Plan],
    weights: Mapping[str, float],
    *,
    learning_rate: float,
    stop: bool = False,
    saving: bool = False,
) -> StepResult:
    """Forward and backward of this rank's micro-batches, and the step. All ranks call it, with as many plans.

    The engine averages gradients over ranks; the loss of a micro-batch is therefore
    ``sum over terms of weight * sum / global count * ranks``, and its gradient that of the global batch.

    Args:
        engine: Drives a module ``(plan, scales) -> (loss, sums)``.
        plans: Of this rank's micro-batches; also those without events take part.
        weights: Loss term to its weight.
        learning_rate: Of this step.
        stop: Whether this rank asks to stop after the step.
        saving: Whether this rank still writes a checkpoint.
    """
    ranks, terms = engine.ranks, list(weights)
    local = [sum(plan.counts.get(term, 0) for plan in plans) for term in terms]
    *counts, stops, savings = ranks.sum([*local, stop, saving])
    if not any(counts):
        return StepResult(
            taken=False,
            loss=math.nan,
            terms={},
            grad_norm=0.0,
            tokens=0,
            asked_to_stop=stops > 0,
            saving=savings > 0,
        )
    scales = {
        term: weights[term] * ranks.world / count if count else 0.0
        for term, count in zip(terms, counts, strict=True)
    }
    before = engine.module.tokens
    sums: list[list[torch.Tensor]] = [[] for _ in terms]
    for i, plan in enumerate(plans):
        loss, parts = engine.forward(plan, scales, last=i == len(plans) - 1)
        engine.backward(loss)
        for values, term in zip(sums, terms, strict=True):
            values.append(parts[term])
    taken, grad_norm = engine.step(learning_rate)
    local_sums = [float(sum(values)) for values in sums]
    *totals, tokens = ranks.sum([*local_sums, engine.module.tokens - before])
    means = {term: total / count for term, total, count in zip(terms, totals, counts, strict=True) if count}
    return StepResult(
        taken=taken,
        loss=sum(weights[term] * mean for term, mean in means.items()),
        terms=means,
        grad_norm=grad_norm,
        tokens=int(tokens),
        asked_to_stop=stops > 0,
        saving=savings > 0,
    )
