"""Which row of a table of labels stands for the event: the truth of tasks with one answer an event.

Legend of shapes: N rows of the table, B events.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from hepfm.api import Batch, Column, PartSchema
from hepfm.errors import DataError, RecipeError, did_you_mean
from hepfm.nn.ragged import event_index, offsets_of, segment_sum
from hepfm_tasks.labels import the_part

EVENT = "event"
"""Table of predictions with one row for each event."""


class RowsConfig(BaseModel):
    """What a recipe may say of the rows that tell an event's truth."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    part: str = ""
    """The part that is read; empty for the tokens of all."""
    label_part: str = ""
    """The part that has the labels; empty for the one that is read, or the only one."""
    table: str = "fragments"
    """The part's table that has the labels, with any number of rows an event."""
    only: dict[str, list[int]] = Field(default={})
    """Rows that count: column to the values that it may have, e.g. ``{is_primary: [1]}``; empty for all."""
    take: Literal["first", "largest"] = "first"
    """The row that tells the event's truth: the first that counts, or that with the largest ``by``."""
    by: str = ""
    """Column, e.g. ``momentum_gev``. Rows where it is not finite do not count."""


class Rows:
    """A table of labels, and which of its rows count.

    Args:
        config: The recipe's.
        schema: Part name to schema, with the labels.

    Raises:
        DataError: A part, table or column is missing.
        RecipeError: There are several parts and none is named, or the largest is asked for of no column.
    """

    def __init__(self, config: RowsConfig, schema: Mapping[str, PartSchema]) -> None:
        self.part = the_part(config.label_part or config.part, schema)
        self.schema = schema[self.part]
        self.table, self.only, self.by = config.table, config.only, config.by
        self.take: str = config.take
        names = ", ".join(sorted(self.schema.tables))
        if self.table not in self.schema.tables:
            raise DataError(
                f"The data has no table '{self.table}'.",
                where=f"part {self.part}, which has {names}",
                fix=did_you_mean(self.table, self.schema.tables)
                or "name the table with the labels (objective.head.table), or read the events with labels",
            )
        for name in (*self.only, *([self.by] if self.by else [])):
            self.column(name)
        if self.take == "largest" and not self.by:
            raise RecipeError(
                "The largest row is asked for, and not of what.",
                where="objective.head.by",
                fix="name a column, e.g. momentum_gev",
            )

    def column(self, name: str) -> Column:
        """A column of the table, a label or not. Raises `DataError` where there is none."""
        columns = self.schema.tables[self.table]
        if name not in columns:
            raise DataError(
                f"The table has no column '{name}'.",
                where=f"part {self.part}, table {self.table}",
                fix=did_you_mean(name, columns),
            )
        return columns[name]

    def values(self, batch: Batch, name: str) -> torch.Tensor:
        """``(N, ...)`` a column; floating-point ones as float64."""
        for half in (batch.labels, batch.parts):
            table = half.get(self.part, {}).get(self.table)
            if table is not None and name in table.columns:
                values = torch.as_tensor(table.columns[name])
                return values.double() if values.is_floating_point() else values.long()
        raise DataError(
            f"The events have no '{name}'.",
            where=f"part {self.part}, table {self.table}",
            fix="read them with labels",
        )

    def offsets(self, batch: Batch) -> torch.Tensor:
        """``(B+1,)`` int64 offsets of the table."""
        half = batch.labels if self.table in batch.labels.get(self.part, {}) else batch.parts
        return torch.as_tensor(half[self.part][self.table].offsets)

    def counting(self, batch: Batch, known: torch.Tensor) -> torch.Tensor:
        """``(N,)`` bool: rows that may tell the truth, of those whose label is known ``(N,)``."""
        for name, values in self.only.items():
            found = self.values(batch, name)
            known = known & torch.isin(found, found.new_tensor(values))
        if self.by:
            known = known & self.values(batch, self.by).double().isfinite()
        return known

    def chosen(self, batch: Batch, known: torch.Tensor) -> torch.Tensor:
        """``(B,)`` int64: the row that tells each event's truth, of those that are known; -1 for none."""
        counting, offsets = self.counting(batch, known), self.offsets(batch)
        event = event_index(offsets)[counting]
        rows = counting.nonzero()[:, 0]
        if self.take == "largest":
            order = self.values(batch, self.by)[rows].double().argsort(descending=True, stable=True)
            order = order[event[order].argsort(stable=True)]
            event, rows = event[order], rows[order]
        # Rows are in the order of preference within their event.
        found = segment_sum(counting.long(), offsets)
        first = offsets_of(found)[:-1]
        result = torch.full_like(found, -1)
        result[found > 0] = rows[first[found > 0]]
        return result


def at(values: torch.Tensor, rows: torch.Tensor, *, otherwise: Any) -> torch.Tensor:
    """``(B, ...)`` values ``(N, ...)`` at rows ``(B,)``, and something else where the row is -1."""
    filled = values.new_full((len(rows), *values.shape[1:]), otherwise)
    filled[rows >= 0] = values[rows[rows >= 0]]
    return filled


def one_each(events: int, *, device: torch.device | None = None) -> torch.Tensor:
    """``(B+1,)`` int64 offsets of a table with one row for each event."""
    return torch.arange(events + 1, device=device)
