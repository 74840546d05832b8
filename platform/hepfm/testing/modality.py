"""The contract of a modality, with its tokenizer and decoder, as checks."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hepfm.api import Located, Modality, PartSchema, RaggedTable, RaggedTables, Tables, Units
from hepfm.readers.layout import parts_from_json, parts_to_json
from hepfm.testing.checks import (
    PART,
    added,
    assert_close,
    assert_connected,
    assert_sums_close,
    draws_of,
    empty_event,
    run_checks,
    shuffled,
    tables_of,
    total,
)

_WIDTH = 32


def modality_contract(modality: Modality, events: Sequence[Tables], *, content: Sequence[str]) -> None:
    """Checks a modality against the contract of `hepfm.api.Modality`, `Tokenizer` and `Decoder`.

    Args:
        modality: Made of the class, a configuration and the events' schema.
        events: At least three events with several units each: table to column to array, inputs only.
        content: Floating-point columns of the primary table that can change without moving a row to another
            unit, e.g. ``("energy_mev",)``; what hidden units hold is told by them.

    Raises:
        AssertionError: Names each rule that is broken.
    """
    assert len(events) >= 3, "the contract needs three events or more"
    run_checks("modality", CHECKS, _Subject(modality, tuple(events), tuple(content)))


@dataclass(frozen=True)
class _Subject:
    modality: Modality
    events: tuple[Tables, ...]
    content: tuple[str, ...]

    @property
    def schema(self) -> PartSchema:
        return self.modality.schema

    @property
    def nothing(self) -> Tables:
        return empty_event(self.schema)

    def tables(self, events: Sequence[Tables]) -> RaggedTables:
        return tables_of(events, self.schema)

    def units(self, events: Sequence[Tables]) -> Units:
        return self.modality.units(self.tables(events))

    @functools.cached_property
    def tokenizer(self) -> Any:
        torch.manual_seed(0)
        return self.modality.tokenizer(_WIDTH)

    def tokens(self, units: Units, visible: Tensor) -> Tensor:
        """Tokens of the visible units."""
        return self.tokenizer(units, visible)[0]  # type: ignore[no-any-return]

    def points(self, units: Units, visible: Tensor) -> Tensor:
        """``(Q, point_width)`` features of the visible units' points, from tokens as they are."""
        tokens, points = self.tokenizer(units, visible)
        return self.tokenizer.features(points, tokens)  # type: ignore[no-any-return]

    @functools.cached_property
    def decoder(self) -> Any:
        torch.manual_seed(0)
        return self.modality.decoder(_WIDTH)

    def hidden(self, units: Units) -> Tensor:
        """A share of the units, the same ones whatever else is in the batch."""
        index = torch.arange(len(units.positions)) - units.offsets[:-1].repeat_interleave(
            units.offsets.diff()
        )
        return index * 7 % 10 < 6

    def losses(self, decoder: Any, events: Sequence[Tables]) -> dict[str, Tensor]:
        """Sums of the loss where a hidden unit's decoded token is its query."""
        units = self.units(events)
        hidden = self.hidden(units)
        tokens = self.queries(decoder, units, hidden)
        return decoder.loss(decoder(tokens), self.modality.target(units, hidden))  # type: ignore[no-any-return]

    def queries(self, decoder: Any, units: Units, hidden: Tensor) -> Tensor:
        """Embedded positions of hidden units, and what the points of the others say of them."""
        hints = decoder.hints(units, ~hidden, self.points(units, ~hidden))
        return self.tokenizer.position(units.positions[hidden]) + hints  # type: ignore[no-any-return]


def _all(units: Units, value: bool = True) -> Tensor:
    return torch.full((len(units.positions),), value)


def schema_survives_writing(subject: _Subject) -> None:
    """The schema is the same after it is written to a store and read."""
    read = parts_from_json(parts_to_json({PART: subject.schema}), path=Path("contract"))[PART]
    assert parts_to_json({PART: read}) == parts_to_json({PART: subject.schema}), "the schema changes"
    assert subject.schema.primary in subject.schema.tables, f"no table '{subject.schema.primary}'"


def selection_is_masks(subject: _Subject) -> None:
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


def pack_numpy(subject: _Subject) -> RaggedTables:
    """The events' input tables as a reader gives them."""
    tables = subject.tables(subject.events)
    return {
        name: RaggedTable({c: v.numpy() for c, v in table.columns.items()}, table.offsets.numpy())
        for name, table in tables.items()
    }


def units_are_packed(subject: _Subject) -> None:
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


def places_lie_along_the_axes(subject: _Subject) -> None:
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


def row_order_is_free(subject: _Subject) -> None:
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


def events_are_independent(subject: _Subject) -> None:
    """An event alone and in a batch gives the same units and tokens, to 1e-5."""
    batch = [subject.events[0], subject.nothing, *subject.events[1:]]
    units = subject.units(batch)
    visible = ~subject.hidden(units)
    tokens = subject.tokens(units, visible)
    assert tokens.shape == (int(visible.sum()), _WIDTH), (
        f"tokens {tuple(tokens.shape)} for {int(visible.sum())} units"
    )
    ends = torch.cat([torch.zeros(1, dtype=torch.int64), visible.cumsum(0)])[units.offsets]
    for row, event in enumerate(batch):
        alone = subject.units([event])
        rows = slice(int(units.offsets[row]), int(units.offsets[row + 1]))
        assert_close(alone.positions, units.positions[rows], f"positions of event {row}")
        found = subject.tokens(alone, ~subject.hidden(alone))
        assert_close(found, tokens[int(ends[row]) : int(ends[row + 1])], f"tokens of event {row}")


def hidden_units_are_gone(subject: _Subject) -> None:
    """Tokens and points of the visible units are those of events that never had the hidden ones."""
    units = subject.units(subject.events)
    visible = ~subject.hidden(units)
    never = subject.modality.units(subject.modality.visible_tables(units, visible))
    assert_close(never.positions, units.positions[visible], "positions of what is visible")
    assert_close(subject.tokens(never, _all(never)), subject.tokens(units, visible), "tokens")
    assert_close(subject.points(never, _all(never)), subject.points(units, visible), "points")


def hidden_content_is_unseen(subject: _Subject) -> None:
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


def content_matters(subject: _Subject) -> None:
    """What visible units hold does change their tokens."""
    table = subject.tables(subject.events)[subject.schema.primary]
    columns = {n: v * 1.5 + 0.1 if n in subject.content else v for n, v in table.columns.items()}
    units = subject.units(subject.events)
    other = subject.modality.units(
        {**subject.tables(subject.events), subject.schema.primary: RaggedTable(columns, table.offsets)}
    )
    tokens, changed = subject.tokens(units, _all(units)), subject.tokens(other, _all(other))
    assert not torch.allclose(tokens, changed), f"tokens are blind to {subject.content}"


def points_follow_rows(subject: _Subject) -> None:
    """Point features come in the rows' own order, ``(N, W + point_width)``, alone as in a batch."""
    found = _points(subject, subject.events)
    offsets = subject.tables(subject.events)[subject.schema.primary].offsets
    width = subject.tokenizer.point_width + _WIDTH
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


def _points(subject: _Subject, events: Sequence[Tables]) -> Any:
    units = subject.units(events)
    tokens, points = subject.tokenizer(units, _all(units))
    spread, features = subject.tokenizer.spread(points, tokens), subject.tokenizer.features(points, tokens)
    return subject.tokenizer.rows(units, torch.cat((spread, features), 1))


def hints_are_of_hidden_units(subject: _Subject) -> None:
    """Hints have one row for each hidden unit, alone as in a batch; zeros where nothing is visible."""
    units = subject.units(subject.events)
    hidden = subject.hidden(units)
    found = subject.decoder.hints(units, ~hidden, subject.points(units, ~hidden))
    assert found.shape == (int(hidden.sum()), _WIDTH), f"{tuple(found.shape)} for {int(hidden.sum())} units"
    alone = []
    for event in subject.events:
        one = subject.units([event])
        gone = subject.hidden(one)
        alone.append(subject.decoder.hints(one, ~gone, subject.points(one, ~gone)))
    assert_close(torch.cat(alone), found, "hints of events alone")
    unseen = subject.decoder.hints(
        units, _all(units, value=False), found.new_zeros(0, subject.tokenizer.point_width)
    )
    assert not bool(unseen.any()), "there are hints where nothing is visible"


def counts_follow_masks(subject: _Subject) -> None:
    """Counts are whole numbers, zero where nothing is hidden, and add up over events."""
    units = subject.units(subject.events)
    whole = subject.modality.target(units, subject.hidden(units)).counts
    assert whole, "no loss term"
    assert all(type(count) is int for count in whole.values()), f"{dict(whole)} are not all int"
    assert any(whole.values()), "nothing is counted where units are hidden"
    nothing = subject.modality.target(units, _all(units, value=False)).counts
    assert not any(nothing.values()), f"{dict(nothing)} where nothing is hidden"
    alone = []
    for event in subject.events:
        one = subject.units([event])
        alone.append(subject.modality.target(one, subject.hidden(one)).counts)
    assert added(alone) == dict(whole), f"{dict(whole)} in the batch, {added(alone)} alone"


def losses_add_up(subject: _Subject) -> None:
    """Loss sums have the terms of the counts, are finite float32 scalars, and add up over events."""
    units = subject.units(subject.events)
    counts = subject.modality.target(units, subject.hidden(units)).counts
    whole = subject.losses(subject.decoder, subject.events)
    assert set(whole) == set(counts), f"loss terms {sorted(whole)}, counts of {sorted(counts)}"
    for term, value in whole.items():
        assert value.shape == (), f"term '{term}' has shape {tuple(value.shape)}"
        assert value.dtype == torch.float32, f"term '{term}' is {value.dtype}"
        assert bool(torch.isfinite(value)), f"term '{term}' is {value.item()}"
    assert_sums_close(
        added([subject.losses(subject.decoder, [e]) for e in subject.events]), whole, "events alone"
    )


def baseline_learns_marginals(subject: _Subject) -> None:
    """What ``observe`` gathers starts at zero, adds up, and gives a finite baseline of all terms."""
    units = [subject.units([event]) for event in subject.events]
    targets = [subject.modality.target(one, subject.hidden(one)) for one in units]
    decoders = [subject.modality.decoder(_WIDTH) for _ in range(3)]
    start = _buffers(decoders[0])
    for target in targets:
        decoders[0].observe(target)
    decoders[1].observe(targets[0])
    for target in targets[1:]:
        decoders[2].observe(target)
    for name, value in _buffers(decoders[0]).items():
        if torch.equal(value, start[name]):
            continue
        assert not bool(start[name].any()), f"buffer {name} does not start at zero: ranks could not add up"
        parts = _buffers(decoders[1])[name] + _buffers(decoders[2])[name]
        assert_close(parts, value, f"buffer {name} of two ranks together")
    sums = decoders[0].baseline(targets[0])
    assert set(sums) == set(targets[0].counts), f"baseline terms {sorted(sums)}"
    assert all(bool(torch.isfinite(v)) for v in sums.values()), f"the baseline is not finite: {sums}"
    fresh = subject.modality.decoder(_WIDTH).baseline(targets[0])
    assert all(bool(torch.isfinite(v)) for v in fresh.values()), (
        f"before any target it is not finite: {fresh}"
    )


def _buffers(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone().double() for name, value in module.named_buffers()}


def predictions_are_tables(subject: _Subject) -> None:
    """A prediction can be shown: tables of the schema's columns, one entry an event; masks part the rows."""
    units = subject.units(subject.events)
    hidden = subject.hidden(units)
    prediction = subject.decoder(subject.queries(subject.decoder, units, hidden))
    shown = {
        "prediction": subject.decoder.tables(prediction, units, hidden),
        "visible": subject.modality.visible_tables(units, ~hidden),
        "hidden": subject.modality.visible_tables(units, hidden),
        "all": subject.modality.visible_tables(units, _all(units)),
    }
    for what, tables in shown.items():
        for name, table in tables.items():
            assert name in subject.schema.tables, f"{what}: no table '{name}' in the schema"
            strange = set(table.columns) - set(subject.schema.tables[name])
            assert not strange, f"{what}: no columns {sorted(strange)} in the schema"
            assert len(table) == len(subject.events), f"{what}: {len(table)} events"
    primary = subject.schema.primary
    rows = {what: tables[primary].lengths for what, tables in shown.items()}
    assert torch.equal(rows["visible"] + rows["hidden"], rows["all"]), (
        "visible and hidden rows are not all rows"
    )


def nothing_is_no_trouble(subject: _Subject) -> None:
    """Empty events, and a batch of none, give zero sums and counts, and connect every parameter."""
    for events in ([], [subject.nothing], [subject.nothing, subject.nothing]):
        units = subject.units(events)
        assert len(units.positions) == 0, f"{len(units.positions)} units in {len(events)} empty events"
        assert len(units.offsets) == len(events) + 1, f"{len(units.offsets)} offsets for {len(events)} events"
        target = subject.modality.target(units, _all(units))
        assert not any(target.counts.values()), f"counts {dict(target.counts)} of empty events"
        tokens = subject.tokens(units, _all(units))
        decoded = subject.decoder(subject.queries(subject.decoder, units, _all(units)))
        sums = subject.decoder.loss(decoded, target)
        assert all(value.item() == 0 for value in sums.values()), f"loss {sums} of empty events"
        both = nn.ModuleDict({"tokenizer": subject.tokenizer, "decoder": subject.decoder})
        points = subject.points(units, _all(units))
        assert_connected(both, tokens.sum() + points.sum() + total(sums))


def parameters_learn(subject: _Subject) -> None:
    """Every parameter of tokenizer and decoder gets a finite gradient."""
    units = subject.units(subject.events)
    tokens, points = (of(units, ~subject.hidden(units)) for of in (subject.tokens, subject.points))
    sums = subject.losses(subject.decoder, subject.events)
    both = nn.ModuleDict({"tokenizer": subject.tokenizer, "decoder": subject.decoder})
    assert_connected(both, tokens.square().sum() + points.square().sum() + total(sums))


def augmentation_belongs_to_events(subject: _Subject) -> None:
    """An event's random variant depends on its own draws alone: not on its batch-mates, nor on the call."""
    ids = [101 + i for i in range(len(subject.events))]
    together = subject.modality.augment(subject.tables(subject.events), draws_of(ids))
    again = subject.modality.augment(subject.tables(subject.events), draws_of(ids))
    for name, table in together.items():
        for column, values in table.columns.items():
            where = f"table {name}, column {column}"
            assert _same(values, again[name].columns[column]), f"{where}: a second call gives another variant"
            for row, event_id in enumerate(ids):
                alone = subject.modality.augment(subject.tables([subject.events[row]]), draws_of([event_id]))
                assert _same(table[column][row], alone[name][column][0]), (
                    f"{where}: event {row} alone differs"
                )
    nothing = subject.modality.augment(subject.tables([subject.nothing]), draws_of([1]))
    assert int(nothing[subject.schema.primary].offsets[-1]) == 0, "a variant of an empty event has rows"


def _same(a: Tensor, b: Tensor) -> bool:
    """The same numbers to the bit, or NaN in the same places."""
    return torch.equal(a, b) or (a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all()))


CHECKS = (
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
    hints_are_of_hidden_units,
    counts_follow_masks,
    losses_add_up,
    baseline_learns_marginals,
    predictions_are_tables,
    nothing_is_no_trouble,
    parameters_learn,
    augmentation_belongs_to_events,
)
