"""Panels: what a picture shows, as data. Plugins describe them; ``html`` and ``png`` draw them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hepfm.api import ClassName


@dataclass(frozen=True, kw_only=True)
class Marker:
    """Places that stand out among a cloud's points, such as a vertex: true ones and predicted ones.

    Attributes:
        name: In the legend.
        xyz: ``(M, 3)`` in the cloud's unit.
        colour: ``#rrggbb``.
        symbol: How they look.
    """

    name: str
    xyz: np.ndarray[Any, Any]
    colour: str
    symbol: Literal["diamond", "square"] = "diamond"


@dataclass(frozen=True, kw_only=True)
class PointCloud:
    """Points in space, coloured by a value, by class, or not at all.

    Panels of one picture are drawn in one box, and those of one value (label and unit) on one scale, so that
    they can be compared.

    Attributes:
        title: What is shown.
        xyz: ``(N, 3)`` positions, in ``unit``.
        unit: Unit of the positions.
        axes: Names of the axes.
        up: The axis that points upwards.
        values: ``(N,)`` numbers for the colour.
        value_label: What they are, ``"energy"``.
        value_unit: ``"MeV"``; empty for what has none.
        log: Whether the colours are logarithmic; values that are not positive are drawn as the lowest.
        classes: ``(N,)`` integers for the colour, in place of ``values``.
        vocabulary: Their names and colours.
        point_size: Diameter on the screen, in pixels.
        markers: What stands out among them.
    """

    title: str
    xyz: np.ndarray[Any, Any]
    unit: str
    axes: tuple[str, str, str] = ("x", "y", "z")
    up: Literal["x", "y", "z"] = "y"
    values: np.ndarray[Any, Any] | None = None
    value_label: str = ""
    value_unit: str = ""
    log: bool = True
    classes: np.ndarray[Any, Any] | None = None
    vocabulary: Sequence[ClassName] = ()
    point_size: float = 2.5
    markers: Sequence[Marker] = ()

    def __post_init__(self) -> None:
        if np.shape(self.xyz)[1:] != (3,):
            raise ValueError(f"positions of '{self.title}' are {np.shape(self.xyz)}, not (N, 3)")
        if self.values is not None and self.classes is not None:
            raise ValueError(f"'{self.title}' is coloured by values or by classes, not by both")
        for name in ("values", "classes"):
            column = getattr(self, name)
            if column is not None and np.shape(column) != (len(self.xyz),):
                raise ValueError(f"{name} of '{self.title}' are {np.shape(column)}, not ({len(self.xyz)},)")


@dataclass(frozen=True)
class Axis:
    """An axis of a flat panel.

    Attributes:
        label: What runs along it, ``"tick"``.
        unit: ``"us"``; empty for what has none.
    """

    label: str
    unit: str = ""

    @property
    def title(self) -> str:
        """Label and unit."""
        return f"{self.label} [{self.unit}]" if self.unit else self.label


@dataclass(frozen=True, kw_only=True)
class Heatmap:
    """Values on a grid: the channels of a wire plane over time.

    Attributes:
        title: What is shown.
        values: ``(rows, columns)``; NaN where nothing was recorded.
        x: Along the columns.
        y: Along the rows.
        x_edges: First and last edge of the columns.
        y_edges: First and last edge of the rows.
        value: What the colours are. The scale is symmetric about zero, and clipped to the central 99.8 %.
        x_range: What is shown of the x axis; by default all.
        y_range: The same of the y axis.
        most: Where the colour scale ends, in place of that.
    """

    title: str
    values: np.ndarray[Any, Any]
    x: Axis
    y: Axis
    x_edges: tuple[float, float]
    y_edges: tuple[float, float]
    value: Axis
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    most: float | None = None

    def __post_init__(self) -> None:
        if np.ndim(self.values) != 2:
            raise ValueError(f"values of '{self.title}' are {np.shape(self.values)}, not (rows, columns)")


@dataclass(frozen=True)
class Line:
    """One curve: points ``(N,)`` in rising ``x``, and its name in the legend; marked where it has a band."""

    name: str
    x: np.ndarray[Any, Any]
    y: np.ndarray[Any, Any]
    band: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None = None
    """Lower and upper edge ``(N,)`` of an interval around it."""
    look: Literal["line", "points", "reference"] = "line"
    """With its points marked; or grey and dotted, as what others are compared with."""

    @property
    def marked(self) -> bool:
        """Whether its points are."""
        return self.band is not None or self.look == "points"


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Curves over one axis: waveforms over time.

    Attributes:
        title: What is shown.
        lines: The curves, each in a colour of its own.
        x: The common axis.
        y: The other one.
        log_x: Whether the common axis is logarithmic.
        x_range: What is shown of the x axis; by default all.
        y_range: The same of the y axis.
    """

    title: str
    lines: Sequence[Line]
    x: Axis
    y: Axis
    log_x: bool = False
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Counts of pairs of names, such as true and predicted classes; coloured by the share of their row.

    Attributes:
        title: What is shown.
        counts: ``(rows, columns)``, none negative.
        rows: Name of each row.
        columns: Name of each column.
        x: What the columns are.
        y: What the rows are.
    """

    title: str
    counts: np.ndarray[Any, Any]
    rows: Sequence[str]
    columns: Sequence[str]
    x: Axis
    y: Axis

    def __post_init__(self) -> None:
        if np.shape(self.counts) != (shape := (len(self.rows), len(self.columns))):
            raise ValueError(f"counts of '{self.title}' are {np.shape(self.counts)}, not {shape}")

    @property
    def shares(self) -> np.ndarray[Any, Any]:
        """``(rows, columns)`` float64: of each row, the share in each column; NaN for a row of nothing."""
        counts = np.asarray(self.counts, np.float64)
        total = counts.sum(1, keepdims=True)
        shares: np.ndarray[Any, Any] = np.where(total > 0, counts / np.maximum(total, 1e-300), np.nan)
        return shares


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One line of a tree: how deep it stands, its text, and the colour of its mark (``#rrggbb``, or none)."""

    depth: int
    text: str
    colour: str = ""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Lines of text that belong to each other: the particles of an event, children below their parents."""

    title: str
    branches: Sequence[Branch]


Panel = PointCloud | Heatmap | Lines | Matrix | Tree
"""Any panel."""
