"""Writes the event store, block by block; `hepfm.readers.layout` says what is in a file."""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import h5py
import hdf5plugin
import numpy as np

from hepfm.api import Batch, PartSchema
from hepfm.errors import DataError
from hepfm.readers import layout
from hepfm.readers.digest import arrays_digest
from hepfm.readers.pack import concat, take
from hepfm.readers.storing import refuse_full

Compression = Literal["none", "zstd"]
_CHUNK_BYTES = 1 << 18


class StoreWriter:
    """Writes events to a store: one file, or a folder of shards.

    Nothing exists under its final name before it is complete; a shard is complete when it is full or the
    writer is closed. Leaving a ``with`` block by an error discards what is not.

    Args:
        path: The file; with ``shard_events`` the folder.
        parts: Part name to schema.
        provenance: Where the events come from, as JSON.
        block_events: Events of a block.
        compression: ``zstd`` after a shuffle of bytes (of bits for small integers), or none.
        compression_level: zstd's, 1 to 22.
        shard_events: Events of a shard.
        append: Whether an existing store of the same schema is added to. A file is copied first, so that a
            kill harms nothing: use shards for what is large.

    Raises:
        DataError: The path exists (without ``append``), or its schema differs.
    """

    def __init__(
        self,
        path: Path,
        parts: Mapping[str, PartSchema],
        provenance: Mapping[str, Any],
        *,
        block_events: int = 1024,
        compression: Compression = "none",
        compression_level: int = 5,
        shard_events: int | None = None,
        append: bool = False,
    ) -> None:
        layout.check_parts(parts)
        self.path, self.parts, self.provenance = path, parts, provenance
        self._block_events, self._shard_events = block_events, shard_events
        self._compression, self._level = compression, compression_level
        self._pending: list[Batch] = []
        self._room = self._shard_events or math.inf
        self._file: h5py.File | None = None
        self._blocks: list[tuple[int, str]] = []
        self._shard = 0
        self._append_to: Path | None = None
        if path.exists():
            if not append:
                what = "the store exists already"
                raise DataError(what, where=str(path), fix="give another path, remove it, or append to it")
            self._prepare_append()
        (path if shard_events else path.parent).mkdir(parents=True, exist_ok=True)

    def _prepare_append(self) -> None:
        from hepfm.readers.store import StoreReader

        with StoreReader(self.path) as there:
            if differences := schema_differences(there.parts, self.parts):
                what = "the store has another schema: " + "; ".join(differences)
                raise DataError(what, where=str(self.path), fix="write a new store")
        if self.path.is_dir() != bool(self._shard_events):
            kind = "a folder of shards" if self.path.is_dir() else "one file"
            raise DataError(f"the store is {kind}", where=str(self.path), fix="append to it as such")
        if self.path.is_dir():
            self._shard = 1 + max(
                (int(p.stem) for p in self.path.glob("*.h5") if p.stem.isdigit()), default=-1
            )
        else:
            self._append_to = self.path

    def write(self, batch: Batch) -> None:
        """Adds events (all of the schema's columns, with their exact types), kept until a block is full.

        Raises:
            DataError: A column is missing, has another type or shape, or offsets that do not fit.
        """
        _check_batch(batch, self.parts)
        while len(batch):
            pending = sum(map(len, self._pending))
            fits = int(min(len(batch), self._block_events - pending, self._room - pending))
            fits = _rows_that_fit(batch, fits, sum(int(b.cost.sum()) for b in self._pending))
            if fits:
                self._pending.append(batch if fits == len(batch) else take(batch, np.arange(fits)))
                batch = take(batch, np.arange(fits, len(batch)))
            full = sum(map(len, self._pending)) >= min(self._block_events, self._room)
            if full or (len(batch) and not fits):
                self._flush()

    def _flush(self) -> None:
        if self._pending:
            block = concat(self._pending)
            self._pending = []
            self._write_block(block)
            self._room -= len(block)
        if self._room <= 0:
            self._finish()

    def _write_block(self, block: Batch) -> None:
        file = self._open()
        group = file.create_group(layout.block_name(len(self._blocks)))
        arrays = block_arrays(block, self.parts)
        if self._compression == "none":
            refuse_full(self._aside(), sum(array.nbytes for array in arrays.values()))
        for name, array in arrays.items():
            if twin := _twin(name, arrays):
                group[name] = group[twin]
            else:
                group.create_dataset(name, data=array, **self._filters(array))
        digest = arrays_digest(arrays)
        group.attrs["digest"] = layout.text(digest)
        self._blocks.append((len(block), digest))

    def _filters(self, array: np.ndarray[Any, Any]) -> dict[str, Any]:
        if self._compression == "none" or not array.size:
            return {}
        rows = min(max(1, _CHUNK_BYTES * len(array) // array.nbytes), len(array))
        chunks = {"chunks": (rows, *array.shape[1:])}
        if array.dtype.kind in "iu" and array.itemsize <= 2:
            # Voxel indices: bits that neighbours share come together (1.7 times smaller than by bytes).
            return {**chunks, **hdf5plugin.Bitshuffle(cname="zstd", clevel=self._level)}
        return {**chunks, "shuffle": True, **hdf5plugin.Zstd(clevel=self._level)}

    def _target(self) -> Path:
        return self.path / f"{self._shard:05d}.h5" if self._shard_events else self.path

    def _aside(self) -> Path:
        target = self._target()
        return target.with_name(target.name + layout.PARTIAL)

    def _open(self) -> h5py.File:
        if self._file is None:
            aside = self._aside()
            if aside.exists():
                _refuse_written(aside)
                warnings.warn(f"{aside} was not finished and is dropped", stacklevel=2)
                aside.unlink()
            if self._append_to:
                shutil.copyfile(self._append_to, aside)
            self._file = h5py.File(aside, "a", libver="latest", locking="best-effort")
            self._file.attrs["hepfm_store"] = layout.VERSION
            self._file.attrs["parts"] = layout.text(layout.parts_to_json(self.parts))
            self._blocks = self._keep_complete_blocks(self._file)
            said = json.dumps(self._provenance(self._file), sort_keys=True)
            self._file.attrs["provenance"] = layout.text(said)
        return self._file

    def _provenance(self, file: h5py.File) -> Mapping[str, Any]:
        if "provenance" not in file.attrs:
            return self.provenance
        before = json.loads(file.attrs["provenance"])
        return (
            before
            if before == self.provenance
            else {**before, "appended": [*before.get("appended", ()), self.provenance]}
        )

    def remark(self, said: Mapping[str, Any]) -> None:
        """Adds to the provenance of the file that is written what is known after its last event."""
        self.provenance = {**self.provenance, **said}
        if self._file is not None:
            whole = {**json.loads(self._file.attrs["provenance"]), **said}
            self._file.attrs["provenance"] = layout.text(json.dumps(whole, sort_keys=True))

    def _keep_complete_blocks(self, file: h5py.File) -> list[tuple[int, str]]:
        kept: list[tuple[int, str]] = []
        for name in sorted(file.get("blocks", ())):
            group = file[f"blocks/{name}"]
            if "digest" not in group.attrs or "event_ids" not in group:
                warnings.warn(f"{self.path}: block {name} was not finished and is dropped", stacklevel=2)
                del file[f"blocks/{name}"]
                continue
            if layout.block_name(len(kept)) != f"blocks/{name}":
                file.move(f"blocks/{name}", layout.block_name(len(kept)))
            kept.append((len(group["event_ids"]), layout.words(group.attrs["digest"]) or ""))
        return kept

    def _finish(self) -> None:
        file, aside = self._open(), self._aside()
        if "block_events" in file:
            del file["block_events"]
        file.create_dataset("block_events", data=np.array([n for n, _ in self._blocks], "<i8"))
        digest = layout.store_digest(layout.parts_to_json(self.parts), [digest for _, digest in self._blocks])
        file.attrs["digest"] = layout.text(digest)
        file.close()
        with aside.open("rb+") as written:
            os.fsync(written.fileno())
        aside.replace(self._target())
        self._file, self._blocks, self._append_to = None, [], None
        self._shard += 1
        self._room = self._shard_events or math.inf

    def close(self) -> None:
        """Writes what is left and puts the last shard under its name. A store may hold no events."""
        if self._pending:
            self._flush()
        if self._file is not None or not self._target_written():
            self._finish()

    def _target_written(self) -> bool:
        return any(self.path.glob("*.h5")) if self._shard_events else self.path.exists()

    def discard(self) -> None:
        """Removes what is not complete."""
        if self._file is not None:
            with suppress(OSError):  # on a full disk, HDF5 needs room to close what it discards
                os.truncate(self._aside(), 0)
            with suppress(OSError, RuntimeError):
                self._file.close()
            self._file = None
            self._aside().unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self.discard()


def _refuse_written(aside: Path) -> None:
    """Raises `DataError` for a file that another process writes: HDF5 holds a lock on it."""
    with aside.open("rb") as file, suppress(OSError):  # of a file system without locks
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            what = "another process is writing this file"
            raise DataError(what, where=str(aside), fix="wait for it, or stop it") from None


def block_arrays(block: Batch, parts: Mapping[str, PartSchema]) -> dict[str, np.ndarray[Any, Any]]:
    """Path within a block's group to the array that is stored there."""
    arrays = {"event_ids": block.event_ids.view(np.uint64).astype("<u8")}
    for part, table, name, column in layout.columns(parts):
        source = (block.labels if column.label else block.parts)[part][table]
        arrays[f"{part}/{table}/{name}"] = source.columns[name].astype(layout.disk_dtype(column))
        arrays[f"{part}/{table}/offsets"] = source.offsets.astype("<u4")
    return arrays


def _twin(name: str, arrays: Mapping[str, np.ndarray[Any, Any]]) -> str | None:
    """An earlier array of the same bits, to be stored once: PILArNet's dE is often its voxel value."""
    array = arrays[name]
    for other, earlier in arrays.items():
        if other == name:
            return None
        alike = earlier.dtype == array.dtype and earlier.shape == array.shape and array.size
        if alike and np.array_equal(earlier.view(np.uint8), array.view(np.uint8)):
            return other
    return None


def schema_differences(have: Mapping[str, PartSchema], want: Mapping[str, PartSchema]) -> list[str]:
    """One sentence for each difference; empty where a store can hold both."""
    one, two = (json.loads(layout.parts_to_json(parts)) for parts in (have, want))

    def walk(a: Any, b: Any, where: str) -> list[str]:
        if isinstance(a, dict) and isinstance(b, dict):
            keys = sorted(a.keys() | b.keys())
            return [d for k in keys for d in walk(a.get(k), b.get(k), f"{where}.{k}" if where else k)]
        return [] if a == b else [f"{where} is {shown(a)} there, {shown(b)} here"]

    def shown(value: Any) -> str:
        return "missing" if value is None else "given" if isinstance(value, dict) else json.dumps(value)

    return walk(one, two, "")


def _rows_that_fit(batch: Batch, events: int, rows_before: int) -> int:
    # At least one event goes into an empty block, however long it is.
    ends = np.cumsum(batch.cost[:events]) + rows_before
    fits = int(np.searchsorted(ends, layout.MAX_BLOCK_ROWS, side="right"))
    return max(fits, 1) if events and not rows_before else fits


def _check_batch(batch: Batch, parts: Mapping[str, PartSchema]) -> None:
    lengths: dict[tuple[str, str], np.ndarray[Any, Any]] = {}
    for part, table, name, column in layout.columns(parts):
        where = f"part {part}, table {table}, column {name}"
        source = (batch.labels if column.label else batch.parts).get(part, {}).get(table)
        if source is None or name not in source.columns:
            raise DataError("the batch lacks a column of the schema", where=where)
        values, offsets = source.columns[name], source.offsets
        if values.dtype != np.dtype(column.dtype) or values.shape[1:] != column.shape:
            wanted, found = f"{column.dtype} {column.shape}", f"{values.dtype} {values.shape[1:]}"
            raise DataError(f"wanted rows of {wanted}, found {found}", where=where)
        if (
            len(offsets) != len(batch) + 1
            or offsets[0] != 0
            or offsets[-1] != len(values)
            or (np.diff(offsets) < 0).any()
        ):
            raise DataError("the offsets do not fit the rows", where=where)
        if not np.array_equal(lengths.setdefault((part, table), source.lengths), source.lengths):
            raise DataError("the columns of a table differ in length", where=where)
