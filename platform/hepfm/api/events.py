"""What the data is: schemas of parts, one event, and packed batches of events.

Legend of shapes: B events, N rows of a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        dtype: numpy name, e.g. ``"uint16"``.
        shape: Trailing shape of a row's entry, ``()`` for a number, ``(3,)`` for a voxel index.
        unit: ``"MeV"``, ``"ns"``, ``"voxel"``; empty for what has none.
        label: True for truth that a model may not see as input.
        vocabulary: For classes, the name of a vocabulary of the part.
        lengths_of: For a column of lengths, the table it cuts into runs (nesting).
    """

    dtype: str
    shape: tuple[int, ...] = ()
    unit: str = ""
    label: bool = False
    vocabulary: str = ""
    lengths_of: str = ""
    doc: str = ""


@dataclass(frozen=True, kw_only=True)
class ClassName:
    """One class of a vocabulary: its integer value in the data, its name, and a colour (``#rrggbb``)."""

    value: int
    name: str
    colour: str = ""


@dataclass(frozen=True, kw_only=True)
class PartSchema:
    """What is in a part: named tables of columns, each table ragged over the events.

    Attributes:
        kind: The registered modality that understands it.
        primary: The table whose length is the event's cost, and whose rows per-point tasks label.
        tables: Table name to column name to `Column`.
        vocabularies: Class vocabularies, by name.
        attributes: What else belongs to the part, as JSON (voxel size in mm, grid, origin, detector).
            ``truth: true`` marks truth; with ``nan: missing`` NaN is what is not known, elsewhere a defect.
    """

    kind: str
    primary: str
    tables: Mapping[str, Mapping[str, Column]]
    vocabularies: Mapping[str, tuple[ClassName, ...]] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)


Tables = Mapping[str, Mapping[str, "np.ndarray[Any, Any]"]]
"""Table name to column name to array ``(N, ...)``, of one event."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One event: its 64-bit id, its parts' input tables, and their label tables apart.

    A generator leaves the id out: the core gives it, see `Generator`.
    """

    event_id: int = 0
    parts: Mapping[str, Tables]
    labels: Mapping[str, Tables] = field(default_factory=dict)


@dataclass(frozen=True)
class Ragged:
    """Rows of B events end to end: ``values (N, ...)`` and ``offsets (B+1,)`` int64; numpy or torch."""

    values: Any
    offsets: Any

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, event: int) -> Any:
        """The rows of one event, a view."""
        return self.values[int(self.offsets[event]) : int(self.offsets[event + 1])]

    @property
    def lengths(self) -> Any:
        """Rows of each event, ``(B,)``."""
        return self.offsets[1:] - self.offsets[:-1]


@dataclass(frozen=True)
class RaggedTable:
    """A table of B events: columns ``(N, ...)`` that share ``offsets (B+1,)``; numpy or torch."""

    columns: Mapping[str, Any]
    offsets: Any

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, column: str) -> Ragged:
        return Ragged(self.columns[column], self.offsets)

    @property
    def lengths(self) -> Any:
        """Rows of each event, ``(B,)``."""
        return self.offsets[1:] - self.offsets[:-1]


RaggedTables = Mapping[str, RaggedTable]
"""Table name to `RaggedTable`, of one part."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B events, packed without padding. An event without a part has no rows in the part's tables.

    Attributes:
        event_ids: ``(B,)`` int64, the bits of the unsigned ids.
        cost: ``(B,)`` int64, rows of the primary tables as stored, before any cut.
        parts: Part name to its input tables.
        labels: Part name to its label tables, row for row with ``parts`` where a table is in both.
        group: ``(B,)`` int64, the same for events that an objective compares with one another
            (`Comparing`); None where it looks at each by itself.
    """

    event_ids: Any
    cost: Any
    parts: Mapping[str, RaggedTables]
    labels: Mapping[str, RaggedTables] = field(default_factory=dict)
    group: Any = None

    def __len__(self) -> int:
        return len(self.event_ids)

    def event(self, row: int) -> Sample:
        """One event of a numpy batch, as views."""

        def cut(parts: Mapping[str, RaggedTables]) -> dict[str, Tables]:
            return {
                part: {name: {c: table[c][row] for c in table.columns} for name, table in tables.items()}
                for part, tables in parts.items()
            }

        event_id = int(self.event_ids[row]) & 0xFFFFFFFFFFFFFFFF
        return Sample(event_id=event_id, parts=cut(self.parts), labels=cut(self.labels))
