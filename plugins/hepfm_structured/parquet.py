"""Parquet files, read by pyarrow: columns of numbers and of lists of numbers; a row is an event.

Columns are found as a ROOT file's branches are; awkward's records (``Jet: list of {pt, eta}``) are columns
``Jet_pt``, ``Jet_eta``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hepfm.errors import DataError
from hepfm_structured.blocks import Array, BlockReader, Rows
from hepfm_structured.branches import Branch, BranchConfig, find_layout
from hepfm_structured.columns import Columns
from hepfm_structured.opened import Opened


class ParquetReader(BlockReader):
    """Events of one Parquet file. Row groups are decompressed whole: convert to an event store to train.

    Raises:
        DataError: It is no Parquet file or damaged, or no objects were found in it.
    """

    class Config(BranchConfig):
        """Options of the reader."""

    @classmethod
    def sniff(cls, path: Path) -> bool:
        """Whether it begins and ends as Parquet files do."""
        if not path.is_file() or path.stat().st_size < 12:
            return False
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(-4, 2)
            return head == file.read(4) == b"PAR1"

    @classmethod
    def nearly(cls, path: Path) -> str:
        """Whether it begins as Parquet files do."""
        with path.open("rb") as file:
            begins = file.read(4) == b"PAR1"
        return "the file is truncated: it begins as Parquet does, and does not end so" if begins else ""

    def __init__(self, path: Path, config: Config | None = None) -> None:
        path = Path(path)
        options = config or self.Config()
        self._file = Opened(partial(_open, path))
        with _reading(str(path)):
            metadata = self._file.get().metadata
            groups = [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]
            self._fields = _fields(self._file.get().schema_arrow)
        self._ends = np.cumsum([0, *groups])
        branches = {name: branch for name, (branch, _) in self._fields.items()}
        self._branches, self._where = branches, str(path)
        self._layout = find_layout(branches, options, where=str(path))
        self._columns = Columns(self._layout, branches, options, where=str(path))
        self._group: tuple[int, Any] = (-1, None)
        super().__init__(
            path,
            options,
            part=options.part,
            schema=self._columns.schema(),
            n=int(self._ends[-1]),
            provenance={
                "format": "Parquet",
                "collections": [c or "objects" for c in self._layout.collections],
                **self._columns.left_out(),
            },
        )

    def _load(self, start: int, stop: int) -> Mapping[str, Rows]:
        lists = self._lists(self._layout.branches(), start, stop)
        return self._columns.tables(lists, start)

    def _lists(self, names: list[str], start: int, stop: int) -> dict[str, tuple[Array, Array | None]]:
        first = int(np.searchsorted(self._ends, start, side="right")) - 1
        last = int(np.searchsorted(self._ends, stop, side="left"))
        pieces = []
        for group in range(first, last):
            low, high = self._ends[group], self._ends[group + 1]
            rows = slice(max(start, low) - low, min(stop, high) - low)
            pieces.append({name: self._values(name, group, rows) for name in names})
        return {
            name: (
                np.concatenate([p[name][0] for p in pieces]),
                np.concatenate([p[name][1] for p in pieces]) if self._branches[name].length else None,
            )
            for name in names
        }

    def _values(self, name: str, group: int, rows: slice) -> tuple[Array, Any]:
        import pyarrow.compute as pc

        where = f"{self._where}, events {self._ends[group] + rows.start} and later, column {name}"
        with _reading(where):
            if self._group[0] != group:
                columns = sorted({self._fields[b][1][0] for b in self._layout.branches()})
                self._group = group, self._file.get().read_row_group(group, columns=columns)
            column, *inner = self._fields[name][1]
            found = self._group[1][column].slice(rows.start, rows.stop - rows.start).combine_chunks()
            counts = None
            if self._branches[name].length:
                if found.null_count:
                    raise DataError("an event has no list (null)", where=where, fix="write empty lists")
                counts = np.asarray(pc.list_value_length(found), np.int64)
                found = found.flatten()
            for field in inner:
                found = pc.struct_field(found, field)
            if found.null_count:
                raise DataError(f"{found.null_count} values are missing (null)", where=where, fix="fill them")
            return found.to_numpy(zero_copy_only=False), counts

    def _count(self) -> Array:
        counts = np.zeros(len(self), np.int64)
        for columns in self._layout.collections.values():
            many = next(iter(columns.values()))
            length = self._branches[many[0]].length
            found = self._lists([many[0]], 0, len(self))[many[0]][1] if length else None
            counts += len(many) if found is None else found
        return counts

    def close(self) -> None:
        """Closes the file."""
        super().close()
        self._group = (-1, None)
        self._file.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_group": (-1, None)}


def _open(path: Path) -> Any:
    if not path.is_file():
        raise DataError("there is no such file", where=str(path), fix="check the path")
    if not path.stat().st_size:
        raise DataError("the file is empty (0 bytes)", where=str(path), fix="copy or make it again")
    import pyarrow.parquet as pq

    with _reading(str(path)):
        return pq.ParquetFile(path)


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Turns what pyarrow raises for a damaged file into `DataError`."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        what = f"Parquet's data cannot be read ({str(error).strip().splitlines()[:1]})"
        raise DataError(what, where=where, fix="the file is damaged, or no Parquet: get it again") from error


def _fields(schema: Any) -> dict[str, tuple[Branch, tuple[str, ...]]]:
    """Branches, each with its column and the fields within; what is no number or list of them is left out."""
    found: dict[str, tuple[Branch, tuple[str, ...]]] = {}
    for column in schema:
        kind, length = column.type, 0
        if _is_list(kind):
            kind, length = kind.value_type, -1
        for name, path, inner in _leaves(column.name, (column.name,), kind):
            if dtype := _dtype(inner):
                found[name] = Branch(dtype, length), path
    return found


def _leaves(name: str, path: tuple[str, ...], kind: Any) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    import pyarrow as pa

    if not pa.types.is_struct(kind):
        yield name, path, kind
        return
    for k in range(kind.num_fields):
        inner = kind.field(k)
        yield from _leaves(f"{name}_{inner.name}", (*path, inner.name), inner.type)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _dtype(kind: Any) -> str:
    """The numpy name of a type of numbers; empty for others."""
    import pyarrow as pa

    numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    return str(np.dtype(kind.to_pandas_dtype())) if any(is_one(kind) for is_one in numbers) else ""
