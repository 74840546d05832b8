"""Whether a model made for some events can read others: what may differ, and what may not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hepfm.api import Modality, PartSchema
from hepfm.data.tensors import to_torch
from hepfm.readers.layout import columns, half
from hepfm.readers.pack import pack
from hepfm.readers.writer import schema_differences


def unreadable(
    trained: Mapping[str, PartSchema], found: Mapping[str, PartSchema], modalities: Mapping[str, Modality]
) -> list[str]:
    """One sentence for each input that events lack, or have in another type, shape or unit; empty if none.

    Args:
        trained: Part name to the schema of the events that the model was made for ("there").
        found: Of the other events ("here"), at least the same parts.
        modalities: Of the model. A column that they do without may be missing.
    """
    wanted, given = inputs(trained), inputs(found)
    both, have = _common(wanted, given)
    return schema_differences(bare(both), bare(have)) or _missing(wanted, given, modalities)


def unlike(trained: Mapping[str, PartSchema], found: Mapping[str, PartSchema]) -> list[str]:
    """One sentence for each thing told of both inputs that differs, such as the size of a voxel."""
    both, have = (undocumented(parts) for parts in _common(inputs(trained), inputs(found)))
    return schema_differences(both, have)


def _missing(
    trained: Mapping[str, PartSchema], found: Mapping[str, PartSchema], modalities: Mapping[str, Modality]
) -> list[str]:
    """Inputs that events lack, where the model cannot do without them."""
    lacking = [
        f"{part}.{table}.{name} is there, and not here"
        for part, table, name, _ in columns(trained)
        if name not in found[part].tables.get(table, {})
    ]
    if lacking:
        nothing = to_torch(pack([], found, labels=False))
        try:
            for part, modality in modalities.items():
                modality.units(nothing.parts[part])
        except KeyError:
            return lacking
    return []


def inputs(parts: Mapping[str, PartSchema]) -> dict[str, PartSchema]:
    """The schemas without labels, and without classes that only labels have."""
    found = {}
    for part, schema in parts.items():
        given = half(schema, label=False)
        used = {column.vocabulary for names in given.tables.values() for column in names.values()}
        vocabularies = {name: each for name, each in schema.vocabularies.items() if name in used}
        found[part] = replace(given, vocabularies=vocabularies)
    return found


def bare(parts: Mapping[str, PartSchema]) -> dict[str, PartSchema]:
    """The schemas without what is only said of a part, or of a column in words."""
    return {part: replace(schema, attributes={}) for part, schema in undocumented(parts).items()}


def undocumented(parts: Mapping[str, PartSchema]) -> dict[str, PartSchema]:
    """The schemas without what is said of a column in words."""

    def plain(schema: PartSchema) -> PartSchema:
        tables: dict[str, Any] = {
            table: {name: replace(column, doc="") for name, column in names.items()}
            for table, names in schema.tables.items()
        }
        return replace(schema, tables=tables)

    return {part: plain(schema) for part, schema in parts.items()}


def _common(
    one: Mapping[str, PartSchema], other: Mapping[str, PartSchema]
) -> tuple[dict[str, PartSchema], dict[str, PartSchema]]:
    """Both, with the columns and classes that they share."""
    return (
        {part: _shared(schema, other[part]) for part, schema in one.items()},
        {part: _shared(other[part], schema) for part, schema in one.items()},
    )


def _shared(schema: PartSchema, other: PartSchema) -> PartSchema:
    tables = {
        table: {name: column for name, column in names.items() if name in other.tables.get(table, {})}
        for table, names in schema.tables.items()
    }
    return replace(
        schema,
        tables={table: names for table, names in tables.items() if names},
        vocabularies={name: each for name, each in schema.vocabularies.items() if name in other.vocabularies},
    )
