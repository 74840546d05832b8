"""The contract of a modality: what its events become, and that hidden units are gone from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hepfm.api import Located, RaggedTable, RaggedTables, Tables
from hepfm.readers.layout import parts_from_json, parts_to_json
from hepfm.testing.checks import PART, assert_close, assert_sums_close, shuffled

if TYPE_CHECKING:
    from hepfm.testing.modality import Subject


def schema_survives_writing(subject: Subject) -> None:
    """The schema is the same after it is written to a store and read."""
    read = parts_from_json(parts_to_json({PART: subject.schema}), path=Path("contract"))[PART]
    assert parts_to_json({PART: read}) == parts_to_json({PART: subject.schema}), "the schema changes"
    assert subject.schema.primary in subject.schema.tables, f"no table '{subject.schema.primary}'"


def selection_is_masks(subject: Subject) -> None:
    """``select`` gives numpy bool masks, one entry a row, of known tables; cut again, nothing goes."""
    packed = pack_numpy(subject)
    for table, mask in subject.modality.select(packed).items():
        assert table in packed, f"no table '{table}'"
        assert isinstance(mask, np.ndarray), (
            f"the mask of '{table}' is {type(mask).__name__}, not a numpy array"
        )
        assert mask.dtype == np.bool_, f"the mask of '{table}' is {mask.dtype}, not bool"
        rows = int(packed[table].offsets[-1])
        assert mask.shape == (rows,), f"the mask of '{table}' is {mask.shape} for {rows} rows"
        lengths = np.add.reduceat(np.append(mask, False), packed[table].offsets[:-1]) * (
            packed[table].lengths > 0
        )
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        kept = RaggedTable({name: values[mask] for name, values in packed[table].columns.items()}, offsets)
        again = subject.modality.select({**packed, table: kept})[table]
        assert again.all(), f"the cut on '{table}' drops rows that it kept before"


def pack_numpy(subject: Subject) -> RaggedTables:
    """The events' input tables as a reader gives them."""
    tables = subject.tables(subject.events)
    return {
        name: RaggedTable({c: v.numpy() for c, v in table.columns.items()}, table.offsets.numpy())
        for name, table in tables.items()
    }


def units_are_packed(subject: Subject) -> None:
    """Units have finite float32 positions ``(U, n_positions)`` and offsets that cut them into the events."""
    units = subject.units([subject.events[0], subject.nothing, *subject.events[1:]])
    assert units.positions.dtype == torch.float32, f"positions are {units.positions.dtype}"
    assert units.positions.shape[1:] == (subject.modality.n_positions,), (
        f"positions {tuple(units.positions.shape)}"
    )
    assert bool(torch.isfinite(units.positions).all()), "positions are not finite"
    offsets = units.offsets
    assert offsets.dtype == torch.int64, f"offsets are {offsets.dtype}"
    assert len(offsets) == len(subject.events) + 2, (
        f"{len(offsets)} offsets for {len(subject.events) + 1} events"
    )
    assert int(offsets[0]) == 0, "offsets do not start at 0"
    assert int(offsets[-1]) == len(units.positions), "offsets do not end at the number of units"
    assert int(offsets[2] - offsets[1]) == 0, "an empty event has units"
    assert bool((offsets.diff() >= 0).all()), "offsets go down"
    assert int(offsets.diff().max()) > 2, "the events given to the contract are too small: none has 3 units"


def places_lie_along_the_axes(subject: Subject) -> None:
    """Where a modality names axes, units and their pieces have places there, pieces within their units."""
    modality = subject.modality
    if not isinstance(modality, Located) or not modality.axes:
        return
    units = subject.units(subject.events)
    n = len(units.positions)
    visible = torch.arange(n) % 2 == 0
    x, points = subject.tokenizer(units, visible)
    pieces = modality.pieces(units, visible, subject.tokenizer.features(points, x))
    assert pieces.features.shape == (len(pieces.unit), modality.piece_width), (
        f"pieces have features {tuple(pieces.features.shape)}"
    )
    assert len(pieces.unit), "visible units have no pieces"
    assert bool((pieces.unit.diff() >= 0).all()), "pieces are not in the order of their units"
    for what, places, number in (("units", units.places, n), ("pieces", pieces.places, len(pieces.unit))):
        assert set(places) == set(modality.axes), f"{what} lie along {sorted(places)}, not {modality.axes}"
        for axis, place in places.items():
            assert place.shape == (number, 2), f"places of {what} along {axis} are {tuple(place.shape)}"
            assert bool(place[:, 0].isfinite().all()), f"places of {what} along {axis} are not finite"
            assert bool((place[:, 1] >= 0).all()), f"{what} reach less than nothing along {axis}"
    for axis, place in units.places.items():
        middle, reach = (place[visible][pieces.unit] - pieces.places[axis]).unbind(1)
        known = place[visible][pieces.unit, 1].isfinite()
        slack = 1e-3 + 1e-5 * place[:, 0].abs().max()
        assert bool((middle.abs() <= reach + slack)[known].all()), f"pieces lie outside of units along {axis}"


def row_order_is_free(subject: Subject) -> None:
    """Another order of an event's rows gives the same units, tokens and targets.

    Of nested tables the runs are reordered, not what is in them.
    """
    moved = [shuffled(event, f"event {i}", subject.schema)[0] for i, event in enumerate(subject.events)]
    units, other = subject.units(subject.events), subject.units(moved)
    assert torch.equal(units.offsets, other.offsets), "other numbers of units"
    assert_close(other.positions, units.positions, "positions")
    visible = ~subject.hidden(units)
    assert_close(subject.tokens(other, visible), subject.tokens(units, visible), "tokens")
    assert_sums_close(
        subject.losses(subject.decoder, moved), subject.losses(subject.decoder, subject.events), "loss"
    )


def events_are_independent(subject: Subject) -> None:
    """An event alone and in a batch gives the same units and tokens, to 1e-5."""
    batch = [subject.events[0], subject.nothing, *subject.events[1:]]
    units = subject.units(batch)
    visible = ~subject.hidden(units)
    tokens = subject.tokens(units, visible)
    assert tokens.shape == (int(visible.sum()), subject.width), (
        f"tokens {tuple(tokens.shape)} for {int(visible.sum())} units"
    )
    ends = torch.cat([torch.zeros(1, dtype=torch.int64), visible.cumsum(0)])[units.offsets]
    for row, event in enumerate(batch):
        alone = subject.units([event])
        rows = slice(int(units.offsets[row]), int(units.offsets[row + 1]))
        assert_close(alone.positions, units.positions[rows], f"positions of event {row}")
        found = subject.tokens(alone, ~subject.hidden(alone))
        assert_close(found, tokens[int(ends[row]) : int(ends[row + 1])], f"tokens of event {row}")


def hidden_units_are_gone(subject: Subject) -> None:
    """Tokens and points of the visible units are those of events that never had the hidden ones."""
    units = subject.units(subject.events)
    visible = ~subject.hidden(units)
    never = subject.modality.units(subject.modality.visible_tables(units, visible))
    assert_close(never.positions, units.positions[visible], "positions of what is visible")
    assert_close(subject.tokens(never, subject.all(never)), subject.tokens(units, visible), "tokens")
    assert_close(subject.points(never, subject.all(never)), subject.points(units, visible), "points")


def hidden_content_is_unseen(subject: Subject) -> None:
    """What hidden units hold changes no visible token and no hint, and no gradient reaches it."""
    units = subject.units(subject.events)
    hidden = subject.hidden(units)
    primary = subject.schema.primary
    seen_tables, unseen_tables = (subject.modality.visible_tables(units, mask) for mask in (~hidden, hidden))
    seen, unseen = seen_tables[primary], unseen_tables[primary]
    columns = [name for name in subject.content if name in unseen.columns]
    assert columns, f"the tables of the visible units have none of {subject.content}"
    tables = {
        name: _interleave(seen_tables[name], unseen_tables[name]) if name in seen_tables else table
        for name, table in subject.tables(subject.events).items()
    }

    def tokens(hidden_columns: Mapping[str, Tensor], seen_columns: Mapping[str, Tensor]) -> Tensor:
        table = _interleave(
            RaggedTable(seen_columns, seen.offsets), RaggedTable(hidden_columns, unseen.offsets)
        )
        rebuilt = subject.modality.units({**tables, primary: table})
        assert torch.equal(rebuilt.positions, units.positions), (
            f"changing {columns} moves units: name as content only columns that do not"
        )
        queries = subject.queries(subject.decoder, rebuilt, hidden)
        return torch.cat((subject.tokens(rebuilt, ~hidden), queries))

    before = tokens(unseen.columns, seen.columns)
    changed = tokens(
        {n: v * 1.5 + 0.1 if n in columns else v for n, v in unseen.columns.items()}, seen.columns
    )
    assert_close(changed, before, "visible tokens and hints after a change of hidden content", tolerance=0.0)
    leaves = [
        {n: v.clone().requires_grad_() if n in columns else v for n, v in table.columns.items()}
        for table in (unseen, seen)
    ]
    out = tokens(*leaves).square().sum()
    for name in columns:
        _, from_seen = (side[name] for side in leaves)
        if out.requires_grad:
            out.backward(retain_graph=True)  # type: ignore[no-untyped-call]
        gradient = leaves[0][name].grad
        assert gradient is None or not bool(gradient.any()), f"a gradient reaches hidden {name}"
        if from_seen.grad is not None:
            assert bool(from_seen.grad.any()), (
                f"no gradient reaches visible {name}: the test would see nothing"
            )


def _interleave(first: RaggedTable, second: RaggedTable) -> RaggedTable:
    """The rows of two tables, event by event."""
    events = range(len(first))
    columns = {
        name: torch.cat([side[name][event] for event in events for side in (first, second)])
        for name in first.columns
    }
    return RaggedTable(columns, first.offsets + second.offsets)


def content_matters(subject: Subject) -> None:
    """What visible units hold does change their tokens."""
    table = subject.tables(subject.events)[subject.schema.primary]
    columns = {n: v * 1.5 + 0.1 if n in subject.content else v for n, v in table.columns.items()}
    units = subject.units(subject.events)
    other = subject.modality.units(
        {**subject.tables(subject.events), subject.schema.primary: RaggedTable(columns, table.offsets)}
    )
    tokens, changed = subject.tokens(units, subject.all(units)), subject.tokens(other, subject.all(other))
    assert not torch.allclose(tokens, changed), f"tokens are blind to {subject.content}"


def points_follow_rows(subject: Subject) -> None:
    """Point features come in the rows' own order, ``(N, W + point_width)``, alone as in a batch."""
    found = _points(subject, subject.events)
    offsets = subject.tables(subject.events)[subject.schema.primary].offsets
    width = subject.tokenizer.point_width + subject.width
    assert found.values.shape == (int(offsets[-1]), width), (
        f"{tuple(found.values.shape)} for {int(offsets[-1])} rows"
    )
    assert torch.equal(found.offsets, offsets), "offsets are not the rows'"
    for row, event in enumerate(subject.events):
        assert_close(_points(subject, [event]).values, found[row], f"points of event {row}")
        moved, orders = shuffled(event, "points", subject.schema)
        other = _points(subject, [moved]).values
        assert_close(
            other, found[row][orders[subject.schema.primary]], f"points of event {row} with moved rows"
        )


def _points(subject: Subject, events: Sequence[Tables]) -> Any:
    units = subject.units(events)
    tokens, points = subject.tokenizer(units, subject.all(units))
    spread, features = subject.tokenizer.spread(points, tokens), subject.tokenizer.features(points, tokens)
    return subject.tokenizer.rows(units, torch.cat((spread, features), 1))


TOKENS = (
    schema_survives_writing,
    selection_is_masks,
    units_are_packed,
    places_lie_along_the_axes,
    row_order_is_free,
    events_are_independent,
    hidden_units_are_gone,
    hidden_content_is_unseen,
    content_matters,
    points_follow_rows,
)
