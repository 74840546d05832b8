"""One file of an event store: where its rows are, and reading runs of them.

Contiguous columns are read with ``pread`` at the byte offset that HDF5 reports: a system call of 1 us
instead of an HDF5 call of 3 us, straight into the caller's array, and safe after a fork.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hepfm.api import PartSchema
from hepfm.errors import DataError
from hepfm.readers import layout, safety
from hepfm.readers.chunks import ChunkCache
from hepfm.readers.digest import arrays_digest
from hepfm.readers.handle import Handle

Key = tuple[str, ...]
"""(part, table, column), or ``("event_ids",)``."""


@dataclass(slots=True)
class _Block:
    """What is known of a block: filled as it is asked for."""

    group: str
    events: int
    offsets: dict[tuple[str, str], np.ndarray[Any, Any]] = field(default_factory=dict)
    places: dict[Key, int | None] = field(default_factory=dict)
    """Byte offset of a contiguous column; None for one that HDF5 has to decompress."""
    chunk_rows: dict[Key, int] = field(default_factory=dict)
    """Rows of a chunk, of columns that HDF5 has to decompress."""


class Shard:
    """A file of an event store, open for reading.

    Args:
        path: The file.
        verify: Whether a block's digest is checked before its first use.
        chunks: Keeps decompressed chunks; shards of a store share one.

    Raises:
        DataError: It is not a complete store file.
    """

    def __init__(self, path: Path, *, verify: bool = False, chunks: ChunkCache | None = None) -> None:
        self.path, self._verify, self._chunks = path, verify, chunks or ChunkCache()
        self._handle = Handle(path)
        file = self._handle.file()
        with safety.reading(str(path)):
            version = file.attrs.get("hepfm_store")
        if version is None:
            raise DataError(
                "the file is not an hepfm event store", where=str(path), fix="hepfm data convert makes one"
            )
        if version != layout.VERSION:
            what = f"the store has layout version {version}, this hepfm reads {layout.VERSION}"
            raise DataError(what, where=str(path), fix="use the hepfm that wrote it, or a newer one")
        self.parts: Mapping[str, PartSchema] = layout.parts_from_json(self._attribute("parts"), path=path)
        try:
            self.provenance: dict[str, Any] = dict(json.loads(self._attribute("provenance")))
        except ValueError as error:
            raise DataError(f"the provenance is not JSON ({error})", where=str(path)) from error
        self.digest = self._attribute("digest")
        index = safety.dataset(file, "block_events", path=path)
        safety.expect(index, path=path, dtype="<i8", shape=(None,))
        with safety.reading(f"{path}, field block_events"):
            counts = index[()]
        if (counts < 1).any():
            raise DataError(
                "a block without events", where=f"{path}, field block_events", fix="make the store again"
            )
        where = f"{path}, field block_events"
        safety.refuse_count(sum(counts.tolist()), 8, path=path, where=where)  # an event has an id of 8 bytes
        self._blocks = [_Block(layout.block_name(k), int(n)) for k, n in enumerate(counts)]
        self.starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        """First event of each block, and the number of events."""
        if verify and (bad := self.altered()):
            raise DataError(bad, where=str(path), fix="restore or convert the file again")

    def _attribute(self, name: str) -> str:
        with safety.reading(f"{self.path}, attribute {name}"):
            value = layout.words(self._handle.file().attrs.get(name))
        if value is None:
            what = "an attribute of the store is missing or not text"
            raise DataError(
                what, where=f"{self.path}, attribute {name}", fix="convert it from its source again"
            )
        return value

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def n_blocks(self) -> int:
        return len(self._blocks)

    def _block(self, k: int) -> _Block:
        block = self._blocks[k]
        if not block.places:
            if self._verify and (bad := self.corrupt(k)):
                raise DataError(bad, where=f"{self.path}, block {k}", fix="restore or convert the file again")
            ids = self._dataset(block, "event_ids")
            safety.expect(ids, path=self.path, dtype="<u8", shape=(block.events,))
            found: dict[Key, h5py.Dataset] = {("event_ids",): ids}
            for part, table, name, column in layout.columns(self.parts):
                values = self._dataset(block, f"{part}/{table}/{name}")
                wanted = (None, *column.shape)
                safety.expect(values, path=self.path, dtype=layout.disk_dtype(column), shape=wanted)
                found[part, table, name] = values
            # All or none: a damaged block stays unknown, and is refused again.
            for key, values in found.items():
                self._place(block, key, values)
        return block

    def _place(self, block: _Block, key: Key, found: h5py.Dataset) -> None:
        block.places[key] = found.id.get_offset() if found.chunks is None else None
        if block.places[key] is None:
            block.chunk_rows[key] = found.chunks[0] if found.chunks else max(1, len(found))

    def _dataset(self, block: _Block, name: str) -> h5py.Dataset:
        return safety.dataset(self._handle.file(), f"{block.group}/{name}", path=self.path)

    def event_ids(self, k: int) -> np.ndarray[Any, Any]:
        """``(n,)`` uint64 of block k."""
        block = self._block(k)
        with safety.reading(f"{self.path}, field {block.group}/event_ids"):
            ids: np.ndarray[Any, Any] = self._dataset(block, "event_ids")[()]
        return ids

    def offsets(self, k: int, part: str, table: str) -> np.ndarray[Any, Any]:
        """``(n+1,)`` uint32 of a table in block k; kept, at 4 bytes an event."""
        block = self._block(k)
        known = block.offsets.get((part, table))
        if known is None:
            source = self._dataset(block, f"{part}/{table}/offsets")
            safety.expect(source, path=self.path, dtype="<u4", shape=(block.events + 1,))
            with safety.reading(f"{self.path}, field {source.name}"):
                known = source[()]
            if known[0] != 0 or (known[1:] < known[:-1]).any():
                raise DataError("the offsets go backwards", where=f"{self.path}, field {source.name}")
            for name in self.parts[part].tables[table]:
                values = self._dataset(block, f"{part}/{table}/{name}")
                if len(values) != known[-1]:
                    what = f"wanted {known[-1]} rows as the offsets say, found {len(values)}"
                    raise DataError(what, where=f"{self.path}, field {values.name}")
            block.offsets[part, table] = known
        return known

    def read_into(self, out: np.ndarray[Any, Any], k: int, key: Key, start: int) -> None:
        """Fills ``out (n, ...)`` with rows ``start : start + n`` of a column in block k."""
        if not out.nbytes:
            return
        block = self._block(k)
        place = block.places[key]
        if place is None:
            self._read_chunks(out, block, key, start)
            return
        at = place + start * (out.nbytes // len(out))
        if os.preadv(self._handle.descriptor(), [out.data.cast("B")], at) != out.nbytes:
            where = f"{self.path}, block {k}, field {'/'.join(key)}"
            raise DataError("the file is truncated", where=where, fix="copy or make it again")

    def _read_chunks(self, out: np.ndarray[Any, Any], block: _Block, key: Key, start: int) -> None:
        name = "/".join(key)
        rows = block.chunk_rows[key]
        stop = start + len(out)

        def read(first: int) -> np.ndarray[Any, Any]:
            with safety.reading(f"{self.path}, field {block.group}/{name}"):
                chunk: np.ndarray[Any, Any] = self._handle.file()[f"{block.group}/{name}"][
                    first : first + rows
                ]
            return chunk

        for first in range(start - start % rows, stop, rows):
            chunk = self._chunks.get((self.path, block.group, key, first), partial(read, first))
            a, b = max(start, first), min(stop, first + rows)
            out[a - start : b - start] = chunk[a - first : b - first]

    def corrupt(self, k: int) -> str:
        """Why block k cannot be trusted (its digest does not fit its arrays); empty where all is well."""
        wanted = self._block_digest(k)
        if wanted is None:
            return "the block was not finished: it has no digest"
        names = ["event_ids"]
        for part, table, name, _ in layout.columns(self.parts):
            names += [f"{part}/{table}/{name}", f"{part}/{table}/offsets"]
        with safety.reading(f"{self.path}, block {k}"):
            arrays = {name: self._dataset(self._blocks[k], name)[()] for name in names}
        return "" if arrays_digest(arrays) == wanted else "the data does not fit its digest: it was altered"

    def altered(self) -> str:
        """Why the schema or the list of blocks cannot be trusted (they do not fit the file's digest).

        Empty where all is well, and where a block was not finished, which `corrupt` says.
        """
        blocks = [self._block_digest(k) for k in range(self.n_blocks)]
        if None in blocks or layout.store_digest(self._attribute("parts"), blocks) == self.digest:
            return ""
        return "the schema or the list of blocks does not fit the file's digest: it was altered"

    def _block_digest(self, k: int) -> str | None:
        with safety.reading(f"{self.path}, block {k}"):
            group = self._handle.file().get(self._blocks[k].group)
            return None if group is None else layout.words(group.attrs.get("digest"))

    def close(self) -> None:
        self._handle.close()

    def __getstate__(self) -> dict[str, Any]:
        # What was learnt of the blocks stays behind: another process asks anew.
        blocks = [_Block(block.group, block.events) for block in self._blocks]
        return {**self.__dict__, "_blocks": blocks}
