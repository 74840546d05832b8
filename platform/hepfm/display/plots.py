"""Plots of how well a task is done, from summed statistics: what heads describe and `hepfm evaluate` draws.

Legend of shapes: C classes, H bins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hepfm.display.panels import Axis, Line, Lines, Matrix

Array = np.ndarray[Any, Any]

_SIGMAS = 4.0
_BINS = 60
"""Of a histogram: how far it is drawn on both sides of the median, and in how many bins."""
_WIDE = 20.0
"""Last edge over first, from which on an axis is logarithmic."""
_NUMBER = r"-?(?:inf|\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
_IN_BIN = re.compile(rf"(?P<figure>.+)/(?P<column>[^/]+)/(?P<low>{_NUMBER})-(?P<high>{_NUMBER})")
_UNITS = {
    unit.lower(): unit for unit in ("keV", "MeV", "GeV", "TeV", "mm", "cm", "m", "ns", "us", "ms", "rad")
}
_ENDS = 0.15865525393145707, 0.5, 0.8413447460685429
"""Quantiles: one standard deviation below the median of a normal distribution, it, and one above."""


def axis_named(name: str) -> Axis:
    """The axis of a column or figure whose name ends with its unit: ``momentum_gev``, ``vertex_mm``."""
    stem, _, end = name.rpartition("_")
    if stem and end in _UNITS:
        return Axis(stem.replace("_", " "), _UNITS[end])
    return Axis(name.replace("_", " "))


def confusion_panel(
    table: Array, names: Sequence[str], *, title: str = "true and predicted classes"
) -> Matrix:
    """Counts ``(C, C)`` by true (first) and predicted class."""
    return Matrix(
        title=title,
        counts=table,
        rows=names,
        columns=names,
        x=Axis("predicted class"),
        y=Axis("true class"),
    )


def roc_panel(curves: Mapping[str, tuple[Array, Array]], *, title: str = "ROC") -> Lines:
    """What passes a falling threshold: of each class, shares of background and of signal.

    Args:
        curves: Name to background and signal that pass, as of `hepfm.metrics.ranking.roc`.
        title: Of the panel.
    """
    lines = [Line(name, background, signal) for name, (background, signal) in curves.items()]
    lines.append(Line("chance", np.array([0.0, 1.0]), np.array([0.0, 1.0]), look="reference"))
    return Lines(
        title=title,
        lines=lines,
        x=Axis("background that passes"),
        y=Axis("signal that passes"),
        x_range=(-0.02, 1.02),
        y_range=(-0.02, 1.02),
    )


def reliability_panel(sums: Array, *, title: str = "calibration") -> Lines:
    """How often what is predicted is right, against the predicted probability.

    Args:
        sums: ``(3, H)`` as of `hepfm.metrics.calibration.reliability`: rows, confidences, how many are right.
        title: Of the panel.
    """
    rows, confidence, right = sums[:, sums[0] > 0]
    return Lines(
        title=title,
        lines=[
            Line("right", confidence / rows, right / rows, look="points"),
            Line("share of the predictions", confidence / rows, rows / max(rows.sum(), 1.0)),
            Line("as often as predicted", np.array([0.0, 1.0]), np.array([0.0, 1.0]), look="reference"),
        ],
        x=Axis("predicted probability of the most probable class"),
        y=Axis("share"),
        x_range=(-0.02, 1.02),
        y_range=(-0.02, 1.02),
    )


def histogram_panel(counts: Array, edges: Array, x: Axis, *, title: str, normal: bool = False) -> Lines:
    """The central part of a histogram, median and resolution in its title.

    Args:
        counts: ``(H + 2,)`` as of `hepfm.metrics.residuals.histogram`, with those beyond the edges.
        edges: ``(H + 1,)``.
        x: What is counted.
        title: Of the panel.
        normal: Whether a standard normal distribution is drawn beside it.
    """
    total = float(counts.sum())
    if not total:
        return Lines(title=title, lines=[], x=x, y=Axis("density"))
    below = np.concatenate(([0.0], np.cumsum(counts[1:-1]))) + counts[0]  # at each edge
    # What falls between two bins is told by the lower one, as of `hepfm.metrics.residuals.quantile`.
    low, middle, high = (float(np.interp(np.nextafter(q * total, 0), below, edges)) for q in _ENDS)
    half = _SIGMAS * max((high - low) / 2, 1e-9 * max(abs(middle), 1e-9))
    at = np.linspace(middle - half, middle + half, _BINS + 1)
    if normal:
        at = np.linspace(-_SIGMAS, _SIGMAS, _BINS + 1)
    density = np.diff(np.interp(at, edges, below)) / total / np.diff(at)
    lines = [Line("events", np.repeat(at, 2)[1:-1], np.repeat(density, 2))]
    if normal:
        curve = np.exp(-0.5 * at**2) / np.sqrt(2 * np.pi)
        lines.append(Line("normal distribution", at, curve, look="reference"))
    outside = 1.0 - float(np.interp(at[-1], edges, below) - np.interp(at[0], edges, below)) / total
    unit = f" {x.unit}" if x.unit else ""
    return Lines(
        title=f"{title}: median {middle:.3g}{unit}, resolution {(high - low) / 2:.3g}{unit}"
        + (f", {outside:.1%} outside" if outside > 5e-4 else ""),
        lines=lines,
        x=x,
        y=Axis("density", f"1/{x.unit}" if x.unit else ""),
    )


def within_panel(counts: Array, edges: Array, x: Axis, *, title: str) -> Lines:
    """Share of what is found within a distance, against the distance: median and containment by eye.

    Args:
        counts: ``(H + 2,)`` as of `hepfm.metrics.residuals.histogram`; those beyond the edges count as far.
        edges: ``(H + 1,)``, ascending from 0.
        x: The distance.
        title: Of the panel.
    """
    total = float(counts.sum())
    if not total:
        return Lines(title=title, lines=[], x=x, y=Axis("share"), log_x=True)
    share = (counts[0] + np.cumsum(counts[1:-1])) / total
    first, last = np.searchsorted(share, (1e-9, 0.9999)).tolist()
    shown = slice(max(first - 1, 0), min(last + 2, len(share)))
    at = edges[1:][shown]
    ends = np.array([at[0], at[-1]])
    lines = [Line("found within", at, share[shown])]
    lines += [Line(f"{q:.0%}", ends, np.array([q, q]), look="reference") for q in (0.5, 0.68)]
    return Lines(
        title=title, lines=lines, x=x, y=Axis("share of the events"), log_x=True, y_range=(-0.02, 1.02)
    )


def against_panels(figures: Mapping[str, Mapping[str, float]]) -> list[Lines]:
    """Figures against an energy or a distance, each at the middle of its bin, with their intervals.

    Args:
        figures: Name to ``value``, and ``low`` and ``high`` where there is an interval. Taken are those with
            a bin at the end of their name, ``FIGURE/COLUMN/LOW-HIGH``. Those of classes share a panel:
            ``f1/CLASS/COLUMN/LOW-HIGH``.
    """
    found: dict[tuple[str, str], dict[str, list[tuple[float, float, Mapping[str, float]]]]] = {}
    for name, figure in figures.items():
        if (match := _IN_BIN.fullmatch(name)) is None:
            continue
        what, _, of = match["figure"].partition("/")
        lines = found.setdefault((what, match["column"]), {})
        lines.setdefault(of, []).append((float(match["low"]), float(match["high"]), figure))
    return [_against(what, column, lines) for (what, column), lines in found.items()]


def _against(
    what: str, column: str, found: Mapping[str, Sequence[tuple[float, float, Mapping[str, float]]]]
) -> Lines:
    edges = sorted(
        {edge for bins in found.values() for *ends, _ in bins for edge in ends if np.isfinite(edge)}
    )
    log = bool(edges) and edges[0] > 0 and edges[-1] > _WIDE * edges[0]
    lines = []
    for name, unordered in found.items():
        bins = sorted(unordered, key=lambda each: each[0])
        at = np.array([_middle(low, high, log=log) for low, high, _ in bins])
        value, low, high = (
            np.array([figure.get(end, figure["value"]) for *_, figure in bins])
            for end in ("value", "low", "high")
        )
        banded = any("low" in figure for *_, figure in bins)
        lines.append(
            Line(name or what.replace("_", " "), at, value, (low, high) if banded else None, "points")
        )
    return Lines(
        title=f"{axis_named(what).label} against {axis_named(column).label}",
        lines=lines,
        x=axis_named(column),
        y=axis_named(what),
        log_x=log,
    )


def _middle(low: float, high: float, *, log: bool) -> float:
    """Of a bin; of one that is open, its only edge."""
    if not np.isfinite([low, high]).all():
        return low if np.isfinite(low) else high
    return float(np.sqrt(low * high)) if log else (low + high) / 2
