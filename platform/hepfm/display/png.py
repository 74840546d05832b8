"""Panels as a PNG picture, with matplotlib and without a display server."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.axes3d import Axes3D  # type: ignore[import-untyped]

from hepfm.display.panels import Heatmap, Lines, Panel, PointCloud, Tree
from hepfm.display.scene import PALETTE, box, cells, clouds, layers, lines_of, scale, value_title

_PANEL_INCHES = (6.0, 5.2)
_IN_A_ROW = 4


def light_colours() -> Colormap:
    """Viridis from its green to its darkest: low values still stand out from white paper, high ones most."""
    return ListedColormap(colormaps["viridis"](np.linspace(0.85, 0.0, 256)))


def write_png(panels: Sequence[Panel], path: Path, title: str = "") -> None:
    """Draws panels side by side; replaces the file at once.

    Args:
        panels: At least one.
        path: The PNG file.
        title: Above the panels.
    """
    width, height = _PANEL_INCHES
    columns = min(len(panels), _IN_A_ROW)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(width * columns, height * rows + 0.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title)
    in_space = clouds(panels)
    for i, panel in enumerate(panels):
        at = (rows, columns, i + 1)
        if isinstance(panel, PointCloud):
            axes = figure.add_subplot(*at, projection="3d")
            assert isinstance(axes, Axes3D)
            _draw_cloud(axes, panel, in_space)
        else:
            axes = figure.add_subplot(*at)
            _draw_flat(axes, panel)
        axes.set_title(panel.title)
    aside = path.with_name(f".{path.name}.{os.getpid()}.png")
    figure.savefig(aside)
    aside.replace(path)


def _draw_cloud(axes: Axes3D, panel: PointCloud, panels: Sequence[PointCloud]) -> None:
    low, high = box(panels)
    for axis, name, first, last in zip("xyz", panel.axes, low, high, strict=True):
        getattr(axes, f"set_{axis}label")(f"{name} [{panel.unit}]")
        getattr(axes, f"set_{axis}lim")(first, last)
    axes.locator_params(nbins=5)
    # The aspect is stored as seen from the vertical axis: set before it, lengths would change places.
    axes.view_init(elev=18, azim=-60, vertical_axis=panel.up)
    axes.set_box_aspect(tuple(high - low), zoom=0.9)
    if not len(panel.xyz):
        axes.text2D(0.5, 0.5, "no points", transform=axes.transAxes, ha="center", color="grey")
    size = panel.point_size**2 / 2
    shown = layers(panel)
    for layer in shown:
        if layer.values is None:
            axes.scatter(*layer.xyz.T, s=size, c=layer.colour, label=layer.name, lw=0, depthshade=False)
        else:
            first, last = scale(panel, panels)
            norm = LogNorm(first, last) if panel.log else Normalize(first, last)
            colours = np.clip(layer.values, first, last)
            drawn = axes.scatter(
                *layer.xyz.T, s=size, c=colours, norm=norm, cmap=light_colours(), lw=0, depthshade=False
            )
            axes.figure.colorbar(drawn, ax=axes, label=value_title(panel), shrink=0.6, pad=0.1)
    if any(layer.name for layer in shown):
        axes.legend(loc="upper left", markerscale=4, frameon=False)


def _draw_flat(axes: Axes, panel: Heatmap | Lines | Tree) -> None:
    if isinstance(panel, Tree):
        axes.set_axis_off()
        shown = lines_of(panel)
        for row, (depth, text, colour) in enumerate(shown):
            y = 1 - (row + 0.5) / max(len(shown), 25)
            axes.plot(0.02 + 0.04 * depth, y, "s", ms=5, color=colour or "grey", transform=axes.transAxes)
            written = axes.text(
                0.05 + 0.04 * depth, y, text, transform=axes.transAxes, va="center", fontsize=7
            )
            written.set_in_layout(False)  # a long line would take the other panels' room
        return
    axes.set_xlabel(panel.x.title)
    axes.set_ylabel(panel.y.title)
    if isinstance(panel, Heatmap):
        picture, end = cells(panel)
        extent = (*picture.x_edges, *picture.y_edges)
        drawn = axes.imshow(
            picture.values,
            origin="lower",
            aspect="auto",
            interpolation="nearest",
            extent=extent,
            norm=Normalize(-end, end),
            cmap="RdBu_r",
        )
        axes.figure.colorbar(drawn, ax=axes, label=panel.value.title)
        return
    for i, line in enumerate(panel.lines):
        axes.plot(line.x, line.y, lw=0.7, color=PALETTE[i % len(PALETTE)], label=line.name)
    if panel.lines:
        axes.legend(frameon=False, fontsize=7)
