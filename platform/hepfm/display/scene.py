"""What both renderers draw: layers of points with one legend entry each, a common box, common scales."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hepfm.display.panels import Heatmap, Line, Lines, Panel, PointCloud, Tree

Array = np.ndarray[Any, Any]

PALETTE = ("#E69F00", "#0072B2", "#CC79A7", "#009E73", "#56B4E9", "#D55E00", "#F0E442")
"""Okabe and Ito's colours, safe for the colour-blind, for classes that bring none."""

GREY = "#999999"
_MOST_POINTS = 200_000
_MOST_CELLS = (512, 1024)
_MOST_BRANCHES = 60
_FEW_TICKS = 12


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


def layers(panel: PointCloud) -> list[Layer]:
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


def coloured(panel: Lines) -> Iterator[tuple[Line, str, int]]:
    """Each curve, its colour, and how often the colours were used up before it; references are grey."""
    number = 0
    for line in panel.lines:
        if line.look == "reference":
            yield line, GREY, 0
            continue
        turn, which = divmod(number, len(PALETTE))
        yield line, PALETTE[which], turn
        number += 1


def ticks_of(panel: Lines) -> list[float]:
    """Where the curves have their points, where that is few enough to be told on a logarithmic axis."""
    at = sorted({float(x) for line in panel.lines for x in line.x[: _FEW_TICKS + 1]})
    return at if len(at) <= _FEW_TICKS else []


def box(panels: Sequence[PointCloud]) -> tuple[Array, Array]:
    """The corners ``(3,)`` of one box around all panels' points, nowhere thinner than 5 % of its length."""
    occupied = [
        np.asarray(xyz, dtype=np.float64)
        for panel in panels
        for xyz in (panel.xyz, *(marker.xyz for marker in panel.markers))
        if len(xyz)
    ]
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


def scale(panel: PointCloud, panels: Sequence[PointCloud]) -> tuple[float, float]:
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


def value_title(panel: PointCloud) -> str:
    """The title of a colour bar."""
    return f"{panel.value_label} [{panel.value_unit}]" if panel.value_unit else panel.value_label


def clouds(panels: Sequence[Panel]) -> list[PointCloud]:
    """The panels that are drawn in space."""
    return [panel for panel in panels if isinstance(panel, PointCloud)]


def cells(panel: Heatmap) -> tuple[Heatmap, float]:
    """The picture to draw, its values float32, and where the symmetric colour scale ends.

    Of more than 512 rows or 1,024 columns, neighbours are drawn as the one that is farthest from zero. Where
    they do not come out even, the last cell reaches beyond the panel's edge: all are of one size.
    """
    values = np.asarray(panel.values, np.float32)
    edges = [panel.y_edges, panel.x_edges]
    for axis, most in enumerate(_MOST_CELLS):
        step = -(-values.shape[axis] // most) or 1
        if step > 1:
            short = -values.shape[axis] % step
            low, high = edges[axis]
            edges[axis] = low, high + (high - low) * short / values.shape[axis]
            padding = [(0, 0), (0, 0)]
            padding[axis] = (0, short)
            padded = np.pad(values, padding, constant_values=np.nan)
            grouped = np.moveaxis(padded, axis, 0)
            grouped = grouped.reshape(-1, step, grouped.shape[1])
            at = np.nanargmax(np.where(np.isnan(grouped), -1.0, np.abs(grouped)), axis=1)
            values = np.moveaxis(np.take_along_axis(grouped, at[:, None], 1)[:, 0], 0, axis)
    drawn = replace(panel, values=values, y_edges=edges[0], x_edges=edges[1])
    if panel.most:
        return drawn, panel.most
    finite = np.abs(values[np.isfinite(values)])
    end = float(np.quantile(finite, 0.998)) if len(finite) else 0.0
    return drawn, end or float(finite.max(initial=0.0)) or 1.0


def lines_of(panel: Tree) -> list[tuple[int, str, str]]:
    """Depth, text and colour of a tree's lines; of more than 60, the last says how many are left out."""
    shown = [(branch.depth, branch.text, branch.colour) for branch in panel.branches[:_MOST_BRANCHES]]
    if rest := len(panel.branches) - len(shown):
        shown.append((0, f"and {rest} more", ""))
    return shown


def _classes(panel: PointCloud, classes: Array) -> Iterator[tuple[int, str, str]]:
    """Value, name and colour of the classes that occur, in the vocabulary's order; unknown ones last."""
    present = set(np.unique(classes).tolist())
    for i, entry in enumerate(panel.vocabulary):
        if entry.value in present:
            yield entry.value, entry.name, entry.colour or PALETTE[i % len(PALETTE)]
    for value in sorted(present - {entry.value for entry in panel.vocabulary}):
        yield value, f"class {value}", GREY
