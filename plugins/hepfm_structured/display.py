"""Structured data: a picture of where its objects are, and a line for each, below the one that made it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np

from hepfm.api import Column, PartSchema, Tables
from hepfm.display.panels import Branch, Panel, PointCloud, Tree
from hepfm_structured.scatter import scatter
from hepfm_structured.schema import EVENT

_MOST_FIELDS = 6
_MOST_LISTED = 30


def panels(
    tables: Tables,
    schema: PartSchema,
    *,
    labels: Tables | None = None,
    title: str = "",
) -> list[Panel]:
    """Where the rows of the primary table are, a list of them, and what belongs to the event.

    Hits and pixels are drawn and not listed.

    Args:
        tables: The primary table's columns ``(N,)`` or ``(N, k)``, and the table ``event``.
        schema: Units and vocabularies.
        labels: Those of the table ``event`` are listed.
        title: What the tables are.
    """
    rows = {name: np.asarray(values) for name, values in tables[schema.primary].items()}
    shown = scatter(rows, schema, title)
    drawn = any(isinstance(panel, PointCloud) for panel in shown) or "grid" in schema.attributes
    if not (shown and drawn):
        listed = _objects(rows, schema, title)
        if shown and (rest := len(listed.branches) - _MOST_LISTED) > 0:  # the picture has them all
            branches = [*listed.branches[:_MOST_LISTED], Branch(depth=0, text=f"and {rest} more")]
            listed = replace(listed, branches=branches)
        shown.append(listed)
    event = {**tables.get(EVENT, {}), **(labels or {}).get(EVENT, {})}
    if any(len(values) for values in event.values()):
        columns = schema.tables[EVENT]
        lines = [_field(name, event[name][0], columns[name], schema, named=True) for name in event]
        branches = [Branch(depth=0, text=line) for line in lines if line]
        shown.append(Tree(title=f"{title}, event" if title else "event", branches=branches))
    return shown


def _objects(rows: Any, schema: PartSchema, title: str) -> Tree:
    """A tree of the rows of the primary table.

    A column ``parent`` (row of the parent, -1 for none) makes branches; a row whose parent is not there
    stands by itself. ``pdg`` names a row; the first vocabulary of the columns that has colours gives the
    mark's.
    """
    columns = schema.tables[schema.primary]
    n = len(next(iter(rows.values())))
    parent = np.nan_to_num(rows.get("parent", np.full(n, -1)), nan=-1)
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
    return Tree(title=title or schema.primary, branches=branches)


def _text(row: int, rows: Any, columns: Any, schema: PartSchema) -> str:
    words = [_name(int(rows["pdg"][row]))] if "pdg" in rows and not np.isnan(rows["pdg"][row]) else []
    for name, column in columns.items():
        if name in {"pdg", "parent", "particle"} or name not in rows or len(words) > _MOST_FIELDS:
            continue
        if word := _field(name, rows[name][row], column, schema):
            words.append(word)
    return ", ".join(words)


def _field(name: str, value: Any, column: Column, schema: PartSchema, *, named: bool = False) -> str:
    """A field in words; empty for one that is not known, as fields are that are hidden one by one."""
    if np.isnan(value).all():
        return ""
    if column.vocabulary:
        known = {entry.value: entry.name for entry in schema.vocabularies[column.vocabulary]}
        word = known.get(int(value), str(value))
        return f"{name}: {word}" if named else word
    whole = np.dtype(column.dtype).kind != "f"
    words = [f"{int(x)}" if whole else f"{x:.4g}" for x in np.ravel(value)]
    number = f"({', '.join(words)})" if column.shape else words[0]
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
