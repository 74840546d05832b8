"""Intervals of figures: events are drawn again, with replacement (Efron, Ann. Statist. 7 (1979) 1).

Rows of one event are no independent measurements; whole events are drawn.

Legend of shapes: B events, R draws, S runs, F figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Figures = Callable[[Mapping[str, Array]], Mapping[str, float]]


def intervals(
    statistics: Mapping[str, Array],
    figures: Figures,
    *,
    level: float = 0.68,
    draws: int = 1000,
    seed: int = 1,
) -> dict[str, tuple[float, float]]:
    """Figure to the ends of its central interval, of those that are defined for all events.

    Args:
        statistics: Name to ``(B, ...)``, which add up over events (`hepfm.api.Head.statistics`).
        figures: Of their sums.
        level: Probability that the interval covers; .68 is one standard deviation of a normal figure.
        draws: R.
        seed: Of the draws. The same events and seed give the same intervals.
    """
    found = redrawn(statistics, figures, draws=draws, seed=seed)
    return {name: ends(values, level) for name, values in found.items() if np.isfinite(values).any()}


def redrawn(
    statistics: Mapping[str, Array], figures: Figures, *, draws: int = 1000, seed: int = 1
) -> dict[str, Array]:
    """Figure to its values ``(R,)`` in draws of events; arguments as of `intervals`.

    NaN where a draw does not define it. The same draws of as many events take the same ones, so that the
    difference of two models' values is that of a paired comparison.
    """
    names = list(figures(sums(statistics)))
    found = {name: np.full(draws, np.nan) for name in names}
    for draw, drawn in enumerate(resampled(statistics, draws=draws, seed=seed) if names else ()):
        values = figures(drawn)
        for name in names:
            found[name][draw] = values.get(name, np.nan)
    return found


def ends(values: Array, level: float = 0.68) -> tuple[float, float]:
    """Ends of the central interval of draws ``(R,)``, without those for which a figure was not defined."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


def means_redrawn(
    runs: Sequence[Mapping[str, Array]], figures: Figures, *, draws: int = 1000, seed: int = 1
) -> dict[str, Array]:
    """Figure to ``(R,)``: its mean over runs, events and runs drawn again each time.

    The runs (seeds of one training) were tested on the same events, so each draw of events is used for all of
    them; those of two calls with as many runs and events are the same, so their difference is paired.

    Args:
        runs: Of each, name to ``(B, ...)`` as of `intervals`; one run is not drawn again.
        figures: Of the sums of a run.
        draws: R.
        seed: Of the draws.
    """
    names = [name for name in figures(sums(runs[0])) if all(name in figures(sums(run)) for run in runs)]
    values_SRF = np.full((len(runs), draws, len(names)), np.nan)
    for run, statistics in enumerate(runs):
        for draw, drawn in enumerate(resampled(statistics, draws=draws, seed=seed)):
            found = figures(drawn)
            values_SRF[run, draw] = [found.get(name, np.nan) for name in names]
    which_RS = np.random.default_rng([seed, 1]).integers(0, len(runs), (draws, len(runs)))
    mean_RF = values_SRF[which_RS, np.arange(draws)[:, None]].mean(1)
    return {name: mean_RF[:, column] for column, name in enumerate(names)}


def sums(statistics: Mapping[str, Array]) -> dict[str, Array]:
    """Statistics ``(B, ...)`` summed over events."""
    return {name: values.sum(0) for name, values in statistics.items()}


def resampled(statistics: Mapping[str, Array], *, draws: int, seed: int) -> list[dict[str, Array]]:
    """R times the sums over as many events as there are, drawn with replacement."""
    events = len(next(iter(statistics.values())))
    rng = np.random.default_rng(seed)
    # How often each event is drawn, so that one product of matrices makes all sums.
    times_RB = rng.multinomial(events, np.full(events, 1 / events), size=draws).astype(np.float64)
    of_draw = {
        name: (times_RB @ values.reshape(events, -1)).reshape(draws, *values.shape[1:])
        for name, values in statistics.items()
    }
    return [{name: values[draw] for name, values in of_draw.items()} for draw in range(draws)]
