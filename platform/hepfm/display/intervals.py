"""Figures with their intervals as a picture: a point and a bar for each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hepfm.display.scene import PALETTE

_LINE_INCHES, _AXIS_INCHES = 0.24, 0.5
_LETTERS = 70


def write_intervals(
    figures: Mapping[str, Mapping[str, float]], path: Path, *, title: str, level: float
) -> None:
    """Draws figures one below the other, in their order; replaces the file at once.

    Those that are shares share an axis from 0 to 1; others, whose units differ, have each its own.

    Args:
        figures: Name to ``value``, and ``low`` and ``high`` where there is an interval.
        path: The PNG file.
        title: Above the picture.
        level: Probability that an interval covers.
    """
    shares = {
        name: each for name, each in figures.items() if 0 <= min(each.values()) <= max(each.values()) <= 1
    }
    groups = [shares] * bool(shares) + [{name: figures[name]} for name in figures if name not in shares]
    heights = [_AXIS_INCHES + _LINE_INCHES * len(group) for group in groups]
    canvas = Figure(figsize=(6.4, sum(heights) + 0.8), dpi=110, layout="constrained")
    FigureCanvasAgg(canvas)
    grid = canvas.add_gridspec(len(groups), 1, height_ratios=heights)
    for row, group in enumerate(groups):
        axes = canvas.add_subplot(grid[row, 0])
        _draw(axes, group)
        if group is shares:
            axes.set_xlim(-0.02, 1.02)
    canvas.supxlabel(f"value, and interval of {level:.0%} by event", fontsize="medium")
    canvas.suptitle(fill(title, _LETTERS), fontsize="medium")
    aside = path.with_name(f".{path.name}.{os.getpid()}.png")
    canvas.savefig(aside)
    aside.replace(path)


def _draw(axes: Axes, figures: Mapping[str, Mapping[str, float]]) -> None:
    rows = range(len(figures), 0, -1)
    for row, each in zip(rows, figures.values(), strict=True):
        ends = (each.get("low", each["value"]), each.get("high", each["value"]))
        axes.plot(ends, (row, row), color=PALETTE[1])
        axes.plot(each["value"], row, "o", ms=4, color=PALETTE[1])
    axes.set_yticks(list(rows), list(figures))
    axes.set_ylim(0.4, len(figures) + 0.6)
    axes.grid(axis="x", color="0.85", lw=0.6)
    axes.set_axisbelow(True)
