"""edep-sim and larnd-sim energy deposits: the dataset ``segments``, voxelised on a grid.

Positions are in cm and energies in MeV in these files; times are in microseconds (larnd-sim's convention).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hepfm.api import Batch, PartSchema, Sample
from hepfm.errors import DataError
from hepfm.random import stable_id
from hepfm.readers import safety
from hepfm.readers.checks import bad_events, event_indices
from hepfm.readers.digest import file_digest, json_digest
from hepfm.readers.handle import Handle
from hepfm.readers.pack import pack
from hepfm_image3d.schema import image3d_schema
from hepfm_image3d.voxelise import clip, largest, sum_by

_CM = 10.0
_ENDS = ("x_start", "y_start", "z_start", "x_end", "y_end", "z_end")
_ROWS = 1 << 20
_MAX_VOXELS_A_SIDE = 1 << 16
_FAR_MM = 1e6
"""No detector is larger; a damaged number that is would be cut into more voxels than memory holds."""


class EdepsimReader:
    """Events of one file of segments.

    A segment's energy is shared among the voxels that it crosses by the length in each. A voxel belongs to
    the particle that left most energy in it. What lies outside the grid is left out and counted in
    ``provenance["segments_outside"]``. Semantic classes are not in these files, so there are none.

    Raises:
        DataError: ``segments`` is missing or lacks a field, or the grid makes no sense.
    """

    class Config(BaseModel):
        """Options of the reader."""

        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        part: str = "image3d"
        """Name of the part that the events get."""
        voxel_mm: float = Field(default=3.0, gt=0)
        """Side of a voxel."""
        origin_mm: tuple[float, float, float] | None = None
        """Lower corner of the grid; by default of the file's bounding box, rounded down to whole voxels."""
        grid: tuple[int, int, int] | None = None
        """Voxels along x, y, z; by default up to the bounding box's upper corner."""
        axes: Literal["xyz", "xzy", "yxz", "yzx", "zxy", "zyx"] = "xyz"
        """The file's axes that become the image's first, second and third."""
        time_unit_ns: float = Field(default=1000.0, gt=0)
        """The file's unit of time; files written by edep-sim alone have 1."""

    path: Path
    parts: Mapping[str, PartSchema]
    provenance: Mapping[str, Any]

    @classmethod
    def sniff(cls, path: Path) -> bool:
        """Whether the file has a dataset ``segments`` with start and end positions."""
        try:
            with h5py.File(path, "r", locking="best-effort") as file:
                return set(_ENDS) <= set(getattr(file.get("segments"), "dtype", np.dtype("u1")).names or ())
        except safety.DAMAGE:
            return False

    def __init__(self, path: Path, config: Config | None = None) -> None:
        self.path = path = Path(path)
        self._options = options = config or self.Config()
        self._handle = Handle(path)
        source = safety.dataset(self._handle.file(), "segments", path=path)
        safety.expect(source, path=path, shape=(None,))
        names = set(source.dtype.names or ())
        self._event = next((n for n in ("eventID", "event_id") if n in names), "eventID")
        self._track = next((n for n in ("trackID", "traj_id") if n in names), "")
        self._pdg = next((n for n in ("pdgId", "pdg_id") if n in names), "")
        ids = {self._event, self._track, self._pdg}
        if missing := {*_ENDS, self._event, "dE"} - names:
            what = f"segments lack the fields {', '.join(sorted(missing))}"
            raise DataError(what, where=f"{path}, field segments", fix=f"it has: {', '.join(sorted(names))}")
        for name in sorted({*_ENDS, "dE", "t", "n_electrons"} & names | ids & names):
            kind = source.dtype[name]
            if kind.kind not in ("iu" if name in ids else "iuf"):
                wanted = "an integer" if name in ids else "a number"
                raise DataError(f"wanted {wanted}, found {kind}", where=f"{path}, field segments/{name}")
        low, high, ionised = self._scan(source, names)
        voxel = options.voxel_mm
        self._origin = np.array(options.origin_mm or np.floor(low / voxel) * voxel)
        span = np.maximum(np.floor((high - self._origin) / voxel).astype(int) + 1, 1)
        self._grid = np.array(options.grid or span)
        if (self._grid < 1).any() or (self._grid > _MAX_VOXELS_A_SIDE).any():
            what = f"a grid of {self._grid.tolist()} voxels: each side must have 1 to {_MAX_VOXELS_A_SIDE}"
            raise DataError(what, where=str(path), fix="set voxel_mm, origin_mm and grid")
        self._inputs = ["voxel", "energy_mev", "dx_mm"]
        self._inputs += ["time_ns"] if "t" in names else []
        self._inputs += ["electrons"] if ionised else []
        self._labels = [label for label, name in (("group", self._track), ("pdg", self._pdg)) if name]
        schema = image3d_schema(
            voxels=(*self._inputs, *self._labels),
            voxel_mm=voxel,
            grid=tuple(self._grid.tolist()),
            origin_mm=tuple(self._origin.tolist()),
        )
        self.parts = {options.part: schema}
        self._lengths: np.ndarray[Any, Any] | None = None
        self.provenance = {
            "format": "edep-sim segments",
            "file": path.name,
            "segments": len(source),
            "segments_outside": self._outside(source),
            "options": options.model_dump(),
        }

    def _scan(self, source: h5py.Dataset, names: set[str]) -> tuple[Any, Any, bool]:
        """Finds each event's runs of rows; returns the bounding box in mm, and if there are electrons."""
        low, high, ionised = np.full(3, np.inf), np.full(3, -np.inf), False
        events: list[np.ndarray[Any, Any]] = []
        for rows in self._chunks(source):
            ends = self._ends(rows)
            if len(bad := np.flatnonzero(~(np.abs(ends) < _FAR_MM).all((1, 2)))):
                where = f"{self.path}, event {rows[self._event][bad[0]]}, field segments"
                what = f"a segment's position is not finite, or more than {_FAR_MM / 1000:g} m away"
                raise DataError(what, where=where, fix="the file is damaged, or its positions are not in cm")
            both = ends.reshape(-1, 3)
            low, high = np.minimum(low, both.min(0)), np.maximum(high, both.max(0))
            ionised = ionised or ("n_electrons" in names and bool(rows["n_electrons"].any()))
            events.append(rows[self._event])
        ids = np.concatenate([np.empty(0, np.int64), *events]).astype(np.int64)
        cuts = np.flatnonzero(np.diff(ids, prepend=ids[:1] - 1)) if len(ids) else np.empty(0, np.int64)
        order = np.argsort(ids[cuts], kind="stable")
        self._starts, self._stops = cuts[order], np.append(cuts[1:], len(ids))[order]
        self._numbers, self._first = np.unique(ids[cuts][order], return_index=True)
        self._first = np.append(self._first, len(cuts))
        return (low, high, ionised) if len(ids) else (np.zeros(3), np.zeros(3), False)

    def _chunks(self, source: h5py.Dataset) -> Iterator[np.ndarray[Any, Any]]:
        for start in range(0, len(source), _ROWS):
            with safety.reading(f"{self.path}, field segments"):
                rows = source[start : start + _ROWS]
            yield rows

    def _ends(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """``(S, 2, 3)`` float64: start and end in mm, along the image's axes."""
        fields = [f"{axis}_{end}" for end in ("start", "end") for axis in self._options.axes]
        return np.stack([rows[name].astype(np.float64) * _CM for name in fields], 1).reshape(-1, 2, 3)

    def _outside(self, source: h5py.Dataset) -> int:
        # The grid is convex: a segment lies in it where both its ends do.
        if self._options.origin_mm is None and self._options.grid is None:
            return 0
        in_voxels = (
            (self._ends(rows) - self._origin) / self._options.voxel_mm for rows in self._chunks(source)
        )
        return sum(int(((v < 0) | (v >= self._grid)).any((1, 2)).sum()) for v in in_voxels)

    def __len__(self) -> int:
        return len(self._numbers)

    def event_ids(self) -> np.ndarray[Any, Any]:
        """``(len,)`` uint64: of the file's digest and the event's number in it."""
        digest = file_digest(self.path)
        return np.array([stable_id(digest, int(number)) for number in self._numbers], np.uint64)

    def lengths(self, part: str) -> np.ndarray[Any, Any]:  # noqa: ARG002  there is one part
        """``(len,)`` int64 voxels of each event. Voxelises all events the first time."""
        if self._lengths is None:
            counts = [len(self._voxels(event, labels=False)[0]["voxel"]) for event in range(len(self))]
            self._lengths = np.array(counts, np.int64)
        return self._lengths

    def read(self, indices: Sequence[int], *, labels: bool = True) -> Batch:
        """The events at these indices, in the order of their numbers in the file.

        Raises:
            DataError: A deposit is not finite.
        """
        digest = file_digest(self.path)
        samples = []
        for index in event_indices(indices, len(self), path=self.path).tolist():
            inputs, truth = self._voxels(index, labels=labels)
            samples.append(
                Sample(
                    event_id=stable_id(digest, int(self._numbers[index])),
                    parts={self._options.part: {"voxels": inputs}},
                    labels={self._options.part: {"voxels": truth}} if truth else {},
                )
            )
        return pack(samples, self.parts, labels=labels)

    def _voxels(self, event: int, *, labels: bool) -> tuple[dict[str, Any], dict[str, Any]]:
        where = f"{self.path}, event {self._numbers[event]}, field segments"
        runs = range(self._first[event], self._first[event + 1])
        with safety.reading(where):
            source = self._handle.file()["segments"]
            rows = np.concatenate([source[self._starts[r] : self._stops[r]] for r in runs])
        ends = (self._ends(rows) - self._origin) / self._options.voxel_mm
        pieces = clip(ends[:, 0], ends[:, 1])
        inside = ((pieces.voxel >= 0) & (pieces.voxel < self._grid)).all(1)
        segment, share = pieces.segment[inside], pieces.share[inside]
        flat = np.ravel_multi_index(tuple(pieces.voxel[inside].T), tuple(self._grid))
        found, voxel = np.unique(flat, return_inverse=True)
        n = len(found)
        energy = rows["dE"].astype(np.float64)[segment] * share
        if not np.isfinite(energy).all():
            raise DataError("a deposited energy (dE) is not finite", where=where)
        length = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1) * self._options.voxel_mm
        inputs: dict[str, Any] = {
            "voxel": np.stack(np.unravel_index(found, tuple(self._grid)), 1).astype(np.uint16),
            "energy_mev": sum_by(voxel, n, energy),
            "dx_mm": sum_by(voxel, n, length[segment] * share),
        }
        if "time_ns" in self._inputs:
            time = rows["t"].astype(np.float64)[segment] * self._options.time_unit_ns
            total = np.maximum(inputs["energy_mev"], np.finfo(np.float64).tiny)
            inputs["time_ns"] = sum_by(voxel, n, energy * time) / total
        if "electrons" in self._inputs:
            inputs["electrons"] = sum_by(voxel, n, rows["n_electrons"][segment] * share)
        return inputs, self._truth(rows, segment, voxel, n, energy) if labels else {}

    def _truth(self, rows: Any, segment: Any, voxel: Any, n: int, energy: Any) -> dict[str, Any]:
        """Of each voxel the particle that left most energy there, all its segments together."""
        if not self._labels:
            return {}
        particle = rows[self._track or self._pdg][segment]
        pairs, pair = np.unique(np.stack([voxel, particle.astype(np.int64)], 1), axis=0, return_inverse=True)
        pair = pair.reshape(-1)
        first = np.full(len(pairs), len(pair))
        np.minimum.at(first, pair, np.arange(len(pair)))
        best = first[largest(pairs[:, 0], n, sum_by(pair, len(pairs), energy))]
        columns = {"group": self._track, "pdg": self._pdg}
        return {label: rows[columns[label]][segment[best]].astype(np.int64) for label in self._labels}

    def digest(self) -> str:
        """Of the file's bytes and the options, which change the voxels."""
        return json_digest([file_digest(self.path), self._options.model_dump()])

    def check(self) -> Iterator[str]:
        """Reads every event; yields one sentence for each that is bad."""
        return bad_events(self)

    def close(self) -> None:
        """Closes the file."""
        self._handle.close()
