"""What is inside a source of events: numbers for ``hepfm data inspect``."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from hepfm.api import PartSchema, Reader
from hepfm.readers.batches import batches


def summary(reader: Reader) -> dict[str, Any]:
    """Parts, tables, columns, units, lengths and class counts, as JSON. Reads all labels once.

    Raises:
        DataError: An event cannot be read.
    """
    ids = len(reader)
    return {
        "path": str(reader.path),
        "reader": type(reader).__name__,
        "events": ids,
        "digest": reader.digest(),
        "provenance": dict(reader.provenance),
        "parts": {part: _part(reader, part, schema) for part, schema in reader.parts.items()},
    }


def _part(reader: Reader, part: str, schema: PartSchema) -> dict[str, Any]:
    lengths = reader.lengths(part)
    figures: dict[str, float] = {"total": int(lengths.sum())}
    if len(lengths):
        figures |= {"min": int(lengths.min()), "median": float(np.median(lengths)), "max": int(lengths.max())}
    return {
        "kind": schema.kind,
        "primary": schema.primary,
        "lengths": figures,
        "attributes": dict(schema.attributes),
        "tables": {t: {n: dataclasses.asdict(c) for n, c in cs.items()} for t, cs in schema.tables.items()},
        "classes": _classes(reader, part, schema),
        "class_values": {
            f"{table}.{name}": {each.name: each.value for each in schema.vocabularies[column.vocabulary]}
            for table, names in schema.tables.items()
            for name, column in names.items()
            if column.vocabulary in schema.vocabularies
        },
    }


def _classes(reader: Reader, part: str, schema: PartSchema) -> dict[str, dict[str, int]]:
    """``table.column`` to class name to rows."""
    columns = [
        (table, name, column.vocabulary, column.label)
        for table, names in schema.tables.items()
        for name, column in names.items()
        if column.vocabulary in schema.vocabularies
    ]
    counts = {
        f"{table}.{name}": {c.name: 0 for c in schema.vocabularies[words]}
        for table, name, words, _ in columns
    }
    for batch in batches(reader, range(len(reader) if columns else 0)):
        for table, name, words, label in columns:
            values = (batch.labels if label else batch.parts)[part][table].columns[name]
            for one in schema.vocabularies[words]:
                counts[f"{table}.{name}"][one.name] += int((values == one.value).sum())
    return counts
