"""Rows of all tables of a batch in one list, and the units that are made of them.

Legend: B events, R rows of both tables (records), S slots, U units, P place axes, N primary rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from hepfm.api import PartSchema, RaggedTables
from hepfm.nn.ragged import event_index
from hepfm_structured.places import STORED, along
from hepfm_structured.schema import EVENT
from hepfm_structured.slots import OBJECT, RECORD, Slot


@dataclass(frozen=True, kw_only=True)
class Records:
    """Rows in order of the event: its record first, then the objects in their order.

    Attributes:
        value: ``(R, S)`` float32 on the maps, 0 where not known.
        known: ``(R, S)`` bool; False for numbers of the other table.
        table: ``(R,)`` int64, `OBJECT` or `RECORD`.
        source: ``(R,)`` int64, row in its table.
        place: ``(R, P)`` float32.
        event: ``(R,)`` int64.
        row: ``(N,)`` int64, the record of each row of the primary table.
        row_offsets: ``(B+1,)`` int64 of that table.
        tables: The tables as they came.
        unit: ``(U,)`` int64, the record of each unit.
        own: ``(U, S)`` bool, the numbers that a unit is made of.
        whole: Whether units are whole records.
    """

    value: torch.Tensor
    known: torch.Tensor
    table: torch.Tensor
    source: torch.Tensor
    place: torch.Tensor
    event: torch.Tensor
    row: torch.Tensor
    row_offsets: torch.Tensor
    tables: RaggedTables
    unit: torch.Tensor
    own: torch.Tensor
    whole: bool


def records_of(
    tables: RaggedTables,
    schema: PartSchema,
    slots: Sequence[Slot],
    *,
    order: str,
    axes: Sequence[tuple[Slot, str]],
    pitch: float,
) -> Records:
    """The rows of a batch, each of them a unit.

    Args:
        tables: Torch tables.
        schema: Names the primary table.
        slots: What a model takes of a row.
        order: Column by which objects are ordered, descending; ties by all that is known of them.
        axes: Of the place.
        pitch: Unit of length.
    """
    names = [schema.primary, *({EVENT} if any(slot.table == RECORD for slot in slots) else ())]
    lengths = [int(tables[name].offsets[-1]) for name in names]
    device = tables[schema.primary].offsets.device
    value = torch.zeros(sum(lengths), len(slots), dtype=torch.float64, device=device)
    known = torch.zeros_like(value, dtype=torch.bool)
    bounds = [slice(0, lengths[0]), slice(lengths[0], sum(lengths))]
    for index, slot in enumerate(slots):
        if lengths[slot.table]:
            raw = slot.pick(tables[names[slot.table]].columns[slot.column])
            known[bounds[slot.table], index] = ~raw.isnan()
            value[bounds[slot.table], index] = slot.encode(raw.nan_to_num()).where(~raw.isnan(), 0.0)
    place = torch.zeros(sum(lengths), len(axes), device=device)
    for axis, (slot, how) in enumerate(axes):
        raw = slot.pick(tables[schema.primary].columns[slot.column])
        place[bounds[OBJECT], axis] = along(slot, how, raw, pitch)
    event = torch.cat([event_index(tables[name].offsets) for name in names])
    table = torch.arange(len(names), device=device).repeat_interleave(torch.tensor(lengths, device=device))
    source = torch.cat([torch.arange(n, device=device) for n in lengths])

    keys = []
    if order != STORED:  # records are alone in their table: nothing is to be told apart
        mine = [index for index, slot in enumerate(slots) if slot.table == OBJECT]
        keys = [*value[:, mine].where(known[:, mine], torch.inf).unbind(1)]
        first = torch.zeros_like(value[:, 0])
        first[bounds[OBJECT]] = -tables[schema.primary].columns[order].double()
        keys.append(first)
    chosen = torch.arange(len(value), device=device)
    for key in (*keys, -table, event):
        chosen = chosen[key[chosen].argsort(stable=True)]
    row = torch.empty(sum(lengths), dtype=torch.int64, device=device)
    row[chosen] = torch.arange(len(chosen), device=device)
    table = table[chosen]
    return Records(
        value=value[chosen].float(),
        known=known[chosen],
        table=table,
        source=source[chosen],
        place=place[chosen],
        event=event[chosen],
        row=row[bounds[OBJECT]],
        row_offsets=tables[schema.primary].offsets,
        tables=tables,
        unit=torch.arange(len(chosen), device=device),
        own=table[:, None] == torch.tensor([slot.table for slot in slots], device=device),
        whole=True,
    )


def by_field(records: Records, slots: Sequence[Slot], place: Sequence[str]) -> Records:
    """The same records with a unit for each column of each row in which something is known.

    Columns of the place make none: they are known anyway. Nor does what is not known: a hidden field and one
    that was never there look alike.
    """
    fields = field_numbers(slots, place)
    own = torch.tensor([[number == f for number in fields] for f in range(max(fields) + 1)])
    own = own.to(records.known.device)
    there = records.known.float() @ own.float().T > 0
    unit, number = there.nonzero(as_tuple=True)
    return replace(records, unit=unit, own=own[number], whole=False)


def field_numbers(slots: Sequence[Slot], place: Sequence[str]) -> list[int]:
    """For each slot the number of its column among those that make units; -1 for the place."""
    numbers: dict[str, int] = {}
    return [
        -1 if slot.table == OBJECT and slot.column in place else numbers.setdefault(slot.term, len(numbers))
        for slot in slots
    ]
