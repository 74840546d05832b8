"""Panels as a PNG picture, with matplotlib and without a display server."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.axes3d import Axes3D  # type: ignore[import-untyped]

from hepfm.display.panels import Panel
from hepfm.display.scene import box, layers, scale, value_title

_PANEL_INCHES = (6.0, 5.2)


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
    figure = Figure(figsize=(width * len(panels), height + 0.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title)
    low, high = box(panels)
    for i, panel in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), i + 1, projection="3d")
        assert isinstance(axes, Axes3D)
        _draw(axes, panel, panels)
        axes.set_title(panel.title)
        for axis, name, first, last in zip("xyz", panel.axes, low, high, strict=True):
            getattr(axes, f"set_{axis}label")(f"{name} [{panel.unit}]")
            getattr(axes, f"set_{axis}lim")(first, last)
        axes.locator_params(nbins=5)
        # The aspect is stored as seen from the vertical axis: set before it, lengths would change places.
        axes.view_init(elev=18, azim=-60, vertical_axis=panel.up)
        axes.set_box_aspect(tuple(high - low), zoom=0.9)
        if not len(panel.xyz):
            axes.text2D(0.5, 0.5, "no points", transform=axes.transAxes, ha="center", color="grey")
    aside = path.with_name(f".{path.name}.{os.getpid()}.png")
    figure.savefig(aside)
    aside.replace(path)


def _draw(axes: Axes3D, panel: Panel, panels: Sequence[Panel]) -> None:
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
