"""The contracts of an objective with a teacher, and of one with figures of its own, as checks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from hepfm.api import Sample, Taught, Watched
from hepfm.testing.checks import assert_sums_close, draws_of


def teacher_is_kept(subject: Any) -> None:
    """A teacher follows the weights, is no parameter, and is whole in the state of the objective."""
    if not isinstance(subject.module, Taught):
        return
    module, other = subject.make(), subject.make()
    model = nn.ModuleDict({"encoder": subject.encoder, "objective": module})
    moved = {name: value.detach() + 0.1 for name, value in model.named_parameters()}
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module.follow(iter(moved.items()), step=1, steps=2)
    after = module.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed, "nothing that is saved of the objective follows the weights"
    trained = changed & {name for name, _ in module.named_parameters()}
    assert not trained, f"the teacher is trained: {sorted(trained)}"
    other.load_state_dict(after)
    batch = subject.batch(subject.samples)
    plan = module.plan(batch, draws_of(batch.event_ids.tolist()))
    wanted, found = (each(subject.encoder, plan) for each in (module, other))
    assert_sums_close(found, wanted, "an objective with the saved state of another")


def figures_add_up(subject: Any) -> None:
    """Figures of a validation are finite, and the same however its events are batched; training adds none."""
    module = subject.module
    if not isinstance(module, Watched):
        return

    def figures(*parts: Sequence[Sample], training: bool = False) -> dict[str, float]:
        for buffer in module.watched():
            buffer.zero_()
        subject.module.train(training)
        for part in parts:
            subject.sums(part)
        subject.module.train()
        return dict(module.figures())

    whole = figures(subject.samples)
    assert whole, "there are no figures"
    assert all(math.isfinite(value) for value in whole.values()), f"not finite: {whole}"
    first, rest = subject.samples[: subject.together], subject.samples[subject.together :]
    apart = figures(first, rest, [])
    assert apart.keys() == whole.keys(), f"figures {sorted(apart)} in parts, {sorted(whole)} together"
    for name, value in whole.items():
        assert math.isclose(apart[name], value, rel_tol=1e-4, abs_tol=1e-6), (
            f"{name} is {apart[name]:.6g} in parts, {value:.6g} together"
        )
    figures(subject.samples, training=True)
    assert not any(bool(buffer.any()) for buffer in module.watched()), "a forward pass in training is watched"
