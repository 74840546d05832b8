"""Reads the event store: one HDF5 file, or a folder of shards in the order of their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self

import h5py
import numpy as np
from pydantic import BaseModel, ConfigDict

from hepfm.api import Batch, PartSchema, RaggedTable
from hepfm.errors import DataError
from hepfm.readers import layout
from hepfm.readers.checks import bad_values, event_indices
from hepfm.readers.chunks import ChunkCache
from hepfm.readers.digest import json_digest
from hepfm.readers.layout import PARTIAL, disk_dtype
from hepfm.readers.pack import columns_of, offsets_of
from hepfm.readers.plan import refuse_unfinished
from hepfm.readers.safety import DAMAGE
from hepfm.readers.shard import Shard
from hepfm.readers.writer import StoreWriter, schema_differences

_SUFFIXES = (".h5", ".hdf5")


_Run = tuple[Shard, int, int, int]
"""Neighbouring events of one block that are wanted one after the other: shard, block, first, last + 1."""


class _Spans(NamedTuple):
    """Rows of one table: where each run starts and stops within its block, and the events' offsets (B+1,)."""

    starts: list[int]
    stops: list[int]
    offsets: np.ndarray[Any, Any]


def _added_up(shards: Sequence[Shard]) -> dict[str, dict[str, int]]:
    """What the provenance of all shards counts, as one."""
    total: Counter[str] = Counter()
    for shard in shards:
        counts = shard.provenance.get(layout.COUNTS)
        if isinstance(counts, dict):
            total.update({key: n for key, n in counts.items() if isinstance(n, int)})
    return {layout.COUNTS: dict(sorted(total.items()))} if total else {}


class StoreReader:
    """Events of a store, with random access by index.

    Resident memory is the rows' offsets, 4 bytes an event and table that is read.

    Raises:
        DataError: It is not a store, a shard is broken, or shards have different schemas.
    """

    class Config(BaseModel):
        """Options of the reader."""

        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        verify: bool = False
        """Whether each block's digest is checked before its first use (reads it once more)."""

    path: Path
    parts: Mapping[str, PartSchema]
    provenance: Mapping[str, Any]

    @classmethod
    def sniff(cls, path: Path) -> bool:
        """Whether the path is a store file, or a folder whose first HDF5 file is one."""
        files = _shards(path) if path.is_dir() else [path]
        try:
            with h5py.File(files[0], "r", locking="best-effort") as file:
                return "hepfm_store" in file.attrs
        except (*DAMAGE, IndexError):
            return False

    def __init__(self, path: Path, config: Config | None = None) -> None:
        self.path = path = Path(path)
        files = _shards(path) if path.is_dir() else [path]
        if not files:
            what = "the folder holds no finished shard"
            raise DataError(what, where=str(path), fix="finish its conversion: run the same command again")
        verify = (config or self.Config()).verify
        chunks = ChunkCache()
        self._shards = [Shard(file, verify=verify, chunks=chunks) for file in files]
        first = self._shards[0]
        self.parts = first.parts
        self.provenance = {**first.provenance, **_added_up(self._shards)}
        for shard in self._shards[1:]:
            if differences := schema_differences(first.parts, shard.parts):
                what = f"shards differ from {first.path.name}: " + "; ".join(differences)
                raise DataError(what, where=str(shard.path), fix="convert both from their sources again")
        # Blocks of all shards in one order: which shard, which block of it, its first event.
        self._block_shard = np.repeat(np.arange(len(files)), [s.n_blocks for s in self._shards])
        self._block_first = np.concatenate([np.arange(s.n_blocks) for s in self._shards]).astype(np.int64)
        ends = offsets_of([len(s) for s in self._shards])
        starts = [s.starts[:-1] + e for s, e in zip(self._shards, ends[:-1], strict=True)]
        self._starts = np.concatenate([*starts, ends[-1:]]).astype(np.int64)
        refuse_unfinished(path, len(self))

    def __len__(self) -> int:
        return int(self._starts[-1])

    def event_ids(self) -> np.ndarray[Any, Any]:
        """``(len,)`` uint64, as written at conversion."""
        ids = np.empty(len(self), np.uint64)
        for (shard, k), first, last in zip(self._blocks(), self._starts[:-1], self._starts[1:], strict=True):
            ids[first:last] = shard.event_ids(k)
        return ids

    def lengths(self, part: str) -> np.ndarray[Any, Any]:
        """``(len,)`` int64: rows of the part's primary table."""
        primary = self.parts[part].primary
        lengths = np.empty(len(self), np.int64)
        for (shard, k), first, last in zip(self._blocks(), self._starts[:-1], self._starts[1:], strict=True):
            lengths[first:last] = np.diff(shard.offsets(k, part, primary))
        return lengths

    def _blocks(self) -> Iterator[tuple[Shard, int]]:
        for shard in self._shards:
            for k in range(shard.n_blocks):
                yield shard, k

    def read(self, indices: Sequence[int] | np.ndarray[Any, Any], *, labels: bool = True) -> Batch:
        """The events at these indices, in this order.

        Raises:
            DataError: An index is out of range, or the file is damaged where they are.
        """
        index = event_indices(indices, len(self), path=self.path)
        runs = list(self._runs(index))
        wanted = {(p, t) for p, s in self.parts.items() for t in columns_of(s, label=False)}
        wanted |= {(p, s.primary) for p, s in self.parts.items()}
        if labels:
            wanted |= {(p, t) for p, s in self.parts.items() for t in columns_of(s, label=True)}
        spans = {key: _spans(runs, *key) for key in wanted}
        ids = np.empty(len(index), "<u8")
        at = 0
        for shard, k, first, last in runs:
            shard.read_into(ids[at : at + last - first], k, ("event_ids",), first)
            at += last - first
        return Batch(
            event_ids=ids.astype(np.uint64, copy=False).view(np.int64),
            cost=sum(
                (np.diff(spans[p, s.primary].offsets) for p, s in self.parts.items()),
                np.zeros(len(index), np.int64),
            ),
            parts={p: self._tables(runs, spans, p, label=False) for p in self.parts},
            labels={p: t for p in self.parts if (t := self._tables(runs, spans, p, label=True))}
            if labels
            else {},
        )

    def _runs(self, index: np.ndarray[Any, Any]) -> Iterator[_Run]:
        block = np.searchsorted(self._starts, index, side="right") - 1
        cuts = np.flatnonzero((np.diff(index) != 1) | (np.diff(block) != 0)) + 1
        row = index - self._starts[block]
        shards, numbers = self._block_shard[block].tolist(), self._block_first[block].tolist()
        edges = [0, *cuts.tolist(), len(index)] if len(index) else []
        rows = row.tolist()
        for a, b in pairwise(edges):
            yield self._shards[shards[a]], numbers[a], rows[a], rows[a] + b - a

    def _tables(
        self, runs: list[_Run], spans: Mapping[tuple[str, str], _Spans], part: str, *, label: bool
    ) -> dict[str, RaggedTable]:
        tables = {}
        for table, names in columns_of(self.parts[part], label=label).items():
            span = spans[part, table]
            columns = {}
            for name in names:
                column = self.parts[part].tables[table][name]
                out = np.empty((int(span.offsets[-1]), *column.shape), disk_dtype(column))
                at, key = 0, (part, table, name)
                for (shard, k, _, _), start, stop in zip(runs, span.starts, span.stops, strict=True):
                    shard.read_into(out[at : at + stop - start], k, key, start)
                    at += stop - start
                columns[name] = out.astype(column.dtype, copy=False)
            tables[table] = RaggedTable(columns, span.offsets)
        return tables

    def digest(self) -> str:
        """Of the schema and all blocks; for a folder, of its shards in order."""
        digests = [shard.digest for shard in self._shards]
        return digests[0] if len(digests) == 1 else json_digest(digests)

    def check(self) -> Iterator[str]:
        """Reads everything: digests, offsets, values that are not finite, classes outside the vocabulary."""
        for left in sorted(self.path.glob(f"*{PARTIAL}")) if self.path.is_dir() else ():
            yield f"{left}: the shard was not finished; its events are missing"
        first = 0
        for shard, k in self._blocks():
            last = first + int(shard.starts[k + 1] - shard.starts[k])
            try:
                if bad := shard.corrupt(k):
                    yield f"{shard.path}, block {k} (events {first} to {last - 1}): {bad}"
                batch = self.read(np.arange(first, last))
                yield from bad_values(batch, self.parts, path=shard.path, first=first)
            except DataError as error:
                yield f"{error.where or shard.path}: {error.what}"
            first = last
        for shard in self._shards:
            try:
                if bad := shard.altered():
                    yield f"{shard.path}: {bad}"
            except DataError as error:
                yield f"{error.where}: {error.what}"

    def close(self) -> None:
        for shard in self._shards:
            shard.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _spans(runs: list[_Run], part: str, table: str) -> _Spans:
    starts, stops, lengths = [], [], []
    for shard, k, first, last in runs:
        offsets = shard.offsets(k, part, table)
        start, stop = int(offsets[first]), int(offsets[last])
        starts.append(start)
        stops.append(stop)
        if last - first == 1:
            lengths.append(stop - start)
        else:
            lengths.extend(np.diff(offsets[first : last + 1]).tolist())
    return _Spans(starts, stops, offsets_of(lengths))


def _shards(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix in _SUFFIXES and not p.name.startswith("."))


__all__ = ["StoreReader", "StoreWriter"]
