"""Where cells and voxels of an image lie in the detector, along axes that other parts may share.

Legend: N cells or voxels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from hepfm.api import PartSchema
from hepfm.nn.frame_attribute import check_frame


def axes_of(schema: PartSchema) -> tuple[str, ...]:
    """Names of the axes that the schema's attribute ``frame`` tells of; none without it.

    Raises:
        DataError: It cannot be worked with.
    """
    check_frame(schema, "voxel_mm", "origin_mm")
    return tuple(schema.attributes["frame"]["axes"]) if "frame" in schema.attributes else ()


def places_of(corner: torch.Tensor, side: int, attributes: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Axis to ``(N, 2)``: the middles of cubes, and how far they reach to either side, in frame units.

    Args:
        corner: ``(N, 3)`` their first voxels.
        side: Voxels along their sides.
        attributes: Of the schema.
    """
    frame, voxel_mm = attributes["frame"], float(attributes["voxel_mm"])
    origin_mm = torch.tensor(attributes["origin_mm"], device=corner.device)
    middle = (origin_mm + (corner + 0.5 * side) * voxel_mm) / float(frame["unit_mm"])
    places = {}
    for name, direction in frame["axes"].items():
        towards = middle.new_tensor(direction)
        half = 0.5 * side * voxel_mm / float(frame["unit_mm"]) * towards.abs().sum()
        along = middle @ towards
        places[name] = torch.stack((along, half.expand_as(along)), 1)
    return places
