"""What the readers of structured data share: events read in blocks, the last of which stay in memory."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from hepfm.api import Batch, PartSchema, RaggedTable
from hepfm.errors import DataError
from hepfm.random import stable_id
from hepfm.readers.checks import bad_values, event_indices
from hepfm.readers.digest import file_digest, json_digest
from hepfm.readers.pack import concat, offsets_of, pack, take
from hepfm_structured.schema import fields_of

Array = np.ndarray[Any, Any]

_KEPT = 2
"""Blocks in memory."""


@dataclass(frozen=True)
class Rows:
    """A table of some events: columns ``(N, ...)``, inputs and labels alike; rows of each event ``(B,)``."""

    columns: Mapping[str, Array]
    lengths: Array


def one_each(columns: Mapping[str, Array]) -> Rows:
    """A table with one row for each event."""
    n = len(next(iter(columns.values())))
    return Rows(columns, np.ones(n, np.int64))


class BlockReader:
    """A reader of one part, all but ``sniff``: a format adds what it is, `_load` and `_count`.

    Args:
        path: The file or folder.
        config: The reader's options; part of the digest.
        part: Name of the part.
        schema: What is in it. Its attribute ``order`` sorts the rows of the primary table.
        n: Number of events.
        provenance: What is known of the file.
        block: Events that are read at once.
    """

    path: Path
    parts: Mapping[str, PartSchema]
    provenance: Mapping[str, Any]

    def __init__(
        self,
        path: Path,
        config: BaseModel,
        *,
        part: str,
        schema: PartSchema,
        n: int,
        provenance: Mapping[str, Any],
        block: int = 1024,
    ) -> None:
        self.path = path
        self.parts = {part: schema}
        options = config.model_dump(mode="json")
        self.provenance = {**provenance, "file": path.name, "options": options}
        self._part, self._schema, self._n, self._block, self._options = part, schema, n, block, options
        self._kept: OrderedDict[int, Batch] = OrderedDict()

    def _load(self, start: int, stop: int) -> Mapping[str, Rows]:
        """The tables of events ``start`` to ``stop``, as the file has them."""
        raise NotImplementedError

    def _count(self) -> Array:
        """``(len,)`` rows of the primary table."""
        raise NotImplementedError

    def _files(self) -> list[Path]:
        """The files that events come from."""
        return [self.path]

    def __len__(self) -> int:
        return self._n

    @cached_property
    def _content(self) -> str:
        """Digest of the files; of one file, that of its bytes."""
        digests = [file_digest(file) for file in self._files()]
        return digests[0] if len(digests) == 1 else json_digest(digests)

    def digest(self) -> str:
        """Of the bytes of the files and the options, which change what is read."""
        return json_digest([self._content, self._options])

    def event_ids(self) -> Array:
        """``(len,)`` uint64: of the content and the index, whatever the options."""
        return self._ids(range(self._n))

    def _ids(self, indices: Sequence[int]) -> Array:
        return np.array([stable_id(self._content, int(i)) for i in indices], np.uint64)

    @cached_property
    def _lengths(self) -> Array:
        return np.asarray(self._count() if self._n else [], np.int64)

    def lengths(self, part: str) -> Array:  # noqa: ARG002  there is one part
        """``(len,)`` int64 rows of each event. Reads what says how many there are the first time."""
        return self._lengths

    def read(self, indices: Sequence[int], *, labels: bool = True) -> Batch:
        """The events at these indices.

        Raises:
            DataError: They cannot be read, or hold what they cannot.
        """
        index = event_indices(indices, self._n, path=self.path)
        if not len(index):
            return pack([], self.parts, labels=labels)
        block = index // self._block
        asked = [np.flatnonzero(block == b) for b in np.unique(block)]
        pieces = [take(self._batch(int(block[rows[0]])), index[rows] % self._block) for rows in asked]
        batch = take(concat(pieces), np.argsort(np.concatenate(asked), kind="stable"))
        return batch if labels else replace(batch, labels={})

    def _batch(self, block: int) -> Batch:
        if block not in self._kept:
            start = block * self._block
            self._kept[block] = self._events(start, min(start + self._block, self._n))
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(block)
        return self._kept[block]

    def _events(self, start: int, stop: int) -> Batch:
        tables = self._ordered(self._load(start, stop))
        halves: list[dict[str, RaggedTable]] = [{}, {}]
        for table, columns in self._schema.tables.items():
            rows = tables[table]
            offsets = offsets_of(rows.lengths)
            with np.errstate(over="ignore", invalid="ignore"):  # infinite then, which is refused by name
                typed = {
                    name: np.asarray(rows.columns[name], column.dtype).reshape(-1, *column.shape)
                    for name, column in columns.items()
                }
            for half, label in zip(halves, (False, True), strict=True):
                kept = {name: values for name, values in typed.items() if columns[name].label == label}
                if kept:
                    half[table] = RaggedTable(kept, offsets)
        inputs, truth = halves
        return Batch(
            event_ids=self._ids(range(start, stop)).view(np.int64),
            cost=np.asarray(tables[self._schema.primary].lengths, np.int64),
            parts={self._part: inputs},
            labels={self._part: truth} if truth else {},
        )

    def _ordered(self, tables: Mapping[str, Rows]) -> Mapping[str, Rows]:
        """With the rows of the primary table in descending order of the schema's ``order``; ties stay."""
        column = self._schema.attributes.get("order")
        if not column:
            return tables
        rows = tables[self._schema.primary]
        event = np.repeat(np.arange(len(rows.lengths)), rows.lengths)
        order = np.lexsort((-np.asarray(rows.columns[column], np.float64), event))
        columns = {name: np.asarray(values)[order] for name, values in rows.columns.items()}
        return {**tables, self._schema.primary: Rows(columns, rows.lengths)}

    def check(self) -> Iterator[str]:
        """Reads everything; yields one sentence for each bad event or field."""
        turns: Counter[str] = Counter()
        for start in range(0, self._n, self._block):
            stop = min(start + self._block, self._n)
            try:
                batch = self._events(start, stop)
                yield from bad_values(batch, self.parts, path=self.path, first=start)
                turns += self._beyond_period(batch)
            except DataError:
                yield from self._check_each(start, stop)
        for field, rows in turns.items():
            where = f"{self.path}, field {self._part}/{field}"
            yield f"{where}: {rows} rows are angles beyond one turn; is the unit another one (degrees)?"

    def _beyond_period(self, batch: Batch) -> Counter[str]:
        """Rows of each periodic field that are further from 0 than its period."""
        turns: Counter[str] = Counter()
        for table, fields in fields_of(self._schema).items():
            for name, how in fields.items():
                if how["kind"] == "periodic":
                    values = batch.parts[self._part][table].columns[name]
                    turns[f"{table}/{name}"] += int((np.abs(values) > how["period"] * (1 + 1e-6)).sum())
        return turns

    def _check_each(self, start: int, stop: int) -> Iterator[str]:
        said = ""
        for event in range(start, stop):
            try:
                batch = self._events(event, event + 1)
                yield from bad_values(batch, self.parts, path=self.path, first=event)
            except DataError as error:
                sentence = f"{error.where}: {error.what}"
                if sentence != said:  # damage of the file, not of one event, is said once
                    yield sentence
                said = sentence

    def close(self) -> None:
        """Lets go of what is in memory; it can be read again."""
        self._kept.clear()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": OrderedDict()}
