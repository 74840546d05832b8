"""Photon detectors as rectangles in space."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hepfm_lartpc.tpc import Point

Floats = NDArray[np.float64]


class Volume(BaseModel):
    """A box that light does not leave."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    low_mm: Point
    """Lower corner."""
    high_mm: Point
    """Upper corner."""

    def holds(self, points_mm: Floats) -> NDArray[np.bool_]:
        """Which points ``(..., 3)`` lie in it or on its faces: ``(...,)``."""
        inside = (points_mm >= np.array(self.low_mm)) & (points_mm <= np.array(self.high_mm))
        return np.asarray(inside.all(axis=-1))

    @model_validator(mode="after")
    def _is_a_box(self) -> Self:
        if any(low >= high for low, high in zip(self.low_mm, self.high_mm, strict=True)):
            raise ValueError(f"low_mm {self.low_mm} must lie below high_mm {self.high_mm}")
        return self


class PhotonDetectors(BaseModel):
    """One photon detector, or a grid of equal ones in columns (along their width) and rows (along ``up``)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    position_mm: Point
    """Centre of the detector, or of the grid."""
    normal: Point
    """Where it looks; of any length. It sees nothing from behind."""
    up: Point | None = None
    """Direction of its height, or roughly so; none: y, or z for a detector that looks along y."""
    width_mm: float = Field(gt=0)
    """Of one detector, across."""
    height_mm: float = Field(gt=0)
    """Of one detector, along ``up``."""
    kind: Literal["sipm", "pmt"] = "sipm"
    """Which of the readout's sensors it has."""
    efficiency: float = Field(gt=0, le=1)
    """Photoelectrons for each photon that reaches it, with the transparency of what stands before it."""
    columns: int = Field(default=1, gt=0)
    """Of the grid."""
    rows: int = Field(default=1, gt=0)
    """Of the grid."""
    spacing_mm: tuple[float, float] | None = None
    """From centre to centre, across and along ``up``."""

    def axes(self) -> tuple[Floats, Floats, Floats]:
        """Unit vectors of its width, height and normal."""
        normal = np.array(self.normal) / np.linalg.norm(self.normal)
        up = np.array(self.up if self.up is not None else (0, 0, 1) if abs(normal[1]) > 0.9 else (0, 1, 0))
        across = np.cross(up, normal)
        across = across / np.linalg.norm(across)
        return across, np.cross(normal, across), normal

    def one_by_one(self) -> list[PhotonDetectors]:
        """The detectors of the grid: row by row from the lowest, each along the width."""
        if self.spacing_mm is None:
            return [self]
        across, along, _ = self.axes()
        alone = {"columns": 1, "rows": 1, "spacing_mm": None}
        panels = []
        for row in range(self.rows):
            for column in range(self.columns):
                sideways = (column - (self.columns - 1) / 2) * self.spacing_mm[0]
                upwards = (row - (self.rows - 1) / 2) * self.spacing_mm[1]
                x, y, z = (np.array(self.position_mm) + sideways * across + upwards * along).tolist()
                panels.append(self.model_copy(update={"position_mm": (x, y, z), **alone}))
        return panels

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        if not any(self.normal):
            raise ValueError("normal must not be zero")
        if self.up is not None and not np.linalg.norm(np.cross(self.up, self.normal)) > 1e-9:
            raise ValueError(f"up {self.up} must not be zero or along the normal {self.normal}")
        if (self.spacing_mm is None) != (self.columns * self.rows == 1):
            raise ValueError("a grid has spacing_mm and several columns or rows; a single detector has none")
        if self.spacing_mm is not None:
            across, along = self.spacing_mm
            if (self.columns > 1 and across < self.width_mm) or (self.rows > 1 and along < self.height_mm):
                raise ValueError(
                    f"spacing_mm {self.spacing_mm} is less than a detector of {self.width_mm} x "
                    f"{self.height_mm} mm"
                )
        return self


def frames(panels: list[PhotonDetectors]) -> Floats:
    """Detectors for compiled code, ``(K, 14)``.

    Centre in mm, unit vectors of width, height and normal, and half of width and height in mm.
    """
    rows = [
        (*panel.position_mm, *np.concatenate(panel.axes()), panel.width_mm / 2, panel.height_mm / 2)
        for panel in panels
    ]
    return np.array(rows, np.float64)


def volume_of(panel: PhotonDetectors, volumes: list[Volume]) -> int:
    """Which volume a detector looks into (by a point 1 mm before it); -1 where none."""
    before = np.array(panel.position_mm) + panel.axes()[2]
    return next((number for number, volume in enumerate(volumes) if volume.holds(before)), -1)
