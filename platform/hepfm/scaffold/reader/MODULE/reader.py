"""Files of NAME: hits of a pixel TPC, in HDF5.

::

    /           attribute format: "NAME"
    /n_hits     (B,) integers, hits of each event
    /xyz_mm     (N, 3) float32, positions of the hits, one event after the other
    /energy_mev (N,) float32
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hepfm.api import Batch, Column, PartSchema, Sample
from hepfm.errors import DataError
from hepfm.random import stable_id
from hepfm.readers import safety
from hepfm.readers.checks import bad_events, event_indices
from hepfm.readers.digest import file_digest, json_digest
from hepfm.readers.handle import Handle
from hepfm.readers.pack import offsets_of, pack

SIDE = 256
"""Voxels along an edge of the grid, whose middle is the origin."""

VOXELS = {
    "voxel": Column(dtype="uint16", shape=(3,), unit="voxel"),
    "energy_mev": Column(dtype="float32", unit="MeV"),
}


class CLASS:
    """Events as 3D images (`hepfm.api.Reader`). Reads the rows that are asked for, and no others.

    Raises:
        DataError: The file is damaged, of another format, or its arrays contradict one another.
    """

    class Config(BaseModel):
        """Options: ``--option voxel_mm=5``, or ``data.reader: {name: NAME, voxel_mm: 5}``."""

        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        voxel_mm: float = Field(default=4.0, gt=0)
        """Edge of a voxel."""

    @classmethod
    def sniff(cls, path: Path) -> bool:
        """Whether the file says that it is of this format."""
        try:
            with safety.open_h5(path) as file:
                return bool(file.attrs.get("format") == "NAME")
        except (DataError, *safety.DAMAGE):
            return False

    def __init__(self, path: Path, config: Config) -> None:
        self.path, self.config = path, config
        self._handle = Handle(path)  # opened when it is needed, and again in each process
        n_hits, xyz = self._dataset("n_hits", (None,)), self._dataset("xyz_mm", (None, 3))
        energy = self._dataset("energy_mev", (None,))
        with safety.reading(f"{path}, field n_hits"):
            self._n_hits: np.ndarray[Any, Any] = n_hits[()].astype(np.int64)
        if (self._n_hits < 0).any() or not self._n_hits.sum() == len(xyz) == len(energy):
            raise DataError(
                f"{self._n_hits.sum()} hits are announced, {len(xyz)} have a position and {len(energy)} an "
                "energy.",
                where=f"{path}, fields n_hits, xyz_mm, energy_mev",
                fix="write the file again",
            )
        self._offsets = offsets_of(self._n_hits)
        self._content = file_digest(path)
        image = PartSchema(
            kind="image3d",
            primary="voxels",
            tables={"voxels": VOXELS},
            attributes={
                "voxel_mm": config.voxel_mm,
                "grid": [SIDE] * 3,
                "origin_mm": [-SIDE / 2 * config.voxel_mm] * 3,
            },
        )
        self.parts: Mapping[str, PartSchema] = {"image3d": image}
        self.provenance: Mapping[str, Any] = {"format": "NAME", "file": path.name}

    def _dataset(self, name: str, shape: tuple[int | None, ...]) -> Any:
        found = safety.dataset(self._handle.file(), name, path=self.path)
        safety.expect(found, path=self.path, shape=shape)
        return found

    def __len__(self) -> int:
        return len(self._n_hits)

    def event_ids(self) -> np.ndarray[Any, Any]:
        """Of content and index: an event keeps its id wherever the file lies."""
        return np.array([stable_id(self._content, index) for index in range(len(self))], np.uint64)

    def lengths(self, part: str) -> np.ndarray[Any, Any]:
        """Hits of each event."""
        return self._n_hits

    def read(self, indices: Sequence[int], *, labels: bool = True) -> Batch:
        """The events at these indices. Raises `DataError` for a hit outside of the grid."""
        index = event_indices(indices, len(self), path=self.path)
        return pack(map(self._event, index.tolist()), self.parts, labels=labels)

    def _event(self, index: int) -> Sample:
        rows, file = slice(self._offsets[index], self._offsets[index + 1]), self._handle.file()
        with safety.reading(f"{self.path}, event {index}"):
            xyz, energy = file["xyz_mm"][rows], file["energy_mev"][rows]
        voxel = np.floor(xyz / self.config.voxel_mm) + SIDE // 2
        if not ((voxel >= 0) & (voxel < SIDE)).all():
            raise DataError(
                f"A hit lies outside of the grid of {SIDE}^3 voxels.",
                where=f"{self.path}, event {index}, field xyz_mm",
                fix="use larger voxels (voxel_mm)",
            )
        voxels = {"voxel": voxel, "energy_mev": energy}
        return Sample(event_id=stable_id(self._content, index), parts={"image3d": {"voxels": voxels}})

    def digest(self) -> str:
        """Of the content, and of the options that change what is read."""
        return json_digest([self._content, self.config.model_dump()])

    def check(self) -> Iterator[str]:
        """A sentence for each event that cannot be read, or has numbers that are not finite."""
        yield from bad_events(self)

    def close(self) -> None:
        """Closes the file; it is opened again when it is read."""
        self._handle.close()
