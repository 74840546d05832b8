"""What both renderers draw: layers of points with one legend entry each, a common box, common scales."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hepfm.display.panels import Panel

Array = np.ndarray[Any, Any]

PALETTE = ("#E69F00", "#0072B2", "#CC79A7", "#009E73", "#56B4E9", "#D55E00", "#F0E442")
"""Okabe and Ito's colours, safe for the colour-blind, for classes that bring none."""

GREY = "#999999"
_MOST_POINTS = 200_000


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Points that share a legend entry.

    Attributes:
        name: The entry; empty for none.
        xyz: ``(N, 3)``.
        colour: One colour for all; empty where each point has its own value.
        values: ``(N,)``.
    """

    name: str
    xyz: Array
    colour: str = ""
    values: Array | None = None


def layers(panel: Panel) -> list[Layer]:
    """The layers of a panel; of more than 200,000 points each n-th is drawn, and the legend says so."""
    step = -(-len(panel.xyz) // _MOST_POINTS) or 1
    note = f" (1 of {step} points)" if step > 1 else ""
    xyz = np.asarray(panel.xyz[::step], dtype=np.float32)
    if panel.classes is not None:
        classes = panel.classes[::step]
        return [
            Layer(name=name + note, xyz=xyz[classes == value], colour=colour)
            for value, name, colour in _classes(panel, classes)
        ]
    if panel.values is not None:
        values = np.asarray(panel.values[::step], dtype=np.float64)
        finite = np.isfinite(values)
        shown = [Layer(name=note.strip(), xyz=xyz[finite], values=values[finite])]
        if not finite.all():
            shown.append(Layer(name=f"{panel.value_label} not finite", xyz=xyz[~finite], colour=GREY))
        return shown
    return [Layer(name=note.strip(), xyz=xyz, colour=PALETTE[1])]


def box(panels: Sequence[Panel]) -> tuple[Array, Array]:
    """The corners ``(3,)`` of one box around all panels' points, nowhere thinner than 5 % of its length."""
    occupied = [np.asarray(panel.xyz, dtype=np.float64) for panel in panels if len(panel.xyz)]
    points = (
        np.concatenate([each[np.isfinite(each).all(1)] for each in occupied])
        if occupied
        else np.zeros((0, 3))
    )
    if not len(points):
        return -np.ones(3), np.ones(3)
    low, high = points.min(0), points.max(0)
    centre, half = (low + high) / 2, (high - low) / 2
    half = np.maximum(half, max(0.05 * half.max(), 0.5)) * 1.02
    return centre - half, centre + half


def scale(panel: Panel, panels: Sequence[Panel]) -> tuple[float, float]:
    """The least and greatest value of the panels that show what this one shows; positive if logarithmic."""
    same = [
        p
        for p in panels
        if (p.value_label, p.value_unit, p.log) == (panel.value_label, panel.value_unit, panel.log)
    ]
    values = np.concatenate([np.asarray(p.values, dtype=np.float64) for p in same if p.values is not None])
    values = values[np.isfinite(values) & ((values > 0) | (not panel.log))]
    if not len(values):
        return 0.1, 1.0
    low, high = float(values.min()), float(values.max())
    if low < high:
        return low, high
    return (low / 2, low * 2) if panel.log else (low - 0.5, low + 0.5)


def value_title(panel: Panel) -> str:
    """The title of a colour bar."""
    return f"{panel.value_label} [{panel.value_unit}]" if panel.value_unit else panel.value_label


def _classes(panel: Panel, classes: Array) -> Iterator[tuple[int, str, str]]:
    """Value, name and colour of the classes that occur, in the vocabulary's order; unknown ones last."""
    present = set(np.unique(classes).tolist())
    for i, entry in enumerate(panel.vocabulary):
        if entry.value in present:
            yield entry.value, entry.name, entry.colour or PALETTE[i % len(PALETTE)]
    for value in sorted(present - {entry.value for entry in panel.vocabulary}):
        yield value, f"class {value}", GREY
