"""The event store's layout, version 1.

::

    /                          attributes: hepfm_store (version), parts (JSON), provenance (JSON), digest
    /block_events              (K,) int64, events of each block
    /blocks/000000             attribute: digest (blake2b of the block's arrays)
    /blocks/000000/event_ids   (n,) uint64
    /blocks/000000/PART/TABLE/offsets   (n+1,) uint32, rows of the table within the block
    /blocks/000000/PART/TABLE/COLUMN    (N, ...) little-endian, as the schema says

Attributes are text of fixed length, which lies in HDF5's checksummed headers. Text of variable length lies
in a heap without a checksum, where a flipped bit is not seen, and a lost sector makes HDF5 read for ever.

No column may be named ``offsets``. Datasets are contiguous, or chunked and compressed with zstd after a
shuffle; arrays of a block that hold the same bits are one dataset under several names. A store is one such
file, or a folder of them in the order of their names (shards). A file is written aside and renamed when it is
complete, so it is complete or it does not exist.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hepfm.api import ClassName, Column, PartSchema
from hepfm.errors import DataError
from hepfm.readers.digest import json_digest

VERSION = 1
PARTIAL = ".partial"
"""Ending of a shard that is being written."""
COUNTS = "left_out_or_changed"
"""Key of a provenance that counts what a generator left out or changed in the file's events."""
MAX_BLOCK_ROWS = 1 << 26
"""Rows of a table after which a block ends early; keeps a block's memory below a few GB."""


def block_name(block: int) -> str:
    return f"blocks/{block:06d}"


def columns(parts: Mapping[str, PartSchema]) -> Iterator[tuple[str, str, str, Column]]:
    """(part, table, column name, column) of all columns."""
    for part, schema in parts.items():
        for table, names in schema.tables.items():
            for name, column in names.items():
                yield part, table, name, column


def half(schema: PartSchema, *, label: bool) -> PartSchema:
    """The schema with its input columns alone, or its labels; a table without any of them is left out."""
    halves = {
        table: {name: column for name, column in columns.items() if column.label == label}
        for table, columns in schema.tables.items()
    }
    return dataclasses.replace(schema, tables={table: kept for table, kept in halves.items() if kept})


def disk_dtype(column: Column) -> np.dtype[Any]:
    """The column's type in the file: little-endian on every machine."""
    return np.dtype(column.dtype).newbyteorder("<")


def parts_to_json(parts: Mapping[str, PartSchema]) -> str:
    """Schemas as JSON that `parts_from_json` reads back."""
    return json.dumps({name: dataclasses.asdict(schema) for name, schema in parts.items()})


def parts_from_json(text: str, *, path: Path) -> dict[str, PartSchema]:
    """Schemas from a file's attribute.

    Raises:
        DataError: The JSON is not a mapping of valid schemas.
    """
    try:
        parts = {name: _schema(fields) for name, fields in json.loads(text).items()}
        check_parts(parts)
    except (ValueError, TypeError, KeyError, AttributeError, DataError) as error:
        what = f"the store's schema makes no sense ({error})"
        raise DataError(
            what, where=f"{path}, attribute parts", fix="convert it from its source again"
        ) from error
    return parts


def text(words: str) -> np.bytes_:
    """Text as an attribute of fixed length."""
    return np.bytes_(words.encode())


def words(attribute: Any) -> str | None:
    """The text of an attribute, of whatever length; None for what is no text."""
    if isinstance(attribute, bytes):
        return attribute.decode()
    return attribute if isinstance(attribute, str) else None


def store_digest(parts_json: str, block_digests: Sequence[str | None]) -> str:
    """Hex digest of a file: its schema, as the attribute ``parts`` has it, and its blocks in order."""
    return json_digest([json.loads(parts_json), block_digests])


def _schema(fields: Mapping[str, Any]) -> PartSchema:
    tables = {
        table: {name: Column(**{**c, "shape": tuple(c["shape"])}) for name, c in names.items()}
        for table, names in fields["tables"].items()
    }
    vocabularies = {
        n: tuple(ClassName(**c) for c in classes) for n, classes in fields["vocabularies"].items()
    }
    return PartSchema(**{**fields, "tables": tables, "vocabularies": vocabularies})


def check_parts(parts: Mapping[str, PartSchema]) -> None:
    """Raises `DataError` for schemas that a store cannot hold."""
    for part, schema in parts.items():
        if schema.primary not in schema.tables:
            raise DataError(
                f"the primary table '{schema.primary}' is not among the tables", where=f"part {part}"
            )
        if empty := [table for table, names in schema.tables.items() if not names]:
            raise DataError("a table has no columns", where=f"part {part}, table {empty[0]}")
    for part, table, name, column in columns(parts):
        where = f"part {part}, table {table}, column {name}"
        if any("/" in word or word in {"", ".", ".."} for word in (part, table, name)) or name == "offsets":
            raise DataError("a name cannot be used", where=where, fix="use plain words, and not 'offsets'")
        if np.dtype(column.dtype).kind not in "iufb":
            raise DataError(f"the type '{column.dtype}' cannot be stored", where=where, fix="use numbers")
