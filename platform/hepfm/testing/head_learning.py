"""The contract of a head: what it needs, what it predicts, and how it learns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import numpy as np
import torch
from torch import Tensor

from hepfm.api import Features, Need, RaggedTable, RaggedTables
from hepfm.errors import DataError
from hepfm.readers.layout import check_parts, columns, half
from hepfm.testing.checks import added, assert_close, assert_connected, assert_sums_close, total

if TYPE_CHECKING:
    from hepfm.testing.head import Subject


def needs_are_named(subject: Subject) -> None:
    """``needs`` are of tokens, points, pooled, inputs; ``part`` is one of the data, or empty for tokens."""
    needs, part = subject.module.needs, subject.module.part
    assert not isinstance(needs, str), f"needs is '{needs}', and not a sequence of names"
    assert needs, "the head needs nothing"
    assert set(needs) <= set(get_args(Need)), f"needs are {needs}"
    assert part in subject.schema or not (part or {"points", "inputs"} & set(needs)), f"part is '{part}'"


def predictions_can_be_stored(subject: Subject) -> None:
    """What is predicted has schemas that the event store can hold, without labels."""
    predictions = subject.module.predictions
    assert predictions, "nothing is predicted"
    check_parts(predictions)
    labels = [name for _, _, name, column in columns(predictions) if column.label]
    assert not labels, f"column {labels[0]} is marked as a label: it would be taken for truth"


def predictions_follow_their_schema(subject: Subject) -> None:
    """Predictions have the columns of their schemas, with types and shapes, finite, for each event."""
    samples = [*subject.samples, subject.empty(904)]
    found = subject.predicted(samples)
    wanted = subject.module.predictions
    assert set(found) == set(wanted), f"parts {sorted(found)} instead of {sorted(wanted)}"
    for part, schema in wanted.items():
        assert set(found[part]) == set(schema.tables), f"part {part} has tables {sorted(found[part])}"
        for name, table in found[part].items():
            names = schema.tables[name]
            assert set(table.columns) == set(names), f"table {name} has columns {sorted(table.columns)}"
            assert len(table) == len(samples), f"table {name} has {len(table)} events of {len(samples)}"
            for column, values in table.columns.items():
                where = f"part {part}, table {name}, column {column}"
                dtype, rows = str(values.dtype).removeprefix("torch."), int(table.offsets[-1])
                assert dtype == names[column].dtype, f"{where} is {dtype}, not {names[column].dtype}"
                shape = (rows, *names[column].shape)
                assert tuple(values.shape) == shape, f"{where} is {tuple(values.shape)}, not {shape}"
                assert bool(torch.isfinite(values).all()), f"{where} is not finite"
    if set(subject.module.needs) <= {"points", "inputs"}:
        schema = subject.schema[subject.module.part]
        lengths = subject.points(subject.batch(samples))
        assert any(
            torch.equal(table.lengths, lengths) for tables in found.values() for table in tables.values()
        ), f"no table of the predictions has a row for each of '{schema.primary}'"


def losses_are_sums_and_counts(subject: Subject) -> None:
    """The loss gives a finite float32 scalar of each weighted term; counts are whole, and not all zero."""
    sums, counts = subject.losses(subject.samples)
    assert sums, "no loss term"
    assert set(sums) == set(counts) == set(subject.module.weights), (
        f"sums of {sorted(sums)}, counts of {sorted(counts)}, weights of {sorted(subject.module.weights)}"
    )
    for term, value in sums.items():
        assert value.shape == (), f"term '{term}' has shape {tuple(value.shape)}"
        assert value.dtype == torch.float32, f"term '{term}' is {value.dtype}"
        assert bool(torch.isfinite(value)), f"term '{term}' is {value.item()}"
    assert all(type(count) is int for count in counts.values()), f"{counts} are not all int"
    assert any(counts.values()), "nothing is counted"


def half_precision_ends_before_the_loss(subject: Subject) -> None:
    """Where products are in bf16, the loss is float32 and near its value; predicting works, too.

    There, and where products are in float32 again.
    """
    features, batch = subject.features(subject.samples), subject.batch(subject.samples)
    wanted, _ = subject.losses(subject.samples)
    with torch.autocast("cpu", torch.bfloat16):
        prediction = subject.module(features)
        sums = subject.module.loss(prediction, batch)
        there = subject.module.predict(prediction)
    for term, value in sums.items():
        assert value.dtype == torch.float32, f"term '{term}' is {value.dtype} under autocast"
        apart = abs(value.item() - wanted[term].item())
        assert apart <= 0.05 * (1 + abs(wanted[term].item())), (
            f"term '{term}' is {value.item()} with products in bf16, {wanted[term].item()} in float32"
        )
    for tables in (*there.values(), *subject.module.predict(prediction).values()):
        for name, table in tables.items():
            for column, values in table.columns.items():
                assert bool(torch.isfinite(values).all()), f"table {name}, column {column} is not finite"


def events_are_independent(subject: Subject) -> None:
    """An event alone and in a batch gets the same prediction, to 1e-5; nothing is drawn at random."""
    batch = [subject.samples[0], subject.empty(901), *subject.samples[1:]]
    together = subject.predicted(batch)
    for row, sample in enumerate(batch):
        for part, tables in subject.predicted([sample]).items():
            for name, table in tables.items():
                for column in table.columns:
                    where = f"event {row}, part {part}, table {name}, column {column}"
                    assert_close(table[column][0], together[part][name][column][row], where)


def order_of_rows_does_not_matter(subject: Subject) -> None:
    """Rows in another order, with their features and labels, get the same predictions, loss and statistics.

    Each row gets its own; all to 1e-5.
    """
    moved = subject.in_another_order()
    primary = subject.schema[subject.module.part].primary if subject.module.part else ""
    found = moved.predicted(moved.samples)
    for part, tables in subject.predicted(subject.samples).items():
        for name, table in tables.items():
            for column in table.columns:
                for row, sample in enumerate(subject.samples):
                    where = f"event {row}, part {part}, table {name}, column {column}"
                    wanted = table[column][row]
                    if name == primary and sample.event_id in moved.order:
                        wanted = wanted[moved.order[sample.event_id]]
                    assert_close(found[part][name][column][row], wanted, where)
    (sums, counts), (wanted_sums, wanted_counts) = (each.losses(each.samples) for each in (moved, subject))
    assert counts == wanted_counts, f"counts {counts} instead of {wanted_counts}"
    assert_sums_close(sums, wanted_sums, "rows in another order")
    wanted_statistics = subject.statistics(subject.samples)
    for name, values in moved.statistics(moved.samples).items():
        np.testing.assert_allclose(
            values, wanted_statistics[name], rtol=1e-5, atol=1e-5, err_msg=f"statistic '{name}'"
        )


def losses_add_up(subject: Subject) -> None:
    """Sums and counts of a batch are those of its events together, to 1e-5, however it is cut."""
    whole, counts = subject.losses(subject.samples)
    for cut in (1, len(subject.samples) // 2):
        parts = [subject.losses(part) for part in (subject.samples[:cut], subject.samples[cut:], ())]
        found = added([each for _, each in parts])
        assert found == counts, f"counts {found} in parts, {counts} together"
        assert_sums_close(added([sums for sums, _ in parts]), whole, f"cut after {cut} events")


def labels_are_asked_for(subject: Subject) -> None:
    """A schema without labels is refused with `DataError`, and other labels give another loss.

    Or none is used.
    """
    bare = {part: half(schema, label=False) for part, schema in subject.schema.items()}
    bare = {part: schema for part, schema in bare.items() if schema.primary in schema.tables}
    try:
        head = subject.head(subject.config, schema=bare, d_in=subject.d_in)
    except DataError:
        batch, prediction = subject.batch(subject.samples), subject.module(subject.features(subject.samples))
        other = replace(batch, labels={part: _rolled(tables) for part, tables in batch.labels.items()})
        sums, moved = (subject.module.loss(prediction, each) for each in (batch, other))
        assert any(moved[term] != value for term, value in sums.items()), (
            "labels moved by one row give the same loss: it is blind to them, or all of them are equal"
        )
        return
    head.loss(head(subject.features(subject.samples)), subject.batch(subject.samples, labels=False))


def _rolled(tables: RaggedTables) -> RaggedTables:
    return {
        name: RaggedTable(
            {column: values.roll(1, 0) for column, values in table.columns.items()}, table.offsets
        )
        for name, table in tables.items()
    }


def no_event_no_trouble(subject: Subject) -> None:
    """A batch of no events has zero counts and sums; it, and empty events, connect every parameter."""
    for samples in ((), (subject.empty(902), subject.empty(903))):
        sums, counts = subject.losses(samples)
        if not samples:
            assert not any(counts.values()), f"counts {counts} of no events"
            assert all(value.item() == 0 for value in sums.values()), f"sums {sums} of no events"
        assert all(bool(torch.isfinite(value)) for value in sums.values()), f"sums {sums} of empty events"
        assert_connected(subject.module, total(sums))


def parameters_learn(subject: Subject) -> None:
    """Every parameter gets a finite gradient, and not all are zero."""
    assert_connected(subject.module, total(subject.losses(subject.samples)[0]))
    assert any(bool(p.grad.any()) for p in subject.module.parameters()), "all gradients are zero"


def features_are_left_alone(subject: Subject) -> None:
    """The features are not written to."""
    features, kept = subject.features(subject.samples), subject.features(subject.samples)
    subject.module.loss(subject.module(features), subject.batch(subject.samples))

    def values(of: Features) -> list[Tensor]:
        given = [column for table in (of.inputs or {}).values() for column in table.columns.values()]
        rows = [rows.x for rows in (of.tokens, of.points) if rows]
        return rows + given + ([] if of.pooled is None else [of.pooled])

    unchanged = (
        torch.equal(a.nan_to_num(), b.nan_to_num())
        for a, b in zip(values(features), values(kept), strict=True)
    )
    assert all(unchanged), "the features were changed in place"


LEARNING = (
    needs_are_named,
    predictions_can_be_stored,
    predictions_follow_their_schema,
    losses_are_sums_and_counts,
    half_precision_ends_before_the_loss,
    events_are_independent,
    order_of_rows_does_not_matter,
    losses_add_up,
    labels_are_asked_for,
    no_event_no_trouble,
    parameters_learn,
    features_are_left_alone,
)
