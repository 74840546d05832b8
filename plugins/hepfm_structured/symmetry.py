"""Symmetries of collisions: rotations about the beam, and reflections along it.

What turns or changes sign is told by the last word of a column's name (``MET_phi``), of all tables alike: an
event keeps its masses and all angles between its objects. What is relative to a jet's axis does not turn.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from hepfm.api import PartSchema, RaggedTables
from hepfm.nn.ragged import event_index
from hepfm_structured.schema import fields_of

_ACROSS = {"px": "py", "x": "y", "vx": "vy"}
_ALONG = {"eta", "deta", "etarel", "pz", "z", "vz", "dz", "dzval"}


def azimuths(schema: PartSchema) -> dict[tuple[str, str], float]:
    """``(table, column)`` of azimuths to what they repeat after."""
    return {
        (table, name): float(how.get("period", 2 * math.pi))
        for table, name, how in _numbers(schema)
        if _last_word(name) == "phi"
    }


def components(schema: PartSchema) -> list[tuple[str, str, str]]:
    """Table and the two columns of what has components across the beam."""
    named = {(table, name) for table, name, _ in _numbers(schema)}
    pairs = []
    for table, name in sorted(named):
        stem, word = name.removesuffix(_last_word(name)), _last_word(name)
        if word in _ACROSS and (table, other := stem + _ACROSS[word]) in named:
            pairs.append((table, name, other))
    return pairs


def along_beam(schema: PartSchema) -> list[tuple[str, str]]:
    """Table and column of what changes sign with the direction of the beam."""
    return [(table, name) for table, name, _ in _numbers(schema) if _last_word(name) in _ALONG]


def rotated(tables: RaggedTables, schema: PartSchema, angle: torch.Tensor) -> RaggedTables:
    """Torch tables with each event turned by its angle ``(B,)`` in radians, float64."""
    new: dict[tuple[str, str], torch.Tensor] = {}
    for (table, name), period in azimuths(schema).items():
        turn = _of_rows(tables, table, angle) / (2 * math.pi)
        turned = tables[table].columns[name].double() + turn * period
        new[table, name] = (turned + period / 2).remainder(period) - period / 2
    for table, first, second in components(schema):
        x, y = (tables[table].columns[name].double() for name in (first, second))
        cos, sin = _of_rows(tables, table, angle.cos()), _of_rows(tables, table, angle.sin())
        new[table, first], new[table, second] = cos * x - sin * y, sin * x + cos * y
    return _with(tables, new)


def reflected(tables: RaggedTables, schema: PartSchema, flip: torch.Tensor) -> RaggedTables:
    """Torch tables with those events ``(B,)`` bool reflected."""
    sign = 1.0 - 2.0 * flip.double()
    return _with(
        tables,
        {
            (table, name): tables[table].columns[name].double() * _of_rows(tables, table, sign)
            for table, name in along_beam(schema)
        },
    )


def _numbers(schema: PartSchema) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Columns of one floating-point number a row that a model may get."""
    return [
        (table, name, how)
        for table, fields in fields_of(schema).items()
        for name, how in fields.items()
        if schema.tables[table][name].dtype.startswith("float") and not schema.tables[table][name].shape
    ]


def _last_word(name: str) -> str:
    return re.split(r"[._]", name)[-1]


def _of_rows(tables: RaggedTables, table: str, values: torch.Tensor) -> torch.Tensor:
    return values[event_index(tables[table].offsets)]


def _with(tables: RaggedTables, new: Mapping[tuple[str, str], torch.Tensor]) -> RaggedTables:
    changed = dict(tables)
    for (table, name), values in new.items():
        rows = changed[table]
        changed[table] = replace(rows, columns={**rows.columns, name: values.to(rows.columns[name].dtype)})
    return changed
