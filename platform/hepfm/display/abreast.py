"""Pictures of one thing side by side, on the same axes and colour scale; what is empty says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hepfm.display.panels import Branch, Heatmap, Lines, Matrix, Panel, PointCloud, Tree
from hepfm.display.scene import cells

Span = tuple[float, float]


def abreast(columns: Mapping[str, Sequence[Panel]]) -> list[Panel]:
    """Rows of panels, one for each thing that is shown, each with as many panels as there are columns.

    Args:
        columns: What the titles of a column's panels begin with (``charge: hidden``), and the panels. The
            rest of the titles says which belong together. The last column is the prediction: where the others
            show something, it does not set the colour scale, and is clipped.
    """
    things: dict[str, dict[str, Panel]] = {}
    for column, panels in columns.items():
        for panel in panels:
            things.setdefault(panel.title.removeprefix(column), {})[column] = panel
    return [
        panel
        for thing, found in things.items()
        for panel in _row({f"{column}{thing}": found.get(column) for column in columns})
    ]


def _row(found: Mapping[str, Panel | None]) -> Iterator[Panel]:
    shown = {title: panel for title, panel in found.items() if panel is not None and not _is_empty(panel)}
    like = next(panel for panel in (*shown.values(), *found.values()) if panel is not None)
    spans, heights = _x_spans(shown.values()), _heights(shown.values())
    truth = [shown[title] for title in list(found)[:-1] if title in shown] or list(shown.values())
    most = max((cells(panel)[1] for panel in truth if isinstance(panel, Heatmap)), default=None)
    for title in found:
        panel = shown.get(title) or _nothing(like, title)
        if isinstance(panel, Heatmap):
            same = [p.y_edges for p in shown.values() if isinstance(p, Heatmap)]
            zero = "" if np.nan_to_num(panel.values).any() else " (0 everywhere)"
            panel = replace(panel, title=title + zero, x_range=_hull(spans), y_range=_hull(same), most=most)
        elif isinstance(panel, Lines):
            if isinstance(like, Heatmap) and not panel.lines:
                heights = [p.y_edges for p in shown.values() if isinstance(p, Heatmap)]
            panel = replace(panel, x_range=_hull(spans), y_range=_hull(heights))
        yield panel


def _is_empty(panel: Panel) -> bool:
    if isinstance(panel, PointCloud):
        return not len(panel.xyz)
    if isinstance(panel, Heatmap):
        return not np.isfinite(panel.values).any()
    if isinstance(panel, Matrix):
        return not np.any(panel.counts)
    return not (panel.lines if isinstance(panel, Lines) else panel.branches)


def _nothing(like: Panel, title: str) -> Panel:
    if isinstance(like, PointCloud):
        return replace(like, title=title, xyz=np.zeros((0, 3)), values=None, classes=None)
    if isinstance(like, Tree):
        return Tree(title=title, branches=[Branch(depth=0, text="nothing")])
    return Lines(title=title, lines=[], x=like.x, y=like.y)


def _x_spans(panels: Any) -> list[Span]:
    spans = [panel.x_edges for panel in panels if isinstance(panel, Heatmap)]
    return spans + [s for panel in panels if isinstance(panel, Lines) for s in _extents(panel, "x")]


def _heights(panels: Any) -> list[Span]:
    return [s for panel in panels if isinstance(panel, Lines) for s in _extents(panel, "y")]


def _extents(panel: Lines, axis: str) -> Iterator[Span]:
    for line in panel.lines:
        values = np.asarray(getattr(line, axis), np.float64)
        if len(values := values[np.isfinite(values)]):
            yield float(values.min()), float(values.max())


def _hull(spans: Sequence[Span]) -> Span | None:
    """What holds all of them, None where there is nothing to hold."""
    if not spans:
        return None
    low, high = min(low for low, _ in spans), max(high for _, high in spans)
    return (low, high) if low < high else (low - 0.5, low + 0.5)
