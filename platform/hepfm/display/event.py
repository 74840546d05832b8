"""The panels of an event's parts, from the displays that plugins register for their kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hepfm.api import PartSchema, RaggedTables, Reconstruction, Sample, Tables
from hepfm.display.abreast import abreast
from hepfm.display.panels import Panel
from hepfm.plugins import plugins

RECONSTRUCTED = ("visible", "hidden", "predicted")
"""Columns of the pictures of a reconstruction."""


def event_panels(
    tables: Tables, schema: PartSchema, *, labels: Tables | None = None, title: str = ""
) -> list[Panel]:
    """The panels of one part of an event.

    Args:
        tables: Its input tables, columns ``(N, ...)``.
        schema: Its schema; the display is the one registered for ``schema.kind``.
        labels: Its label tables.
        title: What the tables are, where that is not plain: ``"predicted"``.

    Raises:
        PluginError: No plugin draws parts of this kind.
    """
    display = plugins().load("displays", schema.kind)
    panels: list[Panel] = display(tables, schema, labels=labels, title=title)
    return panels


def sample_panels(sample: Sample, schemas: Mapping[str, PartSchema]) -> list[Panel]:
    """The panels of all parts of an event, each titled with its part."""
    return [
        panel
        for part, tables in sample.parts.items()
        for panel in event_panels(tables, schemas[part], labels=sample.labels.get(part), title=part)
    ]


def reconstruction_panels(
    parts: Mapping[str, Reconstruction], schemas: Mapping[str, PartSchema], event: int
) -> list[Panel]:
    """What was visible, hidden and predicted of each part of one event of a batch (numpy or torch).

    Three panels a row: of one thing (a plane, say) what was visible, hidden and predicted, drawn alike.
    """
    return [
        panel
        for part, reconstruction in parts.items()
        for panel in abreast(
            {
                f"{part}: {title}": event_panels(
                    tables_of(getattr(reconstruction, title), event), schemas[part], title=f"{part}: {title}"
                )
                for title in RECONSTRUCTED
            }
        )
    ]


def event_of(parts: Mapping[str, RaggedTables], event: int) -> dict[str, Tables]:
    """Part name to the tables of one event of a batch (numpy or torch), as numpy."""
    return {part: tables_of(tables, event) for part, tables in parts.items()}


def tables_of(tables: RaggedTables, event: int) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    """The tables of one event of a batch (numpy or torch), as numpy."""
    return {
        name: {column: _numpy(table[column][event]) for column in table.columns}
        for name, table in tables.items()
    }


def _numpy(rows: Any) -> np.ndarray[Any, Any]:
    if isinstance(rows, np.ndarray):
        return rows
    # numpy has no bfloat16.
    rows = rows.detach().cpu()
    return np.asarray(rows.float() if rows.is_floating_point() else rows)
