"""Panels as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hepfm.display.page import write_page
from hepfm.display.panels import Heatmap, Lines, Marker, Matrix, Panel, PointCloud, Tree
from hepfm.display.scene import (
    Layer,
    box,
    cells,
    clouds,
    coloured,
    layers,
    lines_of,
    scale,
    ticks_of,
    value_title,
)

_DASHES = ("solid", "dash", "dot", "dashdot")
"""Of curves, where there are more of them than colours."""


def write_html(panels: Sequence[Panel], path: Path, title: str = "", in_a_row: int | None = None) -> None:
    """Draws panels side by side; replaces the file at once.

    Points in space are turned and looked at with the mouse, in all such panels together. Follows the
    reader's choice of dark or light. About 2 MB for plotly, and 16 bytes a point.

    Args:
        panels: At least one.
        path: The HTML file.
        title: Above the panels.
        in_a_row: By default as many as fit.
    """
    in_space = clouds(panels)
    data = [_drawn(panel, in_space) | {"inARow": in_a_row} for panel in panels]
    write_page(path, "page.html", title=title, data=data)


def _drawn(panel: Panel, in_space: Sequence[PointCloud]) -> dict[str, Any]:
    if isinstance(panel, PointCloud):
        low, high = box(in_space)
        return {
            "kind": "cloud",
            "title": panel.title if len(panel.xyz) else f"{panel.title} (no points)",
            "up": panel.up,
            "axes": [
                {"title": f"{name} [{panel.unit}]", "range": [first, last]}
                for name, first, last in zip(panel.axes, low.tolist(), high.tolist(), strict=True)
            ],
            "traces": [_trace(layer, panel, in_space) for layer in layers(panel)]
            + [_marker(marker, panel) for marker in panel.markers],
        }
    if isinstance(panel, Tree):
        return {"kind": "tree", "title": panel.title, "lines": lines_of(panel)}
    if isinstance(panel, Matrix):
        return _matrix(panel)
    traces = [_heat(panel)] if isinstance(panel, Heatmap) else _curves(panel)
    axes: list[dict[str, Any]] = [
        {"title": axis.title} | ({} if shown is None else {"range": shown})
        for axis, shown in ((panel.x, panel.x_range), (panel.y, panel.y_range))
    ]
    if isinstance(panel, Lines) and panel.log_x:
        axes[0] |= {"type": "log"} | ({"tickvals": ticks} if (ticks := ticks_of(panel)) else {})
    title = panel.title if traces else f"{panel.title} (nothing)"
    return {"kind": "flat", "title": title, "axes": axes, "traces": traces}


def _heat(panel: Heatmap) -> dict[str, Any]:
    drawn, end = cells(panel)
    rows, columns = drawn.values.shape
    (x_low, x_high), (y_low, y_high) = drawn.x_edges, drawn.y_edges
    dx, dy = (x_high - x_low) / max(columns, 1), (y_high - y_low) / max(rows, 1)
    return {
        "type": "heatmap",
        "z": _packed(drawn.values) | {"shape": f"{rows}, {columns}"},
        "x0": x_low + dx / 2,
        "dx": dx,
        "y0": y_low + dy / 2,
        "dy": dy,
        "zmin": -end,
        "zmax": end,
        "colorbar": {"title": {"text": html.escape(panel.value.title), "side": "right"}, "thickness": 12},
        "hovertemplate": f"{panel.x.title} %{{x:.6g}}<br>{panel.y.title} %{{y:.6g}}<br>"
        f"{panel.value.title} %{{z:.4g}}<extra></extra>",
    }


def _curves(panel: Lines) -> list[dict[str, Any]]:
    traces: list[dict[str, Any]] = []
    for line, colour, turn in coloured(panel):
        if line.band is not None:
            low, high = line.band
            around = {"x": np.concatenate([line.x, line.x[::-1]]), "y": np.concatenate([low, high[::-1]])}
            traces.append(
                {name: _packed(values) for name, values in around.items()}
                | {"type": "scatter", "mode": "lines", "fill": "toself", "fillcolor": f"{colour}40"}
                | {"line": {"width": 0, "color": colour}, "hoverinfo": "skip", "showlegend": False}
            )
        dash = "dot" if line.look == "reference" else _DASHES[turn % len(_DASHES)]
        traces.append(
            {
                "type": "scatter" if line.marked else "scattergl",
                "mode": "lines+markers" if line.marked else "lines",
                "x": _packed(line.x),
                "y": _packed(line.y),
                "name": html.escape(line.name),
                "line": {"width": 2 if line.marked else 1, "color": colour, "dash": dash},
            }
        )
    return traces


def _matrix(panel: Matrix) -> dict[str, Any]:
    """A heatmap between names, the first row above; the page sets its colours."""
    shares, counts = panel.shares, np.asarray(panel.counts, np.float64)
    text = [
        ["" if np.isnan(share) else f"{share:.1%}<br>{count:.0f}" for share, count in zip(*row, strict=True)]
        for row in zip(shares, counts, strict=True)
    ]
    names = [[html.escape(name) for name in side] for side in (panel.columns, panel.rows)]
    axes: list[dict[str, Any]] = [
        {
            "title": axis.title,
            "type": "linear",
            "tickvals": list(range(len(labels))),
            "ticktext": labels,
            "showgrid": False,
            "zeroline": False,
        }
        for axis, labels in zip((panel.x, panel.y), names, strict=True)
    ]
    axes[1] |= {"autorange": "reversed"}
    trace = {
        "type": "heatmap",
        "z": np.nan_to_num(shares).tolist(),
        "zmin": 0,
        "zmax": 1,
        "text": text,
        "texttemplate": "%{text}",
        "customdata": [[[row, column] for column in names[0]] for row in names[1]],
        "hovertemplate": f"{panel.y.title} %{{customdata[0]}}<br>{panel.x.title} %{{customdata[1]}}"
        "<br>%{text}<extra></extra>",
        "showscale": False,
    }
    return {"kind": "flat", "title": panel.title, "axes": axes, "traces": [trace], "shares": True}


def _marker(marker: Marker, panel: PointCloud) -> dict[str, Any]:
    """A plotly trace of what stands out among the points."""
    where = "<br>".join(
        f"{name} %{{{axis}:.4g}} {panel.unit}" for name, axis in zip(panel.axes, "xyz", strict=True)
    )
    x, y, z = (_packed(column) for column in np.asarray(marker.xyz, np.float32).reshape(-1, 3).T)
    name = html.escape(marker.name)
    look = {"size": 8, "symbol": marker.symbol, "color": marker.colour}
    return {
        "type": "scatter3d",
        "mode": "markers",
        "x": x,
        "y": y,
        "z": z,
        "name": name,
        "showlegend": True,
        "marker": look | {"line": {"width": 1, "color": "#ffffff"}},
        "hovertemplate": f"{where}<extra>{name}</extra>",
    }


def _trace(layer: Layer, panel: PointCloud, panels: Sequence[PointCloud]) -> dict[str, Any]:
    """A plotly trace, as JSON; the page sets the colour scale, which follows dark or light."""
    x, y, z = (_packed(column) for column in layer.xyz.T)
    marker: dict[str, Any] = {"size": panel.point_size, "line": {"width": 0}}
    where = "<br>".join(
        f"{name} %{{{axis}:.4g}} {panel.unit}" for name, axis in zip(panel.axes, "xyz", strict=True)
    )
    trace: dict[str, Any] = {"type": "scatter3d", "mode": "markers", "x": x, "y": y, "z": z, "marker": marker}
    trace |= {"name": html.escape(layer.name), "showlegend": bool(layer.name)}
    if layer.values is None:
        marker["color"] = layer.colour
        return trace | {"hovertemplate": f"{where}<extra>{html.escape(layer.name)}</extra>"}
    first, last = scale(panel, panels)
    ticks = _log_ticks(first, last) if panel.log else {}
    colour = np.log10 if panel.log else np.asarray
    marker["color"] = _packed(colour(np.clip(layer.values, first, last)))
    marker |= {"cmin": float(colour(first)), "cmax": float(colour(last)), "showscale": True}
    marker["colorbar"] = {"title": {"text": value_title(panel), "side": "right"}, "thickness": 12, **ticks}
    trace["customdata"] = _packed(layer.values)
    value = f"{panel.value_label} %{{customdata:.3g}} {panel.value_unit}"
    return trace | {"hovertemplate": f"{value}<br>{where}<extra></extra>"}


def _packed(values: np.ndarray[Any, Any]) -> dict[str, str]:
    """Numbers as plotly reads them in binary: base64 of little-endian float32."""
    return {"dtype": "f4", "bdata": base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()}


def _log_ticks(first: float, last: float) -> dict[str, list[Any]]:
    """Ticks of a logarithmic colour bar: powers of ten, with 2 and 5 between them."""
    decades = range(int(np.floor(np.log10(first))), int(np.ceil(np.log10(last))) + 1)
    ticks = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    ticks = [tick for tick in ticks if first <= tick <= last]
    return (
        {"tickvals": np.log10(ticks).tolist(), "ticktext": [f"{tick:g}" for tick in ticks]} if ticks else {}
    )
