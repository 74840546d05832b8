"""The contract of a modality: what is learned of hidden units, and how events are varied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hepfm.testing.checks import added, assert_close, assert_connected, assert_sums_close, draws_of, total

if TYPE_CHECKING:
    from hepfm.testing.modality import Subject


def hints_are_of_hidden_units(subject: Subject) -> None:
    """Hints have one row for each hidden unit, alone as in a batch; zeros where nothing is visible."""
    units = subject.units(subject.events)
    hidden = subject.hidden(units)
    found = subject.decoder.hints(units, ~hidden, subject.points(units, ~hidden))
    assert found.shape == (int(hidden.sum()), subject.width), (
        f"{tuple(found.shape)} for {int(hidden.sum())} units"
    )
    alone = []
    for event in subject.events:
        one = subject.units([event])
        gone = subject.hidden(one)
        alone.append(subject.decoder.hints(one, ~gone, subject.points(one, ~gone)))
    assert_close(torch.cat(alone), found, "hints of events alone")
    unseen = subject.decoder.hints(
        units, subject.all(units, value=False), found.new_zeros(0, subject.tokenizer.point_width)
    )
    assert not bool(unseen.any()), "there are hints where nothing is visible"


def counts_follow_masks(subject: Subject) -> None:
    """Counts are whole numbers, zero where nothing is hidden, and add up over events."""
    units = subject.units(subject.events)
    whole = subject.modality.target(units, subject.hidden(units)).counts
    assert whole, "no loss term"
    assert all(type(count) is int for count in whole.values()), f"{dict(whole)} are not all int"
    assert any(whole.values()), "nothing is counted where units are hidden"
    nothing = subject.modality.target(units, subject.all(units, value=False)).counts
    assert not any(nothing.values()), f"{dict(nothing)} where nothing is hidden"
    alone = []
    for event in subject.events:
        one = subject.units([event])
        alone.append(subject.modality.target(one, subject.hidden(one)).counts)
    assert added(alone) == dict(whole), f"{dict(whole)} in the batch, {added(alone)} alone"


def losses_add_up(subject: Subject) -> None:
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


def baseline_learns_marginals(subject: Subject) -> None:
    """What ``observe`` gathers starts at zero, adds up, and gives a finite baseline of all terms."""
    units = [subject.units([event]) for event in subject.events]
    targets = [subject.modality.target(one, subject.hidden(one)) for one in units]
    decoders = [subject.modality.decoder(subject.width) for _ in range(3)]
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
    fresh = subject.modality.decoder(subject.width).baseline(targets[0])
    assert all(bool(torch.isfinite(v)) for v in fresh.values()), (
        f"before any target it is not finite: {fresh}"
    )


def _buffers(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone().double() for name, value in module.named_buffers()}


def predictions_are_tables(subject: Subject) -> None:
    """A prediction can be shown: tables of the schema's columns, one entry an event; masks part the rows."""
    units = subject.units(subject.events)
    hidden = subject.hidden(units)
    prediction = subject.decoder(subject.queries(subject.decoder, units, hidden))
    shown = {
        "prediction": subject.decoder.tables(prediction, units, hidden),
        "visible": subject.modality.visible_tables(units, ~hidden),
        "hidden": subject.modality.visible_tables(units, hidden),
        "all": subject.modality.visible_tables(units, subject.all(units)),
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


def nothing_is_no_trouble(subject: Subject) -> None:
    """Empty events, and a batch of none, give zero sums and counts, and connect every parameter."""
    for events in ([], [subject.nothing], [subject.nothing, subject.nothing]):
        units = subject.units(events)
        assert len(units.positions) == 0, f"{len(units.positions)} units in {len(events)} empty events"
        assert len(units.offsets) == len(events) + 1, f"{len(units.offsets)} offsets for {len(events)} events"
        target = subject.modality.target(units, subject.all(units))
        assert not any(target.counts.values()), f"counts {dict(target.counts)} of empty events"
        tokens = subject.tokens(units, subject.all(units))
        decoded = subject.decoder(subject.queries(subject.decoder, units, subject.all(units)))
        sums = subject.decoder.loss(decoded, target)
        assert all(value.item() == 0 for value in sums.values()), f"loss {sums} of empty events"
        both = nn.ModuleDict({"tokenizer": subject.tokenizer, "decoder": subject.decoder})
        points = subject.points(units, subject.all(units))
        assert_connected(both, tokens.sum() + points.sum() + total(sums))


def parameters_learn(subject: Subject) -> None:
    """Every parameter of tokenizer and decoder gets a finite gradient."""
    units = subject.units(subject.events)
    tokens, points = (of(units, ~subject.hidden(units)) for of in (subject.tokens, subject.points))
    sums = subject.losses(subject.decoder, subject.events)
    both = nn.ModuleDict({"tokenizer": subject.tokenizer, "decoder": subject.decoder})
    assert_connected(both, tokens.square().sum() + points.square().sum() + total(sums))


def augmentation_belongs_to_events(subject: Subject) -> None:
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


LOSSES = (
    hints_are_of_hidden_units,
    counts_follow_masks,
    losses_add_up,
    baseline_learns_marginals,
    predictions_are_tables,
    nothing_is_no_trouble,
    parameters_learn,
    augmentation_belongs_to_events,
)
