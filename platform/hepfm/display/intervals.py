"""Figures with their intervals as a picture: a point and a bar for each, on one axis."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hepfm.display.scene import PALETTE

_LINE_INCHES = 0.24


def write_intervals(
    figures: Mapping[str, Mapping[str, float]], path: Path, *, title: str, level: float
) -> None:
    """Draws figures one below the other, in their order; replaces the file at once.

    Args:
        figures: Name to ``value``, and ``low`` and ``high`` where there is an interval.
        path: The PNG file.
        title: Above the picture.
        level: Probability that an interval covers.
    """
    figure = Figure(figsize=(6.4, 1.2 + _LINE_INCHES * len(figures)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    rows = range(len(figures), 0, -1)
    for row, each in zip(rows, figures.values(), strict=True):
        axes.plot(
            (each.get("low", each["value"]), each.get("high", each["value"])), (row, row), color=PALETTE[0]
        )
        axes.plot(each["value"], row, "o", ms=4, color=PALETTE[0])
    axes.set_yticks(list(rows), list(figures))
    axes.set_xlabel(f"value, and interval of {level:.0%} by event")
    axes.grid(axis="x", color="0.85", lw=0.6)
    axes.set_axisbelow(True)
    axes.set_title(title)
    aside = path.with_name(f".{path.name}.{os.getpid()}.png")
    figure.savefig(aside)
    aside.replace(path)
