"""Writes PILArNet-M v2, as existing readers of that format open it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hepfm.api import Batch, PartSchema, Tables
from hepfm.errors import DataError
from hepfm.readers.layout import PARTIAL

POINT = ("voxel", "energy_mev", "de_mev", "time_ns", "electrons", "dx_mm")
"""Columns of a voxel in the order of the dataset ``point``."""
LABELS = ("semantic", "fragment", "group", "interaction")
"""Labels of a voxel, which the dataset ``cluster`` gives it."""
CLUSTER = ("n_voxels", "fragment_id", "group_id", "interaction_id", "semantic", "pid")
"""Columns of a fragment in the order of the dataset ``cluster``."""

_NO_PARTICLE = -1
_LED = 4
_CHUNK = 1024


def write_pilarnet(
    path: Path, batches: Iterable[Batch], parts: Mapping[str, PartSchema], provenance: Mapping[str, Any]
) -> int:
    """Writes events as one PILArNet-M v2 file, aside first, under its name when complete.

    Points are put into the order of their clusters, as the format wants. A column that the events lack is
    written as PILArNet marks the unknown: dE as the voxel's energy, other point columns as 0, extras as -1.

    Args:
        path: The file.
        batches: Events with labels.
        parts: Their schemas; exactly one part of kind ``image3d``, with the label columns of ``voxels``.
        provenance: Written as attributes where it is text or a number.

    Returns:
        The number of events.

    Raises:
        DataError: The events have no such part or no labels, or a fragment's voxels are not all there.
    """
    part, schema = _image_part(parts, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + PARTIAL)
    n = 0
    with h5py.File(aside, "w", libver="latest", locking="best-effort") as file:
        found = {
            name: file.create_dataset(name, (0,), h5py.vlen_dtype(kind), maxshape=(None,), chunks=(_CHUNK,))
            for name, kind in (("point", np.float32), ("cluster", np.int64), ("cluster_extra", np.float32))
        }
        for batch in batches:
            for dataset in found.values():
                dataset.resize((n + len(batch),))
            for row in range(len(batch)):
                sample = batch.event(row)
                where = f"{path}, event {n} (id {sample.event_id:#018x})"
                for name, table in event_rows(sample.parts[part], sample.labels[part], where=where).items():
                    found[name][n] = table.reshape(-1)
                n += 1
        file.attrs["voxel_mm"] = float(schema.attributes["voxel_mm"])
        file.attrs["grid"] = np.array(schema.attributes["grid"], np.int64)
        file.attrs["origin_mm"] = np.array(schema.attributes["origin_mm"], np.float64)
        for key, value in provenance.items():
            if isinstance(value, str | int | float) and key not in file.attrs:
                file.attrs[key] = value
    aside.replace(path)
    return n


def left_out(parts: Mapping[str, PartSchema]) -> list[str]:
    """Columns of these parts that PILArNet-M v2 has no place for, as ``part.table.column``."""
    held = {
        "voxels": (*POINT, *LABELS),
        "fragments": (*CLUSTER, "mass_mev", "momentum_gev", "vertex"),
    }
    return [
        f"{part}.{table}.{column}"
        for part, schema in parts.items()
        for table, columns in schema.tables.items()
        for column in columns
        if column not in held.get(table, ())
    ]


def _image_part(parts: Mapping[str, PartSchema], path: Path) -> tuple[str, PartSchema]:
    images = [name for name, schema in parts.items() if schema.kind == "image3d"]
    if len(images) != 1:
        raise DataError(f"PILArNet holds one 3D image an event, found {len(images)}", where=str(path))
    schema = parts[images[0]]
    if missing := set(LABELS) - set(schema.tables["voxels"]):
        what = f"PILArNet needs labels of each voxel; missing: {', '.join(sorted(missing))}"
        raise DataError(what, where=str(path), fix="write an event store instead")
    return images[0], schema


def event_rows(inputs: Tables, labels: Tables, *, where: str = "") -> dict[str, np.ndarray[Any, Any]]:
    """One event as PILArNet v2's tables: ``point (N, 8)``, ``cluster (M, 6)``, ``cluster_extra (M, 5)``.

    Raises:
        DataError: The voxels do not add up to the fragments.
    """
    voxels, truth = inputs["voxels"], labels["voxels"]
    n = len(voxels["voxel"])
    unknown = np.zeros(n, np.float32)
    point = np.column_stack(
        [
            voxels["voxel"],
            voxels["energy_mev"],
            voxels.get("de_mev", voxels["energy_mev"]),
            *(voxels.get(name, unknown) for name in ("time_ns", "electrons", "dx_mm")),
        ]
    ).astype(np.float32)
    cluster, extra = _clusters(truth, labels.get("fragments"))
    # Voxels go to the row of cluster that has their fragment; equal fragments cannot be told apart.
    by_id = np.argsort(cluster[:, 1], kind="stable")
    ids = cluster[by_id, 1]
    at = np.minimum(np.searchsorted(ids, truth["fragment"]), max(len(ids) - 1, 0))
    if n and (not len(ids) or (ids[at] != truth["fragment"]).any()):
        raise DataError("a voxel's fragment is not in the table of fragments", where=where)
    row = by_id[at] if n else np.empty(0, np.int64)
    counts = np.bincount(row, minlength=len(cluster))
    if not np.array_equal(counts, cluster[:, 0]):
        bad = int(np.flatnonzero(counts != cluster[:, 0])[0])
        have = f"{cluster[bad, 0]} voxels in its table, {counts[bad]} in the image"
        what = f"fragment {cluster[bad, 1]} has {have}"
        raise DataError(what, where=where, fix="write the events before any cut")
    return {"point": point[np.argsort(row, kind="stable")], "cluster": cluster, "cluster_extra": extra}


def _clusters(
    truth: Mapping[str, np.ndarray[Any, Any]], fragments: Mapping[str, np.ndarray[Any, Any]] | None
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    if (
        fragments is None
    ):  # from the voxels' labels; low-energy deposits (fragment -1) come first by themselves
        ids, first, counts = np.unique(truth["fragment"], return_index=True, return_counts=True)
        columns = [truth[name][first] for name in ("group", "interaction", "semantic")]
        cluster = np.column_stack([counts, ids, *columns, np.full(len(ids), _NO_PARTICLE)])
        if not (ids == -1).any():
            cluster = np.vstack([[[0, -1, -1, -1, _LED, _NO_PARTICLE]], cluster])
        return cluster.astype(np.int64), np.full((len(cluster), 5), -1, np.float32)
    n = len(fragments["fragment_id"])
    pid = fragments.get("pid", np.full(n, _NO_PARTICLE))
    names = ("n_voxels", "fragment_id", "group_id", "interaction_id", "semantic")
    cluster = np.column_stack([*(fragments[name] for name in names), pid]).astype(np.int64)
    unknown = np.full(n, -1, np.float32)
    extra = [fragments.get(name, unknown) for name in ("mass_mev", "momentum_gev")]
    vertex = fragments.get("vertex", np.full((n, 3), -1, np.float32))
    return cluster, np.column_stack([*extra, vertex]).astype(np.float32)
