"""Where objects are, and in which order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from hepfm.api import PartSchema
from hepfm_structured.config import StructuredConfig
from hepfm_structured.slots import OBJECT, Slot, check_names

STORED = "stored"
"""Value of the option ``order``: rows as they come."""
_PLACES = (
    ("deta", "dphi"),
    ("etarel", "phirel"),
    ("eta", "phi"),
    ("x", "y", "z"),
    ("start_mm",),
    ("x", "y"),
)
_WITHIN_A_JET, _WITHIN_AN_EVENT = 0.05, 0.3
_PITCH = {"mm": 50.0, "cm": 5.0, "m": 0.05}


def place_of(config: StructuredConfig, slots: Sequence[Slot]) -> tuple[str, ...]:
    """The columns that say where an object is. `RecipeError` for one that is not there, or is a class."""
    numbers = {
        slot.column: slot.kind for slot in slots if slot.table == OBJECT and slot.kind != "categorical"
    }
    if config.place is not None:
        check_names(config.place, numbers, "place")
        return tuple(config.place)
    return next((columns for columns in _PLACES if all(c in numbers for c in columns)), ())


def order_of(
    config: StructuredConfig, schema: PartSchema, slots: Sequence[Slot], place: Sequence[str]
) -> str:
    """The column that objects are ordered by, descending, or `STORED`. `RecipeError` for one that cannot be.

    Single fields follow the place by default: a backbone that notices order must not learn what is hidden.
    """
    of_objects = [slot for slot in slots if slot.table == OBJECT and not slot.component]
    if config.order is not None:
        if config.order != STORED:
            check_names([config.order], [slot.column for slot in of_objects], "order")
        return config.order
    if config.units == "fields" and (lies := [s.column for s in of_objects if s.column in place]):
        return lies[0]
    named = [slot.column for slot in of_objects if slot.column == schema.attributes.get("order")]
    momenta = [slot.column for slot in of_objects if slot.kind == "positive"]
    return next(iter([*named, *momenta, *(slot.column for slot in of_objects)]), STORED)


def pitch_of(config: StructuredConfig, schema: PartSchema, place: Sequence[str]) -> float:
    """Distance of neighbours."""
    if config.pitch is not None:
        return config.pitch
    if "grid" in schema.attributes:
        return 1.0
    if tuple(place) == ("eta", "phi"):
        return _WITHIN_AN_EVENT
    unit = schema.tables[schema.primary][place[0]].unit if place else ""
    return _PITCH.get(unit, _WITHIN_A_JET)


def axes(place: Sequence[str], slots: Sequence[Slot]) -> list[tuple[Slot, str]]:
    """The position axes: a number as it is, a periodic one as cosine and sine, whose ends then meet."""
    found: list[tuple[Slot, str]] = []
    for slot in slots:
        if slot.table == OBJECT and slot.column in place:
            found += [(slot, "cos"), (slot, "sin")] if slot.kind == "periodic" else [(slot, "as it is")]
    return found


def along(slot: Slot, how: str, raw: torch.Tensor, pitch: float) -> torch.Tensor:
    """``(N,)`` float32: numbers ``(N,)`` float64 on an axis, in pitches; 0 where not known."""
    known, raw = ~raw.isnan(), raw.nan_to_num()
    if how != "as it is":
        turn = 2 * math.pi / slot.scale
        raw = (raw * turn).cos() / turn if how == "cos" else (raw * turn).sin() / turn
    return (raw / pitch).where(known, 0.0).float()
