"""Where the cells of an image lie in the detector, along axes that other parts may share.

Legend: U cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def axes_of(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the axes that the schema's attribute ``frame`` tells of; none without it."""
    return tuple(attributes.get("frame", {}).get("axes", ()))


def places_of(positions: torch.Tensor, side: int, attributes: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Axis to ``(U, 2)``: the middles of cells at ``positions (U, 3)``, and how far they reach, in frame units.

    Args:
        positions: In cells from the corner of the grid.
        side: Voxels along a cell's side.
        attributes: Of the schema.
    """
    frame, size_mm = attributes["frame"], side * float(attributes["voxel_mm"])
    unit_mm = float(frame["unit_mm"])
    origin_mm = positions.new_tensor(attributes["origin_mm"])
    middle = (origin_mm + (positions + 0.5) * size_mm) / unit_mm
    places = {}
    for name, direction in frame["axes"].items():
        towards = positions.new_tensor(direction)
        along = middle @ towards
        half = 0.5 * size_mm / unit_mm * towards.abs().sum()
        places[name] = torch.stack((along, half.expand_as(along)), 1)
    return places
