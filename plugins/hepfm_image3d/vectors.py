"""Places and directions beside the voxels, in labels as in inputs: they turn and move with the image.

Legend: B events, N rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hepfm.api import PartSchema, Ragged
from hepfm.errors import DataError
from hepfm.nn.ragged import event_index
from hepfm_image3d.augment import Symmetry, turn


@dataclass(frozen=True, kw_only=True)
class Vector:
    """A column of places in mm, or of directions (momenta).

    Attributes:
        table: Its table.
        column: Its name.
        frame: Of places: corner of the grid and side of a voxel in mm, and voxels along each axis. None for
            directions, which turn only.
    """

    table: str
    column: str
    frame: tuple[tuple[float, ...], float, tuple[int, ...]] | None

    def moved(
        self, values: Ragged, choice: torch.Tensor, group: tuple[Symmetry, ...], shift: torch.Tensor | None
    ) -> torch.Tensor:
        """``(N, 3)`` as the voxels of their events are turned about the grid's centre, then moved.

        Args:
            values: ``(N, 3)``. What is not known stays as it is: NaN, and the place (-1, -1, -1).
            choice: ``(B,)`` index into the group.
            group: Symmetries of the grid.
            shift: ``(B, 3)`` voxels; None for none.
        """
        event, vector = event_index(values.offsets), values.values
        if self.frame is None:
            return turn(vector, event, choice, group, mirror=0.0)
        corner_mm, voxel_mm, grid = self.frame
        corner = vector.new_tensor(corner_mm)
        in_voxels = turn((vector - corner) / voxel_mm, event, choice, group, mirror=vector.new_tensor(grid))
        if shift is not None:
            in_voxels = in_voxels + shift[event]
        return torch.where((vector == -1).all(1, keepdim=True), vector, corner + voxel_mm * in_voxels)


def vectors(schema: PartSchema) -> list[Vector]:
    """The columns of a part that turn with its image: of three numbers in mm, or of a momentum's unit.

    Raises:
        DataError: There are places, and nothing says where the voxels lie.
    """
    found = []
    for table, columns in schema.tables.items():
        for name, column in columns.items():
            if column.shape != (3,) or column.unit not in {"mm", "GeV/c", "MeV/c"}:
                continue
            frame = _frame(schema, f"table {table}, column {name}") if column.unit == "mm" else None
            found.append(Vector(table=table, column=name, frame=frame))
    return found


def _frame(schema: PartSchema, where: str) -> tuple[tuple[float, ...], float, tuple[int, ...]]:
    about = schema.attributes
    if lacking := [name for name in ("origin_mm", "voxel_mm") if name not in about]:
        raise DataError(
            f"There are places in mm, and no attribute '{lacking[0]}' that says where the voxels lie.",
            where=f"schema of kind {schema.kind}, {where}",
            fix="give it in the reader's options, or convert the data again",
        )
    return tuple(map(float, about["origin_mm"])), float(about["voxel_mm"]), tuple(map(int, about["grid"]))
