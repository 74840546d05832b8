"""What is known of each point of an event besides its class: figures are told against it.

Legend of shapes: N points, B events, V vertices.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from hepfm.api import Batch, PartSchema, Ragged
from hepfm.errors import DataError, did_you_mean

Array = np.ndarray[Any, Any]

FRAGMENTS = "fragments"
"""Table of pieces of particles; a point's ``fragment`` is the ``fragment_id`` of its piece."""
DISTANCE = "vertex_mm"
"""Name of a point's distance to the nearest vertex of its event."""


class PointValues:
    """Numbers of the points of a part: columns of its primary table, those of their fragment, or `DISTANCE`.

    Args:
        part: Its name.
        schema: Its schema, with labels.
        names: Which numbers are asked for.

    Raises:
        DataError: The data cannot tell one of them.
    """

    def __init__(self, part: str, schema: PartSchema, names: Iterable[str]) -> None:
        self.part, self.schema = part, schema
        own, pieces = schema.tables[schema.primary], schema.tables.get(FRAGMENTS, {})
        possible = [name for name, column in own.items() if not column.shape]
        if "fragment" in own and "fragment_id" in pieces:
            possible += [name for name, column in pieces.items() if not column.shape]
        framed = {"origin_mm", "voxel_mm"} <= set(schema.attributes)
        if framed and "voxel" in own and "vertex" in pieces and pieces["vertex"].unit == "mm":
            possible.append(DISTANCE)
        for name in names:
            if name not in possible:
                raise DataError(
                    f"The data does not tell '{name}' of a point.",
                    where=f"part {part}, objective.head.against",
                    fix=did_you_mean(name, possible) or f"name one of {', '.join(possible)}",
                )

    def of(self, batch: Batch, name: str) -> Array:
        """``(N,)`` float64 of a numpy batch's points; NaN where it is not known."""
        if name == DISTANCE:
            return self._distance(batch)
        for half in (batch.parts, batch.labels):
            table = half.get(self.part, {}).get(self.schema.primary)
            if table is not None and name in table.columns:
                values: Array = table.columns[name].astype(np.float64)
                return values
        return self._of_fragment(batch, name)

    def _of_fragment(self, batch: Batch, name: str) -> Array:
        labels = batch.labels[self.part]
        points, pieces = labels[self.schema.primary], labels[FRAGMENTS]

        def key(ids: Ragged) -> Array:
            event = np.repeat(np.arange(len(ids), dtype=np.int64), np.diff(ids.offsets))
            keys: Array = (event << 32) + ids.values + 2**31
            return keys

        known, wanted = key(pieces["fragment_id"]), key(points["fragment"])
        order = known.argsort(kind="stable")
        at = np.searchsorted(known[order], wanted)
        values = np.append(pieces.columns[name][order].astype(np.float64), np.nan)
        found = np.append(known[order], -1)
        return np.where(found[at] == wanted, values[at], np.nan)

    def _distance(self, batch: Batch) -> Array:
        voxel = batch.parts[self.part][self.schema.primary]["voxel"]
        vertex = batch.labels[self.part][FRAGMENTS]["vertex"]
        corner = np.array(self.schema.attributes["origin_mm"], np.float64)
        place = corner + float(self.schema.attributes["voxel_mm"]) * (voxel.values + 0.5)
        nearest = np.full(len(place), np.nan)
        for event in range(len(voxel)):
            there = np.unique(vertex[event].astype(np.float64), axis=0)
            there = there[np.isfinite(there).all(1) & (there != -1).any(1)]  # -1 is PILArNet's for none
            mine = slice(int(voxel.offsets[event]), int(voxel.offsets[event + 1]))
            if len(there) and mine.stop > mine.start:
                nearest[mine] = np.linalg.norm(place[mine][:, None] - there, axis=2).min(1)
        return nearest
