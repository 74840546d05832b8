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
from matplotlib.ticker import LogFormatter
from mpl_toolkits.mplot3d.axes3d import Axes3D  # type: ignore[import-untyped]

from hepfm.display.panels import Heatmap, Lines, Matrix, Panel, PointCloud, Tree
from hepfm.display.scene import box, cells, clouds, coloured, layers, lines_of, scale, ticks_of, value_title

_PANEL_INCHES = (6.0, 5.2)
IN_A_ROW = 4
_COLUMN_INCHES, _LINE_INCHES, _LETTER_INCHES, _INDENT_INCHES = 8.0, 0.15, 0.056, 0.15
"""Of a tree: width of a column, height of a line, width of a letter of 7 points, shift of a child."""
_FEW_LINES = 12
_FEW_CLASSES = 8
_MOST_TICKS, _LABEL_POINTS, _TICK_POINTS = 4, 9.0, 8.0
"""Of axes in space: ticks, distance of the label, and of the numbers of the vertical axis."""
_SYMBOLS = {"diamond": "D", "square": "s"}
_STYLES = ("-", "--", ":", "-.")
"""Of curves, where there are more of them than colours."""


class _PlainLog(LogFormatter):
    """Numbers of a logarithmic axis, from 0.0001 to 100000 without powers of ten: 0.3 in place of 3e-01."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def light_colours() -> Colormap:
    """Viridis from its green to its darkest: low values still stand out from white paper, high ones most."""
    return ListedColormap(colormaps["viridis"](np.linspace(0.85, 0.0, 256)))


def write_png(panels: Sequence[Panel], path: Path, title: str = "", in_a_row: int = IN_A_ROW) -> None:
    """Draws panels side by side, trees below them in the whole width; replaces the file at once.

    Args:
        panels: At least one.
        path: The PNG file.
        title: Above the panels.
        in_a_row: At most.
    """
    width, height = _PANEL_INCHES
    trees = [panel for panel in panels if isinstance(panel, Tree)]
    others = [panel for panel in panels if not isinstance(panel, Tree)]
    columns = max(min(len(others), in_a_row), 1)
    whole = max(width * columns, _COLUMN_INCHES if trees else 0.0)
    heights = [height] * -(-len(others) // columns)
    heights += [_LINE_INCHES * (_column_lines(tree, whole) + 3) for tree in trees]
    figure = Figure(figsize=(whole, sum(heights) + 0.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    if title:
        figure.suptitle(title)
    in_space = clouds(panels)
    for i, panel in enumerate(others):
        at = grid[i // columns, i % columns]
        if isinstance(panel, PointCloud):
            axes = figure.add_subplot(at, projection="3d")
            assert isinstance(axes, Axes3D)
            _draw_cloud(axes, panel, in_space)
        else:
            axes = figure.add_subplot(at)
            if isinstance(panel, Matrix):
                _draw_matrix(axes, panel)
            else:
                _draw_flat(axes, panel)
        axes.set_title(panel.title)
    for i, tree in enumerate(trees, len(heights) - len(trees)):
        axes = figure.add_subplot(grid[i, :])
        _draw_tree(axes, tree, whole)
        axes.set_title(tree.title, loc="left")
    aside = path.with_name(f".{path.name}.{os.getpid()}.png")
    figure.savefig(aside)
    aside.replace(path)


def _draw_cloud(axes: Axes3D, panel: PointCloud, panels: Sequence[PointCloud]) -> None:
    low, high = box(panels)
    longest = float((high - low).max())
    for axis, name, first, last in zip("xyz", panel.axes, low, high, strict=True):
        getattr(axes, f"set_{axis}label")(f"{name} [{panel.unit}]", labelpad=_LABEL_POINTS)
        getattr(axes, f"set_{axis}lim")(first, last)
        most = max(round(_MOST_TICKS * (last - first) / longest), 2)  # a short axis has room for few
        axes.locator_params(axis=axis, nbins=most)
    axes.tick_params(axis=panel.up, pad=_TICK_POINTS)
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
            bar = axes.figure.colorbar(drawn, ax=axes, label=value_title(panel), shrink=0.6, pad=0.15)
            if panel.log:
                bar.ax.yaxis.set_major_formatter(_PlainLog())
                bar.ax.yaxis.set_minor_formatter(_PlainLog(minor_thresholds=(1.5, 0.5)))
    for marker in panel.markers:
        axes.scatter(
            *np.asarray(marker.xyz, np.float32).T,
            s=90,
            c=marker.colour,
            marker=_SYMBOLS[marker.symbol],
            label=marker.name,
            edgecolors="white",
            lw=0.8,
            depthshade=False,
        )
    if any(layer.name for layer in shown) or panel.markers:
        drawn = axes.legend(loc="upper left", frameon=False, fontsize="small")
        for handle in drawn.legend_handles:
            handle.set_sizes([40])


def _column_lines(tree: Tree, inches: float) -> int:
    """Lines of each column of a tree; few of them stay in one column."""
    lines = len(lines_of(tree))
    return lines if lines <= _FEW_LINES else -(-lines // max(int(inches // _COLUMN_INCHES), 1))


def _draw_tree(axes: Axes, tree: Tree, inches: float) -> None:
    """Lines of text one below the other, in as many columns as have room; a line that has none is cut."""
    axes.set_axis_off()
    shown, lines = lines_of(tree), _column_lines(tree, inches)
    wide = 1.0 / max(-(-len(shown) // max(lines, 1)), 1)
    for row, (depth, text, colour) in enumerate(shown):
        x = row // lines * wide + _INDENT_INCHES * depth / inches
        y = 1 - (row % lines + 0.5) / lines
        room = int(((row // lines + 1) * wide - x) * inches / _LETTER_INCHES) - 3
        seen = text if len(text) <= room else f"{text[: max(room - 3, 0)]}..."
        axes.plot(x + 0.05 / inches, y, "s", ms=5, color=colour or "grey", transform=axes.transAxes)
        written = axes.text(x + 0.14 / inches, y, seen, transform=axes.transAxes, va="center", fontsize=7)
        written.set_in_layout(False)  # a long line would take the other panels' room


def _draw_matrix(axes: Axes, panel: Matrix) -> None:
    """Shares in per cent, and below each the count where there is room for both."""
    shares = panel.shares
    axes.imshow(np.nan_to_num(shares), vmin=0, vmax=1, cmap="Blues", aspect="auto")
    small = max(len(panel.rows), len(panel.columns)) > _FEW_CLASSES
    for (row, column), share in np.ndenumerate(shares):
        if np.isfinite(share):
            text = f"{100 * share:.0f}" if small else f"{share:.1%}\n{panel.counts[row, column]:.0f}"
            colour = "white" if share > 0.5 else "#222222"
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    axes.set_xlabel(panel.x.title + (", % of the row" if small else ""))
    axes.set_ylabel(panel.y.title)
    axes.set_xticks(range(len(panel.columns)), panel.columns, rotation=45 if len(panel.columns) > 5 else 0)
    axes.set_yticks(range(len(panel.rows)), panel.rows)


def _draw_flat(axes: Axes, panel: Heatmap | Lines) -> None:
    axes.set_xlabel(panel.x.title)
    axes.set_ylabel(panel.y.title)
    if panel.x_range:
        axes.set_xlim(*panel.x_range)
    if panel.y_range:
        axes.set_ylim(*panel.y_range)
    if isinstance(panel, Heatmap):
        _draw_heat(axes, panel)
    else:
        _draw_lines(axes, panel)


def _draw_heat(axes: Axes, panel: Heatmap) -> None:
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
    axes.set_xlim(*panel.x_range or extent[:2])
    axes.set_ylim(*panel.y_range or extent[2:])


def _draw_lines(axes: Axes, panel: Lines) -> None:
    if panel.log_x:
        axes.set_xscale("log")
        if ticks := ticks_of(panel):
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.set_xticks([], minor=True)
    for line, colour, turn in coloured(panel):
        style = _STYLES[turn % len(_STYLES)]
        if line.look == "reference":
            axes.plot(line.x, line.y, lw=1.0, color=colour, ls=":", label=line.name)
        elif line.marked:
            axes.plot(line.x, line.y, lw=1.2, marker="o", ms=4, color=colour, ls=style, label=line.name)
        else:
            axes.plot(line.x, line.y, lw=0.7, color=colour, ls=style, label=line.name)
        if line.band is not None:
            axes.fill_between(line.x, *line.band, color=colour, alpha=0.25, lw=0)
    if not panel.lines:
        axes.text(0.5, 0.5, "nothing", transform=axes.transAxes, ha="center", color="grey")
    if panel.lines:
        axes.legend(frameon=False, fontsize=7)
