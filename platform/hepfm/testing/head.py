"""The contract of a head, as checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hepfm.api import (
    Answered,
    Batch,
    Features,
    Need,
    PartSchema,
    Plotted,
    Probed,
    Ragged,
    RaggedTable,
    RaggedTables,
    Sample,
    Tokens,
)
from hepfm.data.tensors import tables_to_numpy, to_numpy, to_torch
from hepfm.display.html import write_html
from hepfm.errors import DataError
from hepfm.nn.ragged import offsets_of
from hepfm.readers.layout import check_parts, columns, half
from hepfm.readers.pack import pack
from hepfm.testing.checks import (
    added,
    assert_close,
    assert_connected,
    assert_sums_close,
    empty_event,
    run_checks,
    total,
)

_WIDTHS: Mapping[Need, int] = {"tokens": 16, "points": 24, "pooled": 48}
_POSITIONS = 3
_TOKENS = 7
"""Tokens of the event that has most of them."""


def head_contract(
    head: type[Any],
    config: Any = None,
    *,
    schema: Mapping[str, PartSchema],
    samples: Sequence[Sample],
) -> None:
    """Checks a head's class against the contract of `hepfm.api.Head`.

    Args:
        head: The class.
        config: Its configuration; by default ``head.Config()``.
        schema: Part name to schema, with the labels that the head learns from.
        samples: Three events or more of these parts, with their labels.

    Raises:
        AssertionError: Names each rule that is broken.
    """
    assert len(samples) >= 3, "the contract needs three events or more"
    torch.manual_seed(0)
    config = config if config is not None else head.Config()
    module = head(config, schema=schema, d_in=_d_in)
    run_checks("head", CHECKS, _Subject(head, config, module, schema, tuple(samples)))


@dataclass(frozen=True)
class _Subject:
    head: type[Any]
    config: Any
    module: Any
    schema: Mapping[str, PartSchema]
    samples: tuple[Sample, ...]

    def batch(self, samples: Sequence[Sample], *, labels: bool = True) -> Batch:
        return to_torch(pack(samples, self.schema, labels=labels))

    def features(self, samples: Sequence[Sample]) -> Features:
        """Features of these events as the head needs them, of each event the same ones in every batch."""
        batch, needs = self.batch(samples), self.module.needs
        return Features(
            tokens=self._rows("tokens", samples, batch.cost.clamp(max=_TOKENS))
            if "tokens" in needs
            else None,
            points=self._rows("points", samples, self.points(batch)) if "points" in needs else None,
            pooled=self._rows("pooled", samples, torch.ones_like(batch.cost)).x
            if "pooled" in needs
            else None,
            inputs=batch.parts[self.module.part] if "inputs" in needs else None,
            events=len(samples),
        )

    def points(self, batch: Batch) -> Tensor:
        """``(B,)`` rows of the primary table of the head's part."""
        part = self.module.part
        primary = self.schema[part].primary
        half = batch.parts if primary in batch.parts[part] else batch.labels
        lengths: Tensor = half[part][primary].lengths
        return lengths

    def _rows(self, need: Need, samples: Sequence[Sample], lengths: Tensor) -> Tokens:
        width = _WIDTHS[need] + _POSITIONS
        values = [_values(sample.event_id, int(n), width) for sample, n in zip(samples, lengths, strict=True)]
        rows = torch.cat([torch.empty(0, width), *values])
        x, positions = rows[:, :-_POSITIONS], rows[:, -_POSITIONS:]
        part = torch.zeros(len(x), dtype=torch.int64)
        return Tokens(x=x, positions=positions, offsets=offsets_of(lengths), part=part)

    def losses(self, samples: Sequence[Sample]) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Sums and counts of the loss terms."""
        batch = self.batch(samples)
        return self.module.loss(self.module(self.features(samples)), batch), self.module.counts(batch)

    def predicted(self, samples: Sequence[Sample]) -> dict[str, RaggedTables]:
        tables: dict[str, RaggedTables] = self.module.predict(self.module(self.features(samples)))
        return tables

    def statistics(self, samples: Sequence[Sample]) -> dict[str, np.ndarray[Any, Any]]:
        with torch.no_grad():
            tables = self.predicted(samples)
        predicted = {part: tables_to_numpy(each) for part, each in tables.items()}
        found: dict[str, np.ndarray[Any, Any]] = self.module.statistics(
            predicted, to_numpy(self.batch(samples))
        )
        return found

    def empty(self, event_id: int) -> Sample:
        """An event without a row in any part."""
        inputs, labels = (
            {part: empty_event(half(schema, label=label)) for part, schema in self.schema.items()}
            for label in (False, True)
        )
        return Sample(event_id=event_id, parts=inputs, labels=labels)


def _d_in(need: Need, _part: str) -> int:
    return _WIDTHS[need]


def _values(event_id: int, rows: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(event_id & (2**63 - 1))
    return torch.randn(rows, width, generator=generator)


def needs_are_named(subject: _Subject) -> None:
    """``needs`` are of tokens, points, pooled, inputs; ``part`` is one of the data, or empty for tokens."""
    needs, part = subject.module.needs, subject.module.part
    assert not isinstance(needs, str), f"needs is '{needs}', and not a sequence of names"
    assert needs, "the head needs nothing"
    assert set(needs) <= {*_WIDTHS, "inputs"}, f"needs are {needs}"
    assert part in subject.schema or not (part or {"points", "inputs"} & set(needs)), f"part is '{part}'"


def predictions_can_be_stored(subject: _Subject) -> None:
    """What is predicted has schemas that the event store can hold, without labels."""
    predictions = subject.module.predictions
    assert predictions, "nothing is predicted"
    check_parts(predictions)
    labels = [name for _, _, name, column in columns(predictions) if column.label]
    assert not labels, f"column {labels[0]} is marked as a label: it would be taken for truth"


def predictions_follow_their_schema(subject: _Subject) -> None:
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


def losses_are_sums_and_counts(subject: _Subject) -> None:
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


def half_precision_ends_before_the_loss(subject: _Subject) -> None:
    """Where products are in bf16, the loss is float32 and near its value; predicting needs no autocast."""
    features, batch = subject.features(subject.samples), subject.batch(subject.samples)
    wanted, _ = subject.losses(subject.samples)
    with torch.autocast("cpu", torch.bfloat16):
        prediction = subject.module(features)
        sums = subject.module.loss(prediction, batch)
    for term, value in sums.items():
        assert value.dtype == torch.float32, f"term '{term}' is {value.dtype} under autocast"
        apart = abs(value.item() - wanted[term].item())
        assert apart <= 0.05 * (1 + abs(wanted[term].item())), (
            f"term '{term}' is {value.item()} with products in bf16, {wanted[term].item()} in float32"
        )
    for tables in subject.module.predict(prediction).values():
        for name, table in tables.items():
            for column, values in table.columns.items():
                assert bool(torch.isfinite(values).all()), f"table {name}, column {column} is not finite"


def events_are_independent(subject: _Subject) -> None:
    """An event alone and in a batch gets the same prediction, to 1e-5; nothing is drawn at random."""
    batch = [subject.samples[0], subject.empty(901), *subject.samples[1:]]
    together = subject.predicted(batch)
    for row, sample in enumerate(batch):
        for part, tables in subject.predicted([sample]).items():
            for name, table in tables.items():
                for column in table.columns:
                    where = f"event {row}, part {part}, table {name}, column {column}"
                    assert_close(table[column][0], together[part][name][column][row], where)


def losses_add_up(subject: _Subject) -> None:
    """Sums and counts of a batch are those of its events together, to 1e-5, however it is cut."""
    whole, counts = subject.losses(subject.samples)
    for cut in (1, len(subject.samples) // 2):
        parts = [subject.losses(part) for part in (subject.samples[:cut], subject.samples[cut:], ())]
        found = added([each for _, each in parts])
        assert found == counts, f"counts {found} in parts, {counts} together"
        assert_sums_close(added([sums for sums, _ in parts]), whole, f"cut after {cut} events")


def labels_are_asked_for(subject: _Subject) -> None:
    """A schema without labels is refused with `DataError`, and other labels give another loss.

    Or none is used.
    """
    bare = {part: half(schema, label=False) for part, schema in subject.schema.items()}
    bare = {part: schema for part, schema in bare.items() if schema.primary in schema.tables}
    try:
        head = subject.head(subject.config, schema=bare, d_in=_d_in)
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


def no_event_no_trouble(subject: _Subject) -> None:
    """A batch of no events has zero counts and sums; it, and empty events, connect every parameter."""
    for samples in ((), (subject.empty(902), subject.empty(903))):
        sums, counts = subject.losses(samples)
        if not samples:
            assert not any(counts.values()), f"counts {counts} of no events"
            assert all(value.item() == 0 for value in sums.values()), f"sums {sums} of no events"
        assert all(bool(torch.isfinite(value)) for value in sums.values()), f"sums {sums} of empty events"
        assert_connected(subject.module, total(sums))


def parameters_learn(subject: _Subject) -> None:
    """Every parameter gets a finite gradient, and not all are zero."""
    assert_connected(subject.module, total(subject.losses(subject.samples)[0]))
    assert any(bool(p.grad.any()) for p in subject.module.parameters()), "all gradients are zero"


def features_are_left_alone(subject: _Subject) -> None:
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


def statistics_add_up(subject: _Subject) -> None:
    """Statistics are float64 and finite, one row for each event, the same whatever batch it is in.

    Their sums give finite figures, and those of no event none that is not finite. Sums of 1 give all names.
    """
    samples = [subject.samples[0], subject.empty(905), *subject.samples[1:]]
    together = subject.statistics(samples)
    assert together, "there are no statistics, so there will be no figures"
    for name, values in together.items():
        assert values.dtype == np.float64, f"statistic '{name}' is {values.dtype}"
        assert len(values) == len(samples), f"statistic '{name}' has {len(values)} rows of {len(samples)}"
        assert np.isfinite(values).all(), f"statistic '{name}' is not finite"
        alone = np.concatenate([subject.statistics([sample])[name] for sample in samples])
        np.testing.assert_allclose(alone, values, rtol=1e-5, atol=1e-5, err_msg=f"statistic '{name}' alone")
    for name, values in subject.statistics(()).items():
        wanted = (0, *together[name].shape[1:])
        assert values.shape == wanted, f"statistic '{name}' of no event is {values.shape}, not {wanted}"
    for rows in (slice(None), slice(0)):
        figures = subject.module.figures({name: values[rows].sum(0) for name, values in together.items()})
        wrong = {name: value for name, value in figures.items() if not np.isfinite(value)}
        assert not wrong, f"figures {wrong} are not finite: leave them out where they are not defined"
        assert figures or rows.stop == 0, "there are no figures"
        named = subject.module.figures({name: np.ones(values.shape[1:]) for name, values in together.items()})
        unknown = figures.keys() - named.keys()
        assert not unknown, (
            f"figures {unknown} are not told of statistics that are all 1: names are from there"
        )


def probes_fit(subject: _Subject) -> None:
    """Where scikit-learn may take the network's place, each row has a target, and outputs predict."""
    head = subject.module
    if not isinstance(head, Probed):
        return
    (need,) = head.needs  # type: ignore[attr-defined]  # it is a head, too
    samples = [subject.empty(906), *subject.samples]
    found = getattr(subject.features(samples), need)
    rows = len(found if need == "pooled" else found.x)
    targets = head.targets(subject.batch(samples))
    assert len(targets) == len(samples), f"targets of {len(targets)} events of {len(samples)}"
    if head.answers == "classes":
        assert targets.values.dtype == torch.int64, f"classes are {targets.values.dtype}"
        last = head.outputs - 1
        assert bool(((targets.values >= -1) & (targets.values <= last)).all()), f"not all in -1 to {last}"
    shape = (rows,) if head.answers == "classes" else (rows, head.outputs)
    assert tuple(targets.values.shape) == shape, f"targets are {tuple(targets.values.shape)}, not {shape}"
    outputs = torch.randn(rows, head.outputs, generator=torch.Generator().manual_seed(0))
    predicted = subject.module.predict(head.from_outputs(Ragged(outputs, targets.offsets)))
    assert set(predicted) == set(subject.module.predictions), f"parts {sorted(predicted)} are predicted"


def truth_follows_predictions(subject: _Subject) -> None:
    """Where the head tells right answers, these are columns of its predictions, of each event.

    Of points, there is one for each.
    """
    head = subject.module
    if not isinstance(head, Answered):
        return
    samples = [subject.samples[0], subject.empty(907), *subject.samples[1:]]
    predicted = subject.predicted(samples)
    for part, tables in head.truth(to_numpy(subject.batch(samples))).items():
        for name, table in tables.items():
            where = f"truth of part {part}, table {name}"
            known = head.predictions[part].tables.get(name, {})  # type: ignore[attr-defined]
            assert known, f"{where} is not predicted"
            assert len(table) == len(samples), f"{where} has {len(table)} events of {len(samples)}"
            if name == subject.schema[part].primary:
                assert table.offsets.tolist() == predicted[part][name].offsets.tolist(), (
                    f"{where} has other rows"
                )
            for column, values in table.columns.items():
                assert column in known, f"{where}, column {column} is not predicted"
                shape = (int(table.offsets[-1]), *known[column].shape)
                assert values.shape == shape, f"{where}, column {column} is {values.shape}, not {shape}"


def plots_are_drawn(subject: _Subject) -> None:
    """Where the head describes plots, they can be drawn: of events, and of none."""
    if not isinstance(subject.module, Plotted):
        return
    statistics = subject.statistics(subject.samples)
    with TemporaryDirectory() as folder:
        for rows in (slice(None), slice(0)):
            panels = subject.module.plots({name: values[rows].sum(0) for name, values in statistics.items()})
            assert panels, "it describes none"
            write_html(panels, Path(folder, "plots.html"))


CHECKS = (
    needs_are_named,
    predictions_can_be_stored,
    predictions_follow_their_schema,
    losses_are_sums_and_counts,
    half_precision_ends_before_the_loss,
    events_are_independent,
    losses_add_up,
    labels_are_asked_for,
    no_event_no_trouble,
    parameters_learn,
    features_are_left_alone,
    statistics_add_up,
    probes_fit,
    truth_follows_predictions,
    plots_are_drawn,
)
