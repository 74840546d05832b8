"""Which light belongs to which charge? One side of an event is looked for by the other, among several events.

Candidates are successive events, as in training. An event's encodings do not depend on them.

Legend of shapes: B events, K of a group that have both sides, W width of what is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hepfm.api import Units, Weighed
from hepfm.data.batches import batches
from hepfm.data.source import Source
from hepfm.evaluation.predict import inputs
from hepfm.objectives.contrastive import Contrastive
from hepfm.training.pretrained import Pretrained

Array = np.ndarray[Any, Any]
_METHODS = ("", "total_")
"""Before a figure's name: of the model, and of how much there is on either side."""


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Events as they are compared.

    Attributes:
        encoded: Of either side ``(B, W)``, of length 1.
        both: ``(B,)`` bool: the event has both sides.
        amount: ``(B, 2)`` how much there is on either side; None where a kind cannot say.
    """

    encoded: tuple[Array, Array]
    both: Array
    amount: Array | None


@torch.inference_mode()
def sides_of(model: Pretrained, source: Source, progress: Callable[[int], None] = lambda _: None) -> Sides:
    """Both sides of all events of a source, in order, in float32 whatever the training had."""
    objective: Contrastive = model.module.objective
    encoded: tuple[list[Array], list[Array]] = ([], [])
    both, amounts = [], []
    for batch in batches(source, labels=False):
        units = inputs(model, batch)
        for side, into in enumerate(encoded):
            into.append(objective.embedded(model.encoder, units, side).cpu().numpy())
        both.append(objective.both(units).cpu().numpy())
        amounts.append(_amounts(objective, units))
        progress(len(batch))
    known = [each for each in amounts if each is not None]
    return Sides(
        encoded=(np.concatenate(encoded[0]), np.concatenate(encoded[1])),
        both=np.concatenate(both),
        amount=np.concatenate(known) if len(known) == len(amounts) else None,
    )


def found_of(
    model: Pretrained,
    source: Source,
    progress: Callable[[int], None] = lambda _: None,
    *,
    candidates: int,
) -> dict[str, Array]:
    """What is found of all events of a source: statistics of `figures`, of each event.

    ``events (B, 3)``: whether it has both sides, and another such event in its group; of how many one is
    found there; and one over that. ``found (B, 2, 2)``: of either direction, whether the right one was most
    alike, and one over its rank. ``total_found``: the same for the line between the logarithms of how much
    there is on either side, where the kinds say that. It is fitted to these events, which favours it, by two
    numbers.

    Args:
        model: Of the objective ``contrastive``.
        source: Events.
        progress: Told of the number of events after each piece.
        candidates: Events of a group.
    """
    sides = sides_of(model, source, progress)
    rows = np.flatnonzero(sides.both)
    line = None if sides.amount is None else line_of(sides.amount, rows)
    found = {"events": np.zeros((len(sides.both), 3)), "found": np.zeros((len(sides.both), 2, 2))}
    if line is not None:
        found["total_found"] = np.zeros_like(found["found"])
    for group in np.split(rows, np.flatnonzero(np.diff(rows // candidates)) + 1):
        if len(group) < 2:
            continue
        found["events"][group] = 1, len(group), 1 / len(group)
        first, second = (each[group] for each in sides.encoded)
        found["found"][group] = ranks(first @ second.T)
        if line is not None:
            away = line[group]
            found["total_found"][group] = ranks(-np.abs(away[:, :1] - away[:, 1]))
    return found


def line_of(amount: Array, rows: Array) -> Array | None:
    """``(B, 2)``: the logarithm of the second side's amount as the first's tells it, and as it is.

    An amount that is not positive (noise may outweigh what there is) is none to fit to, and counts as the
    least one that is.

    Args:
        amount: ``(B, 2)``.
        rows: Of the events that have both sides.

    Returns:
        None where fewer than three events, or only alike ones, are left to fit to.
    """
    positive = (amount > 0) & np.isfinite(amount)
    known = rows[positive[rows].all(1)]
    if len(known) < 3 or not np.ptp(amount[known, 0]):
        return None
    least = np.where(positive, amount, np.inf).min(0)
    first, second = np.log(np.where(positive, amount, least)).T
    slope, offset = np.polyfit(first[known], second[known], 1)
    return np.stack((slope * first + offset, second), 1)


def ranks(scores: Array) -> Array:
    """``(K, 2, 2)``: of either direction, whether the right one scores highest, and one over its rank.

    Args:
        scores: ``(K, K)``: how well the second side of each event (column) fits the first of each (row). As
            much as the right one is better than it: where all are alike, none is found.
    """
    own = scores.diagonal()
    rank = np.stack(((scores >= own[:, None]).sum(1), (scores >= own).sum(0)), 1)
    return np.stack((rank == 1, 1 / rank), 2)


def names_of(objective: Contrastive) -> tuple[str, ...]:
    """Of the directions: what is given."""
    return tuple("from_" + "_".join(side) for side in objective.sides)


def figures(directions: Sequence[str], sums: Mapping[str, Array]) -> dict[str, float]:
    """Share found (``top1``) and mean of one over the rank (``mrr``), of both directions and of each.

    ``total_top1`` and ``total_mrr`` are those of how much there is on either side; ``candidates`` says among
    how many events one is found on average, and ``chance`` what share guessing finds.
    """
    events, candidates, guessed = sums["events"]
    if not events:
        return {}
    found = {}
    for method in _METHODS:
        if f"{method}found" not in sums:
            continue
        top1, mrr = (sums[f"{method}found"] / events).T
        for name, values in (("top1", top1), ("mrr", mrr)):
            found[f"{method}{name}"] = float(values.mean())
            if not method:
                found |= {f"{name}/{way}": float(v) for way, v in zip(directions, values, strict=True)}
    return found | {"chance": float(guessed / events), "candidates": float(candidates / events)}


def _amounts(objective: Contrastive, units: Mapping[str, Units]) -> Array | None:
    """``(B, 2)``; None unless each side is one part, of a kind that can say how much there is."""
    amounts = []
    for side in objective.sides:
        modality = objective.modalities[side[0]]
        if len(side) > 1 or not isinstance(modality, Weighed):
            return None
        amounts.append(modality.amount(units[side[0]]).double().cpu().numpy())
    return np.stack(amounts, 1)
