"""Figures of a model on events, with intervals by event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hepfm.data.batches import batches
from hepfm.data.source import Source
from hepfm.data.tensors import to_numpy
from hepfm.errors import DataError
from hepfm.evaluation.checks import task_of
from hepfm.evaluation.predict import predict
from hepfm.metrics.bootstrap import Figures, ends, redrawn, sums
from hepfm.training.pretrained import Pretrained

Array = np.ndarray[Any, Any]
UNLABELLED = (
    "No event has a label that the head knows, so there is nothing to compare.",
    "look at the labels with hepfm data inspect, and name labelled events",
)
"""What is said, and to be done, where a task has nothing to be judged by."""


@dataclass(frozen=True, kw_only=True)
class Judging:
    """How a model is judged.

    Attributes:
        name: The task's, or the objective's.
        labels: Whether it takes labels.
        statistics: Name to ``(B, ...)``, of a source's events in order; told whom to tell of progress.
        figures: Of their sums.
        nothing: What is to be said, and to be done, where no event counts.
    """

    name: str
    labels: bool = False
    statistics: Callable[[Source, Callable[[int], None]], dict[str, Array]]
    figures: Figures
    nothing: tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What came of an evaluation.

    Attributes:
        figures: Figure to its value.
        intervals: Figure to the ends of its interval; none where a single event counts.
        redrawn: Figure to its values ``(R,)`` in the draws, for paired comparisons with other models.
        statistics: Name to ``(B, ...)``, of which the figures are made.
        event_ids: ``(B,)`` uint64.
        counted: Events that any statistic is not zero for: the others have no target that counts.
    """

    figures: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    redrawn: Mapping[str, Array]
    statistics: Mapping[str, Array]
    event_ids: Array
    counted: int


def told(judged: Evaluated) -> dict[str, dict[str, float]]:
    """Figure to ``value``, and ``low`` and ``high`` where it has an interval."""
    found = {}
    for name, value in judged.figures.items():
        interval = judged.intervals.get(name)
        found[name] = {"value": value} | ({"low": interval[0], "high": interval[1]} if interval else {})
    return found


def evaluate(
    judging: Judging,
    source: Source,
    *,
    level: float = 0.68,
    draws: int = 1000,
    seed: int = 1,
    where: str = "",
    progress: Callable[[int], None] = lambda _: None,
) -> Evaluated:
    """Judges a model by events.

    Args:
        judging: How; see `hepfm.evaluation.judging`.
        source: Events, with labels where the judging asks for them (`hepfm.evaluation.checks.check_labels`).
        level: Probability that an interval covers.
        draws: Times that the events are drawn again for the intervals.
        seed: Of the draws.
        where: Where the events are from, for messages.
        progress: Told of the number of events after each piece.

    Raises:
        DataError: An event cannot be read, or none has anything that counts.
    """
    statistics = judging.statistics(source, progress)
    counts = _counted(statistics)
    figures = judging.figures(sums(statistics))
    if not counts.any() or not figures:
        raise DataError(judging.nothing[0], where=where, fix=judging.nothing[1])
    # Of one event, drawing again makes that event: no interval.
    several = int(counts.sum()) > 1
    drawn = {} if not several else redrawn(statistics, judging.figures, draws=draws, seed=seed)
    return Evaluated(
        figures=figures,
        intervals={name: ends(each, level) for name, each in drawn.items() if np.isfinite(each).any()},
        redrawn=drawn,
        statistics=statistics,
        event_ids=source.event_ids(),
        counted=int(counts.sum()),
    )


def _counted(statistics: Mapping[str, Array]) -> Array:
    """``(B,)`` bool: events that any statistic is not zero for."""
    counts = np.zeros(len(next(iter(statistics.values()))), bool)
    for values in statistics.values():
        counts |= np.nan_to_num(values.reshape(len(values), -1)).any(1)
    return counts


def statistics_of(
    model: Pretrained, source: Source, progress: Callable[[int], None] = lambda _: None
) -> dict[str, Array]:
    """The head's statistics ``(B, ...)`` of its predictions for all events of a source, in order."""
    head = task_of(model).head
    found: dict[str, list[Array]] = {}
    for batch in batches(source):
        predicted = predict(model, batch)
        for name, values in head.statistics(predicted, to_numpy(batch)).items():
            found.setdefault(name, []).append(values)
        progress(len(batch))
    return {name: np.concatenate(values) for name, values in found.items()}
