"""The contract of an objective, as checks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from hepfm.api import (
    Backbone,
    Batch,
    Comparing,
    Labelled,
    Modality,
    Plan,
    Reconstruction,
    Sample,
    Taught,
)
from hepfm.nn.encoder import Encoder
from hepfm.testing.checks import (
    added,
    assert_close,
    assert_connected,
    assert_sums_close,
    batch_of,
    draws_of,
    empty_event,
    run_checks,
    total,
)
from hepfm.testing.teaching import figures_add_up, teacher_is_kept


def objective_contract(
    objective: type[Any],
    config: Any = None,
    *,
    modalities: Mapping[str, Modality],
    backbone: Backbone,
    samples: Sequence[Sample],
) -> None:
    """Checks an objective's class against the contract of `hepfm.api.Objective`.

    And against those of `hepfm.api.Comparing`, `Taught` and `Watched`, where it has what they name.

    Args:
        objective: The class.
        config: Its configuration; by default ``objective.Config()``.
        modalities: Part name to its modality.
        backbone: A small one, for an encoder.
        samples: Three events or more of these parts, with several units each; four for one that compares.

    Raises:
        AssertionError: Names each rule that is broken.
    """
    assert len(samples) >= 3, "the contract needs three events or more"
    torch.manual_seed(0)
    options = config if config is not None else objective.Config()
    encoder = Encoder(modalities, backbone, causal=getattr(objective, "causal", False))

    def make() -> Any:
        module = objective(options, modalities=modalities, d_model=backbone.d_model)
        if isinstance(module, Taught):
            module.begin(encoder)
        return module

    subject = _Subject(make(), encoder, modalities, tuple(samples), make)
    if subject.together > 1:
        assert len(samples) >= 4, "the contract needs four events or more of an objective that compares"
    run_checks("objective", CHECKS, subject)


@dataclass(frozen=True)
class _Subject:
    module: Any
    encoder: Any
    modalities: Mapping[str, Modality]
    samples: tuple[Sample, ...]
    make: Callable[[], Any]

    @property
    def together(self) -> int:
        """Events that must not be parted: here pairs, of an objective that compares."""
        return 2 if isinstance(self.module, Comparing) else 1

    def batch(self, samples: Sequence[Sample]) -> Batch:
        schemas = {part: modality.schema for part, modality in self.modalities.items()}
        batch = batch_of(samples, schemas, labels=isinstance(self.module, Labelled))
        if self.together == 1:
            return batch
        # Pairs of events that hold something; others are of the pair that is being filled.
        held = (batch.cost > 0).long()
        return replace(batch, group=(held.cumsum(0) - held) // self.together)

    def plan(self, samples: Sequence[Sample], *, epoch: int = 0, augment: bool = True) -> Plan:
        batch = self.batch(samples)
        draws = draws_of(batch.event_ids.tolist(), epoch=epoch)
        plan: Plan = self.module.plan(batch, draws, augment=augment)
        return plan

    def sums(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        sums: dict[str, Tensor] = self.module(self.encoder, self.plan(samples))
        return sums

    def shown(self, samples: Sequence[Sample], **options: Any) -> dict[str, Reconstruction]:
        shown: dict[str, Reconstruction] = self.module.reconstruct(
            self.encoder, self.plan(samples, **options)
        )
        return shown

    def empty(self, event_id: int) -> Sample:
        """An event without a row in any part."""
        tables = {part: empty_event(modality.schema) for part, modality in self.modalities.items()}
        return Sample(event_id=event_id, parts=tables, labels=tables)

    def assert_connected(self, sums: Mapping[str, Tensor]) -> None:
        """All parameters get a gradient, save those of the encoder that only features of points need."""
        batch = self.batch(self.samples)
        units = {part: modality.units(batch.parts[part]) for part, modality in self.modalities.items()}
        self.encoder.zero_grad(set_to_none=True)
        self.encoder(units).x.sum().backward()
        spare = {f"encoder.{name}" for name, p in self.encoder.named_parameters() if p.grad is None}
        model = nn.ModuleDict({"encoder": self.encoder, "objective": self.module})
        assert_connected(model, total(sums), spare=spare)


def counts_come_first(subject: _Subject) -> None:
    """A plan holds the count of each weighted term as a whole number, and needs no gradient."""
    plan = subject.plan(subject.samples)
    assert plan.counts, "no loss term"
    assert set(plan.counts) <= set(subject.module.weights), f"{set(plan.counts)} are not all weighted"
    assert all(type(count) is int for count in plan.counts.values()), f"{dict(plan.counts)} are not all int"
    assert any(plan.counts.values()), "nothing is counted"


def sums_fit_counts(subject: _Subject) -> None:
    """The forward pass gives a finite float32 sum of each term that the plan counted."""
    sums = subject.sums(subject.samples)
    counts = subject.plan(subject.samples).counts
    assert set(sums) == set(counts), f"sums of {sorted(sums)}, counts of {sorted(counts)}"
    for term, value in sums.items():
        assert value.shape == (), f"term '{term}' has shape {tuple(value.shape)}"
        assert value.dtype == torch.float32, f"term '{term}' is {value.dtype}"
        assert bool(torch.isfinite(value)), f"term '{term}' is {value.item()}"


def micro_batches_add_up(subject: _Subject) -> None:
    """Counts and sums of a batch are those of its parts together, to 1e-5, however it is cut."""
    whole, counts = subject.sums(subject.samples), subject.plan(subject.samples).counts
    n, size = len(subject.samples), subject.together
    for cut in {size, n // 2 // size * size}:
        parts = [subject.samples[:cut], subject.samples[cut:], ()]
        split_counts = added([subject.plan(part).counts for part in parts])
        assert split_counts == dict(counts), f"counts {split_counts} in parts, {dict(counts)} together"
        assert_sums_close(added([subject.sums(part) for part in parts]), whole, f"cut after {cut} events")


def masks_belong_to_events(subject: _Subject) -> None:
    """What is hidden of an event is the same whatever batch it is in, and in whatever place."""
    together = subject.shown(subject.samples[::-1])
    for row, sample in enumerate(reversed(subject.samples)):
        for part, alone in subject.shown([sample]).items():
            _assert_same(alone, 0, together[part], row, f"event {row}, part {part}")


def epochs_differ(subject: _Subject) -> None:
    """Another epoch hides something else; the same epoch the same. One that hides nothing draws no masks."""
    if not subject.shown(subject.samples):
        plans = [subject.plan(subject.samples, epoch=epoch, augment=False) for epoch in (0, 1)]
        first, other = (subject.module.eval()(subject.encoder.eval(), plan) for plan in plans)
        for module in (subject.module, subject.encoder):
            module.train()
        assert_sums_close(other, first, "nothing is shown as hidden, but another epoch has another loss")
        return
    first, again, other = (subject.shown(subject.samples, epoch=e, augment=False) for e in (0, 0, 1))
    for part, shown in first.items():
        for row in range(len(subject.samples)):
            _assert_same(again[part], row, shown, row, f"the same epoch again, event {row}, part {part}")
    assert any(
        not _same(shown, row, other[part], row)
        for part, shown in first.items()
        for row in range(len(subject.samples))
    ), "epoch 1 hides what epoch 0 hid"


def augmentation_can_be_off(subject: _Subject) -> None:
    """With ``augment=False`` visible and hidden rows are rows of the event as it is."""
    batch = subject.batch(subject.samples)
    shown = subject.shown(subject.samples, augment=False)
    for part in shown:
        modality = subject.modalities[part]
        units = modality.units(batch.parts[part])
        every = torch.ones(len(units.positions), dtype=torch.bool)
        whole = modality.visible_tables(units, every)[modality.schema.primary]
        for row in range(len(batch)):
            where = f"event {row}, part {part}"
            sides = [getattr(shown[part], side)[modality.schema.primary] for side in ("visible", "hidden")]
            for column in whole.columns:
                found = torch.cat([side[column][row] for side in sides])
                assert_close(_sorted(found), _sorted(whole[column][row]), f"{where}, column {column}")


def no_event_no_trouble(subject: _Subject) -> None:
    """Batches without events, or of empty ones, have zero counts and sums, and connect every parameter."""
    for samples in ([], [subject.empty(1)], [subject.empty(1), subject.empty(2)]):
        plan = subject.plan(samples)
        assert not any(plan.counts.values()), f"counts {dict(plan.counts)} of {len(samples)} empty events"
        sums = subject.module(subject.encoder, plan)
        assert all(value.item() == 0 for value in sums.values()), (
            f"sums {sums} of {len(samples)} empty events"
        )
        subject.assert_connected(sums)


def empty_events_change_nothing(subject: _Subject) -> None:
    """Empty events among others leave the sums as they are."""
    mixed = [subject.empty(901), subject.samples[0], subject.empty(902), *subject.samples[1:]]
    assert_sums_close(subject.sums(mixed), subject.sums(subject.samples), "with empty events")


def parameters_learn(subject: _Subject) -> None:
    """Every parameter of the objective, and of the encoder what tokens depend on, gets a finite gradient."""
    subject.assert_connected(subject.sums(subject.samples))


def marginals_add_up(subject: _Subject) -> None:
    """What ``observe`` gathers adds up over batches, and gives a finite baseline of the same terms.

    Without marginals, what is observed changes no baseline, which adds up over batches itself.
    """
    buffers = subject.module.marginals()
    start = [buffer.clone() for buffer in buffers]

    def gathered(*parts: Sequence[Sample]) -> list[Tensor]:
        for buffer, value in zip(buffers, start, strict=True):
            buffer.copy_(value)
        for part in parts:
            subject.module.observe(subject.plan(part))
        return [buffer.clone() - value for buffer, value in zip(buffers, start, strict=True)]

    first, rest = subject.samples[: subject.together], subject.samples[subject.together :]
    apart = [a + b for a, b in zip(gathered(first), gathered(rest), strict=True)]
    for one, both in zip(apart, gathered(first, rest), strict=True):
        assert_close(one, both, "marginals of two ranks together")
    assert not buffers or any(bool(b.any()) for b in buffers), "observing leaves the marginals at zero"
    plan = subject.plan(subject.samples)
    sums = subject.module.baseline(plan)
    if not sums:
        return
    assert set(sums) == set(plan.counts), f"baseline terms {sorted(sums)}"
    assert all(bool(torch.isfinite(value)) for value in sums.values()), f"the baseline is not finite: {sums}"
    parts = [subject.module.baseline(subject.plan(part)) for part in (first, rest)]
    assert_sums_close(added(parts), sums, "the baseline of two batches together")


def _sorted(values: Tensor) -> Tensor:
    """The rows in an order of their own, so that two sets of rows can be compared."""
    rows = values.reshape(len(values), math.prod(values.shape[1:])).double()
    for column in reversed(range(rows.shape[1])):
        rows = rows[rows[:, column].argsort(stable=True)]
    return rows


def _same(a: Reconstruction, a_row: int, b: Reconstruction, b_row: int) -> bool:
    try:
        _assert_same(a, a_row, b, b_row, "")
    except AssertionError:
        return False
    return True


def _assert_same(a: Reconstruction, a_row: int, b: Reconstruction, b_row: int, what: str) -> None:
    for side in ("visible", "hidden"):
        for name, table in getattr(a, side).items():
            for column in table.columns:
                found, wanted = table[column][a_row], getattr(b, side)[name][column][b_row]
                assert_close(found, wanted, f"{what}: {side} {name}.{column}")


CHECKS = (
    counts_come_first,
    sums_fit_counts,
    micro_batches_add_up,
    masks_belong_to_events,
    epochs_differ,
    augmentation_can_be_off,
    no_event_no_trouble,
    empty_events_change_nothing,
    parameters_learn,
    marginals_add_up,
    teacher_is_kept,
    figures_add_up,
)
