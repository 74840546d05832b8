"""Numbers of a row as a model takes them: fixed maps from the schema and the recipe, nothing that is fitted.

A slot is one number of a row: a column, or a component of one. Its value on the map is

- ``continuous``: asinh(x / scale), linear below the scale and logarithmic above;
- ``positive``: log(x / scale); what is 0 or negative is at the low end;
- ``periodic``: the share of the period, 0 to 1;
- ``categorical``: 0 for what the vocabulary does not name, and from 1 on its classes.

The first two end at -+ `REACH`. NaN is a value that is not known.

Legend: N rows.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import product

import torch

from hepfm.api import PartSchema
from hepfm.errors import DataError, RecipeError, did_you_mean
from hepfm_structured.config import StructuredConfig
from hepfm_structured.schema import EVENT, classes_of, fields_of

REACH = 8.0
"""Values on the map end here: at 3,000 times the scale."""
OBJECT, RECORD = 0, 1
"""A row of the primary table, the row of the table ``event``."""

_SCALES = {
    "eV": 1.0, "keV": 10.0, "MeV": 10.0, "GeV": 1.0, "TeV": 0.1,
    "um": 10.0, "mm": 10.0, "cm": 1.0, "m": 0.1, "ps": 10.0, "ns": 10.0, "us": 1.0, "s": 1.0,
    "": 0.1, "rad": 0.1, "deg": 5.0,
}  # fmt: skip
"""Typical values by unit, where the recipe gives none; 1 of another unit."""


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One number of a row.

    Attributes:
        table: `OBJECT` or `RECORD`.
        column: Its column.
        component: Index in the column's entries; empty for a column of numbers.
        kind: See above.
        scale: Typical value; of a periodic one, its period.
        classes: Values of the classes, ascending.
    """

    table: int
    column: str
    component: tuple[int, ...]
    kind: str
    scale: float
    classes: tuple[int, ...] = ()

    @property
    def term(self) -> str:
        """What losses and options call the column."""
        return self.column if self.table == OBJECT else f"{EVENT}.{self.column}"

    def pick(self, column: torch.Tensor) -> torch.Tensor:
        """``(N,)`` float64: this number of a column ``(N, ...)``."""
        for index in self.component:
            column = column[:, index]
        return column.double()

    def encode(self, raw: torch.Tensor) -> torch.Tensor:
        """``(N,)`` float64 values on the map of numbers ``(N,)`` float64, all of them known."""
        if self.kind == "positive":
            lowest = self.scale * math.exp(-REACH)
            return (raw.clamp_min(lowest) / self.scale).log().clamp_max(REACH)
        if self.kind == "continuous":
            return (raw / self.scale).asinh().clamp(-REACH, REACH)
        if self.kind == "periodic":
            return (raw / self.scale) % 1.0
        classes = torch.tensor(self.classes, dtype=torch.float64, device=raw.device)
        place = torch.searchsorted(classes, raw).clamp_max(len(classes) - 1)
        return (place + 1.0).where(classes[place] == raw, 0.0)

    def n_bins(self, bins: int) -> int:
        """How many values are told apart in a prediction."""
        return len(self.classes) + 1 if self.kind == "categorical" else bins

    def bin(self, value: torch.Tensor, bins: int) -> torch.Tensor:
        """``(N,)`` int64: the bin of values on the map."""
        if self.kind == "categorical":
            return value.long()
        share = value if self.kind == "periodic" else (value + REACH) / (2 * REACH)
        return (share * bins).long().clamp(0, bins - 1)

    def middle(self, bin_: torch.Tensor, bins: int) -> torch.Tensor:
        """``(N,)`` float64: the number in the middle of a bin; a class' value, 0 for one without a name."""
        share = (bin_.double() + 0.5) / bins
        if self.kind == "categorical":
            return torch.tensor((0, *self.classes), dtype=torch.float64, device=bin_.device)[bin_]
        if self.kind == "periodic":  # from -1/2 to 1/2 period, as angles mostly come
            return ((share + 0.5) % 1.0 - 0.5) * self.scale
        value = (2 * share - 1) * REACH
        return self.scale * (value.exp() if self.kind == "positive" else value.sinh())


def slots_of(schema: PartSchema, config: StructuredConfig) -> tuple[Slot, ...]:
    """All numbers of objects, then those of the event's record, in the order of the schema.

    Raises:
        DataError: There is no column that is a feature.
        RecipeError: An option names a column that is none.
    """
    fields = fields_of(schema)
    names = {
        (table, name): name if table == schema.primary else f"{EVENT}.{name}"
        for table, columns in fields.items()
        for name in columns
    }
    for option in ("leave_out", "scales", "weights"):
        check_names(getattr(config, option), names.values(), option)
    slots = []
    for (table, name), term in names.items():
        if term in config.leave_out or (table != schema.primary and not config.event_record):
            continue
        how, column = fields[table][name], schema.tables[table][name]
        classes = classes_of(schema, how["vocabulary"]) if how["kind"] == "categorical" else ()
        unit = column.unit.split("/")[0]
        scale = how["period"] if how["kind"] == "periodic" else _SCALES.get(unit, 1.0)
        if term in config.scales and how["kind"] not in {"continuous", "positive"}:
            what = f"The column '{term}' is {how['kind']}, which has no scale."
            raise RecipeError(what, where="option scales of the kind structured", fix="leave it out there")
        slots += [
            Slot(
                table=OBJECT if table == schema.primary else RECORD,
                column=name,
                component=component,
                kind=how["kind"],
                scale=scale if how["kind"] == "periodic" else config.scales.get(term, scale),
                classes=tuple(sorted(entry.value for entry in classes)),
            )
            for component in product(*map(range, column.shape))
        ]
    if not any(slot.table == OBJECT for slot in slots):
        raise DataError(
            f"The table '{schema.primary}' has no column that a model could see.",
            where=f"schema of kind {schema.kind}, table {schema.primary}",
            fix="give the reader columns that are no labels, or leave less out",
        )
    return tuple(slots)


def check_names(given: Iterable[str], known: Collection[str], option: str) -> None:
    """Raises `RecipeError` for a name that is none of the known columns."""
    for name in given:
        if name not in known:
            raise RecipeError(
                f"There is no column '{name}' that a model could see.",
                where=f"option {option} of the kind structured",
                fix=did_you_mean(name, known),
            )


def runs(slots: Iterable[Slot]) -> Iterator[tuple[str, list[int]]]:
    """Term and the numbers of its slots, in order."""
    found: dict[str, list[int]] = {}
    for index, slot in enumerate(slots):
        found.setdefault(slot.term, []).append(index)
    yield from found.items()
