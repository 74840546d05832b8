"""From units back to tables of the schema.

Legend: R records, S slots, U units, H units kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hepfm.api import PartSchema, RaggedTable, RaggedTables
from hepfm.nn.ragged import offsets_of
from hepfm_structured.records import Records
from hepfm_structured.schema import EVENT
from hepfm_structured.slots import OBJECT, RECORD, Slot


def kept_tables(
    records: Records, keep: torch.Tensor, schema: PartSchema, slots: Sequence[Slot]
) -> RaggedTables:
    """The rows that units of a mask ``(U,)`` bool are of, in order.

    Where units are single fields, the fields of other units are NaN, and numbers floating-point.
    """
    if records.whole:
        return _tables(records, keep, schema, slots, None)
    units = records.own.any(0)  # the place is no unit, and stays
    shown = _at_records(records, keep, records.own[keep].double()) > 0
    numbers = torch.where(shown, torch.inf, torch.nan)  # infinite: as it is
    numbers[:, ~units] = torch.inf
    return _tables(records, keep, schema, slots, numbers)


def predicted_tables(
    records: Records,
    keep: torch.Tensor,
    schema: PartSchema,
    slots: Sequence[Slot],
    predicted: torch.Tensor,
) -> RaggedTables:
    """The same rows with predicted numbers ``(H, S)`` float64, infinite where none is predicted.

    Columns that no model sees are left out: nobody predicts them.
    """
    absent = torch.full_like(predicted, torch.inf)
    own = records.own[keep] & predicted.isfinite()
    numbers = torch.full((len(records.table), len(slots)), torch.inf, dtype=torch.float64, device=keep.device)
    unit, slot = own.nonzero(as_tuple=True)
    numbers[records.unit[keep][unit], slot] = predicted.where(own, absent)[unit, slot]
    return _tables(records, keep, schema, slots, numbers, only_slots=True)


def _at_records(records: Records, keep: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    total = values.new_zeros(len(records.table), values.shape[1])
    return total.index_add(0, records.unit[keep], values)


def _tables(
    records: Records,
    keep: torch.Tensor,
    schema: PartSchema,
    slots: Sequence[Slot],
    numbers: torch.Tensor | None,
    *,
    only_slots: bool = False,
) -> RaggedTables:
    stays = torch.zeros(len(records.table), dtype=torch.bool, device=keep.device)
    stays[records.unit[keep]] = True
    n_events = len(records.tables[schema.primary])
    made: dict[str, RaggedTable] = {}
    for table, name in ((OBJECT, schema.primary), (RECORD, EVENT)):
        if name not in records.tables:
            continue
        rows = (stays & (records.table == table)).nonzero()[:, 0]
        columns = {}
        for column, values in records.tables[name].columns.items():
            mine = [i for i, slot in enumerate(slots) if (slot.table, slot.column) == (table, column)]
            if not mine and only_slots:
                continue
            raw = values[records.source[rows]]
            if mine and numbers is not None:
                changed = raw if raw.dtype == torch.float32 else raw.double()
                changed = changed.clone()
                for i in mine:
                    entry = (slice(None), *slots[i].component)
                    new = numbers[rows, i]
                    changed[entry] = new.to(changed.dtype).where(~new.isinf(), changed[entry])
                raw = changed.to(raw.dtype) if only_slots else changed
            columns[column] = raw
        offsets = offsets_of(torch.bincount(records.event[rows], minlength=n_events))
        made[name] = RaggedTable(columns, offsets)
    return made
