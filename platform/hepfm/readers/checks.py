"""What makes no sense in an event, whatever its format: said with file, event and field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hepfm.api import Batch, Column, PartSchema


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
                    for e in np.unique(event[bad]):
                        count = int((event[bad] == e).sum())
                        yield f"{path}, event {first + e}, field {part}/{table}/{name}: {count} rows {why}"


def _bad(
    values: np.ndarray[Any, Any], column: Column, schema: PartSchema
) -> tuple[np.ndarray[Any, Any], str]:
    if values.dtype.kind == "f":
        return ~np.isfinite(values).reshape(len(values), -1).all(1), "are not finite (NaN or infinite)"
    if column.vocabulary in schema.vocabularies:
        known = [c.value for c in schema.vocabularies[column.vocabulary]]
        return ~np.isin(values, known).reshape(len(values), -1).all(
            1
        ), f"are of no class of '{column.vocabulary}'"
    return np.zeros(len(values), bool), ""
