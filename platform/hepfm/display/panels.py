"""Panels: what a picture shows, as data. Plugins describe them; ``html`` and ``png`` draw them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hepfm.api import ClassName


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

    def __post_init__(self) -> None:
        if np.shape(self.xyz)[1:] != (3,):
            raise ValueError(f"positions of '{self.title}' are {np.shape(self.xyz)}, not (N, 3)")
        if self.values is not None and self.classes is not None:
            raise ValueError(f"'{self.title}' is coloured by values or by classes, not by both")
        for name in ("values", "classes"):
            column = getattr(self, name)
            if column is not None and np.shape(column) != (len(self.xyz),):
                raise ValueError(f"{name} of '{self.title}' are {np.shape(column)}, not ({len(self.xyz)},)")


Panel = PointCloud
"""Any panel."""
