"""Structured data as text: a line for each object, below the one that made it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from hepfm.api import Column, PartSchema, Tables
from hepfm.display.panels import Branch, Tree

_MOST_FIELDS = 6


def panels(
    tables: Tables,
    schema: PartSchema,
    *,
    labels: Tables | None = None,  # noqa: ARG001  rows are named by their inputs
    title: str = "",
) -> list[Tree]:
    """A tree of the rows of the primary table.

    A column ``parent`` (row of the parent, -1 for none) makes branches; a row whose parent is not there
    stands by itself. ``pdg`` names a row; the first vocabulary of the columns that has colours gives the
    mark's.

    Args:
        tables: The primary table's columns ``(N,)`` or ``(N, k)``.
        schema: Units and vocabularies.
        labels: Not drawn.
        title: What the tables are.
    """
    columns = schema.tables[schema.primary]
    rows = tables[schema.primary]
    n = len(next(iter(rows.values())))
    parent = np.asarray(rows.get("parent", np.full(n, -1)))
    children: dict[int, list[int]] = defaultdict(list)
    for row in range(n):
        maker = int(parent[row])
        children[maker if 0 <= maker < n else -1].append(row)
    branches: list[Branch] = []
    shown: set[int] = set()
    # Rows that make each other are below none: they come last, each once.
    waiting = [(row, 0) for row in reversed([*children[-1], *range(n)])]
    while waiting:
        row, depth = waiting.pop()
        if row in shown:
            continue
        shown.add(row)
        branches.append(
            Branch(
                depth=depth,
                text=_text(row, rows, columns, schema),
                colour=_colour(row, rows, columns, schema),
            )
        )
        waiting += [(child, depth + 1) for child in reversed(children[row])]
    return [Tree(title=title or schema.primary, branches=branches)]


def _text(row: int, rows: Any, columns: Any, schema: PartSchema) -> str:
    words = [_name(int(rows["pdg"][row]))] if "pdg" in rows else []
    for name, column in columns.items():
        if name in {"pdg", "parent", "particle"} or name not in rows or len(words) > _MOST_FIELDS:
            continue
        words.append(_field(name, rows[name][row], column, schema))
    return ", ".join(words)


def _field(name: str, value: Any, column: Column, schema: PartSchema) -> str:
    if column.vocabulary:
        known = {entry.value: entry.name for entry in schema.vocabularies[column.vocabulary]}
        return known.get(int(value), str(value))
    form = ".4g" if np.dtype(column.dtype).kind == "f" else "d"
    number = "(" + ", ".join(f"{x:{form}}" for x in value) + ")" if column.shape else f"{value:{form}}"
    unit = column.unit
    plain = name.removesuffix(f"_{unit.split('/')[0].lower()}").replace("_", " ")
    return f"{plain} {number} {unit}".rstrip()


def _name(pdg: int) -> str:
    from particle import InvalidParticle, Particle, ParticleNotFound

    try:
        return str(Particle.from_pdgid(pdg).name)
    except (InvalidParticle, ParticleNotFound):
        return f"PDG {pdg}"


def _colour(row: int, rows: Any, columns: Any, schema: PartSchema) -> str:
    for name, column in columns.items():
        for entry in schema.vocabularies.get(column.vocabulary, ()):
            if entry.colour and name in rows and entry.value == rows[name][row]:
                return entry.colour
    return ""
