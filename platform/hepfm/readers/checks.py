"""What makes no sense in an event, whatever its format: said with file, event and field."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hepfm.api import Batch, Column, PartSchema
from hepfm.errors import DataError


def event_indices(
    indices: Sequence[int] | np.ndarray[Any, Any], n: int, *, path: Path
) -> np.ndarray[Any, Any]:
    """Indices ``(B,)`` int64 of events of a file with ``n``.

    Raises:
        DataError: One is negative or too large.
    """
    index = np.asarray(indices, np.int64)
    if len(outside := index[(index < 0) | (index >= n)]):
        have = f"has events 0 to {n - 1}" if n else "has no events"
        raise DataError(f"there is no event {outside[0]}: the file {have}", where=str(path))
    return index


def refuse_twins(digests: Mapping[Path, str]) -> None:
    """Raises `DataError` for two sources ``{path: digest}`` of one content: their events would be doubled."""
    seen: dict[str, Path] = {}
    for path, digest in digests.items():
        if digest in seen:
            what = "two sources hold the same events"
            raise DataError(what, where=f"{seen[digest]} and {path}", fix="name each one once")
        seen[digest] = path


def bad_values(batch: Batch, parts: Mapping[str, PartSchema], *, path: Path, first: int = 0) -> Iterator[str]:
    """One sentence for each event and column with numbers that are not finite or classes that have no name.

    Args:
        batch: numpy events.
        parts: Their schemas.
        path: The file, for the sentence.
        first: Index of the batch's first event in the file.
    """
    for half in (batch.parts, batch.labels):
        for part, tables in half.items():
            for table, rows in tables.items():
                event = np.repeat(np.arange(len(rows)), rows.lengths)
                for name, values in rows.columns.items():
                    column = parts[part].tables[table][name]
                    bad, why = _bad(values, column, parts[part])
                    for e, count in zip(*np.unique(event[bad], return_counts=True), strict=True):
                        yield f"{path}, event {first + e}, field {part}/{table}/{name}: {count} rows {why}"


def bad_events(reader: Any) -> Iterator[str]:
    """One sentence for each event that a `Reader` cannot read, and what `bad_values` finds in the others."""
    said = ""
    for event in range(len(reader)):
        try:
            yield from bad_values(reader.read([event]), reader.parts, path=reader.path, first=event)
        except DataError as error:
            sentence = f"{error.where}: {error.what}"
            if sentence != said:  # damage of the file, not of one event, is said once
                yield sentence
            said = sentence


def _bad(values: np.ndarray[Any, Any], column: Column, schema: PartSchema) -> tuple[Any, str]:
    rows = values.reshape(len(values), math.prod(column.shape))
    if values.dtype.kind == "f" and schema.attributes.get("nan") == "missing":
        return np.isinf(rows).any(1), "are infinite"
    if values.dtype.kind == "f":
        return ~np.isfinite(rows).all(1), "are not finite (NaN or infinite)"
    if column.vocabulary in schema.vocabularies:
        known = [c.value for c in schema.vocabularies[column.vocabulary]]
        return ~np.isin(rows, known).all(1), f"are of no class of '{column.vocabulary}'"
    return np.zeros(len(values), bool), ""
