"""PILArNet-M HDF5: versions v1, v2, v3 and v3_extra read, v2 written.

Each row of a dataset is one event's table, flattened and of variable length. Points stand in the order of the
clusters, whose first column says how many points each has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from pydantic import BaseModel, ConfigDict

from hepfm.api import Batch, PartSchema, Sample
from hepfm.errors import DataError
from hepfm.random import stable_id
from hepfm.readers import safety
from hepfm.readers.checks import bad_events, event_indices
from hepfm.readers.digest import file_digest, json_digest
from hepfm.readers.handle import Handle
from hepfm.readers.pack import pack
from hepfm.readers.vlen import VlenRows
from hepfm_image3d.pilarnet_writer import CLUSTER, LABELS, POINT, left_out, write_pilarnet
from hepfm_image3d.schema import image3d_schema


class PilarnetReader:
    """Events of one PILArNet-M file. No cut is applied: that is the modality's, on its own option.

    Raises:
        DataError: A dataset is missing, or of another type or length than the format has.
    """

    class Config(BaseModel):
        """Options of the reader."""

        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        part: str = "image3d"
        """Name of the part that the events get."""
        voxel_mm: float | None = None
        """Side of a voxel; by default as the file says, else PILArNet's 3 mm."""
        grid: tuple[int, int, int] | None = None
        """Voxels along x, y, z; by default as the file says, else PILArNet's 768."""

    path: Path
    parts: Mapping[str, PartSchema]
    provenance: Mapping[str, Any]
    write = staticmethod(write_pilarnet)
    left_out = staticmethod(left_out)

    @classmethod
    def sniff(cls, path: Path) -> bool:
        """Whether the file has the datasets ``point`` and ``cluster``."""
        try:
            with h5py.File(path, "r", locking="best-effort") as file:
                return "point" in file and "cluster" in file
        except safety.DAMAGE:
            return False

    def __init__(self, path: Path, config: Config | None = None) -> None:
        self.path = path = Path(path)
        self._options = options = config or self.Config()
        self._part = options.part
        self._handle = Handle(path)
        file = self._handle.file()
        self._n = self._rows("point", "f", None)
        self._rows("cluster", "i", self._n)
        self._extras = [n for n in ("cluster_extra", "cluster_extra_2", "interaction_extra") if n in file]
        for name in self._extras:
            self._rows(name, "f", self._n)
        datasets = ("point", "cluster", *self._extras)
        self._table_rows = {name: VlenRows(file[name], path=path) for name in datasets}
        self._widths = self._find_widths()
        self.version = self._version()
        with safety.reading(f"{path}, attributes"):
            attributes = {k: v.item() if isinstance(v, np.generic) else v for k, v in file.attrs.items()}
            voxel_mm = options.voxel_mm or float(attributes.get("voxel_mm", 3.0))
            self._grid = np.broadcast_to(np.asarray(options.grid or attributes.get("grid", 768), int), 3)
            origin = np.broadcast_to(np.asarray(attributes.get("origin_mm", -384.0 * voxel_mm), float), 3)
        self.parts = {
            self._part: image3d_schema(
                voxels=(*POINT, *LABELS),
                fragments=self._fragment_columns(),
                interactions=("interaction_id", "vertex") if "interaction_extra" in self._extras else (),
                voxel_mm=voxel_mm,
                grid=tuple(self._grid.tolist()),
                origin_mm=tuple(origin.tolist()),
            )
        }
        simple = {k: v for k, v in attributes.items() if isinstance(v, str | int | float | bool)}
        self.provenance = {"format": f"PILArNet-M {self.version}", "file": path.name, "attributes": simple}

    def _rows(self, name: str, kind: str, n: int | None) -> int:
        """Checks a dataset of variable-length rows; returns the number of its rows."""
        found = safety.dataset(self._handle.file(), name, path=self.path)
        where = f"{self.path}, field {name}"
        safety.expect(found, path=self.path, shape=(n,))
        base = h5py.check_vlen_dtype(found.dtype)
        wanted = "float32" if kind == "f" else "int32 or int64"
        if (
            base is None
            or base.kind != kind
            or (kind == "f" and base.itemsize != 4)
            or base.itemsize not in {4, 8}
        ):
            raise DataError(
                f"wanted rows of variable length of {wanted}, found {base or found.dtype}", where=where
            )
        return int(found.shape[0])

    def _find_widths(self) -> dict[str, int]:
        """Columns of ``cluster`` and ``cluster_extra``, from the first event that tells."""
        widths = {"cluster": 6, "cluster_extra": 5}
        for event in np.flatnonzero(self._table_rows["cluster"].lengths).tolist():
            points = int(self._table_rows["point"].lengths[event]) // 8
            row = self._row("cluster", event)
            fits = [
                w for w in (6, 5) if len(row) % w == 0 and row[::w].sum() == points and (row[::w] >= 0).all()
            ]
            if not fits:
                continue
            clusters = len(row) // fits[0]
            widths["cluster"] = fits[0]
            if "cluster_extra" in self._extras:
                numbers = int(self._table_rows["cluster_extra"].lengths[event])
                if numbers not in {5 * clusters, 6 * clusters}:
                    what = f"wanted {clusters} rows of 5 or 6 numbers, found {numbers} numbers"
                    raise DataError(what, where=f"{self.path}, event {event}, field cluster_extra")
                widths["cluster_extra"] = numbers // clusters
            break
        return widths

    def _version(self) -> str:
        if {"cluster_extra_2", "interaction_extra"} & set(self._extras):
            return "v3_extra"
        if "cluster_extra" not in self._extras or self._widths["cluster"] == 5:
            return "v1"
        return "v3" if self._widths["cluster_extra"] == 6 else "v2"

    def _fragment_columns(self) -> list[str]:
        columns = list(CLUSTER[1 : self._widths["cluster"]])
        columns.insert(4, "n_voxels")
        if "cluster_extra" in self._extras:
            columns += ["mass_mev", "momentum_gev", "vertex"]
            columns += ["is_primary"] if self._widths["cluster_extra"] == 6 else []
        if "cluster_extra_2" in self._extras:
            columns += ["momentum_xyz_gev", "parent_pdg", "parent_track_id"]
        return columns

    def __len__(self) -> int:
        return self._n

    def event_ids(self) -> np.ndarray[Any, Any]:
        """``(len,)`` uint64: of the file's digest and the index."""
        return self._ids(range(self._n))

    def _ids(self, indices: Sequence[int]) -> np.ndarray[Any, Any]:
        digest = file_digest(self.path)
        return np.array([stable_id(digest, int(i)) for i in indices], np.uint64)

    def lengths(self, part: str) -> np.ndarray[Any, Any]:  # noqa: ARG002  there is one part
        """``(len,)`` int64 points of each event, without reading them."""
        return self._table_rows["point"].lengths // 8

    def read(self, indices: Sequence[int], *, labels: bool = True) -> Batch:
        """The events at these indices; rows in the file's order.

        Raises:
            DataError: An event's tables do not fit each other, or hold what they cannot.
        """
        wanted = event_indices(indices, self._n, path=self.path).tolist()
        ids = self._ids(wanted).tolist()
        events = [self._event(i, e, labels=labels) for i, e in zip(wanted, ids, strict=True)]
        return pack(events, self.parts, labels=labels)

    def _row(self, name: str, event: int) -> np.ndarray[Any, Any]:
        return self._table_rows[name].row(event, self._handle)

    def _table(self, name: str, event: int, width: int, rows: int | None = None) -> np.ndarray[Any, Any]:
        """One event's table ``(rows, width)``."""
        row = self._row(name, event)
        if len(row) % width or (rows is not None and len(row) != rows * width):
            wanted = f"{rows} rows of {width}" if rows is not None else f"rows of {width}"
            what = f"wanted {wanted} numbers, found {len(row)} numbers"
            raise DataError(what, where=f"{self.path}, event {event}, field {name}")
        return row.reshape(-1, width)

    def _event(self, event: int, event_id: int, *, labels: bool) -> Sample:
        where = f"{self.path}, event {event}, field "
        point = self._table("point", event, 8)
        voxel = point[:, :3]
        fits = (voxel >= 0) & (voxel < self._grid) & (voxel == np.floor(voxel))
        if not fits.all():
            what = f"a voxel index is not a whole number within the grid {self._grid.tolist()}"
            bad = voxel[~fits.all(1)][0]
            fix = "set the reader's option grid, where the file was made with another"
            raise DataError(f"{what}: {bad.tolist()}", where=where + "point", fix=fix)
        inputs = {"voxel": voxel.astype(np.uint16)}
        inputs |= {name: point[:, 3 + i].copy() for i, name in enumerate(POINT[1:])}
        if not labels:
            return Sample(event_id=event_id, parts={self._part: {"voxels": inputs}})
        cluster = self._table("cluster", event, self._widths["cluster"])
        counts = cluster[:, 0]
        if (counts < 0).any() or counts.sum() != len(point):
            what = (
                f"the clusters' numbers of points add up to {counts.sum()}, the event has {len(point)} points"
            )
            raise DataError(what, where=where + "cluster")
        if len(cluster) and (cluster.min() < -(2**31) or cluster.max() >= 2**31):
            raise DataError("a number does not fit 32 bits", where=where + "cluster")
        if len(cluster) and not ((cluster[:, 4:] >= -128) & (cluster[:, 4:] < 128)).all():
            raise DataError("a semantic class or pid does not fit 8 bits", where=where + "cluster")
        truth = {
            name: np.repeat(cluster[:, i], counts)
            for i, name in enumerate(("fragment", "group", "interaction", "semantic"), start=1)
        }
        tables = {"voxels": truth, "fragments": self._fragments(event, cluster)}
        if "interaction_extra" in self._extras:
            rows = self._table("interaction_extra", event, 4)
            if not _are_int32(rows[:, 0]):
                raise DataError("an interaction_id does not fit 32 bits", where=where + "interaction_extra")
            tables["interactions"] = {"interaction_id": rows[:, 0], "vertex": rows[:, 1:]}
        return Sample(event_id=event_id, parts={self._part: {"voxels": inputs}}, labels={self._part: tables})

    def _fragments(self, event: int, cluster: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
        columns = {name: cluster[:, i] for i, name in enumerate(CLUSTER[: cluster.shape[1]])}
        if "cluster_extra" in self._extras:
            extra = self._table("cluster_extra", event, self._widths["cluster_extra"], len(cluster))
            columns |= {"mass_mev": extra[:, 0], "momentum_gev": extra[:, 1], "vertex": extra[:, 2:5]}
            if extra.shape[1] == 6:
                columns["is_primary"] = extra[:, 5]
        if "cluster_extra_2" in self._extras:
            extra = self._table("cluster_extra_2", event, 5, len(cluster))
            if not _are_int32(extra[:, 3:]):
                where = f"{self.path}, event {event}, field cluster_extra_2"
                raise DataError("parent_pdg or parent_track_id does not fit 32 bits", where=where)
            columns |= {
                "momentum_xyz_gev": extra[:, :3],
                "parent_pdg": extra[:, 3],
                "parent_track_id": extra[:, 4],
            }
        return columns

    def digest(self) -> str:
        """Of the file's bytes, and of the options where they are not the default's."""
        digest = file_digest(self.path)
        if self._options == self.Config():
            return digest
        return json_digest([digest, self._options.model_dump()])

    def check(self) -> Iterator[str]:
        """Reads every event; yields one sentence for each that is bad."""
        return bad_events(self)

    def close(self) -> None:
        self._handle.close()


def _are_int32(numbers: np.ndarray[Any, Any]) -> bool:
    """Whether float32 numbers can be cast to int32; NaN and infinity cannot."""
    return bool(((numbers >= -(2.0**31)) & (numbers < 2.0**31)).all())
