"""The suites pass a plugin that keeps to the contracts; of backbones and objectives, broken rules are named."""

from __future__ import annotations

import copy
import re
from dataclasses import replace

import pytest
import torch

from hepfm import api
from hepfm.nn.teacher import Teacher
from hepfm.objectives.contrastive import Contrastive
from hepfm.objectives.jepa import Jepa
from hepfm.objectives.spread import Spread
from hepfm.testing import objective_contract


@pytest.mark.parametrize("kind", ["modality", "backbone", "objective"])
def test_what_keeps_to_the_contracts_passes(check, kind):
    getattr(check, kind)()


def pooled_over_batch(forward, self, tokens, **options):
    out = forward(self, tokens, **options)
    return replace(out, x=out.x + out.x.mean(0)) if len(out.x) else out


def without_layers(forward, self, tokens, *, draws=None, layers=()):
    return forward(self, tokens, draws=draws)


def dropping_out(forward, self, tokens, **options):
    out = forward(self, tokens, **options)
    return replace(out, x=torch.nn.functional.dropout(out.x, 0.5))


def drawing_by_place(forward, self, tokens, *, draws=None, layers=()):
    out = forward(self, tokens, draws=draws, layers=layers)
    return replace(out, x=out.x * torch.arange(len(out.x))[:, None]) if draws else out


def in_place(forward, self, tokens, **options):
    tokens.x.data.mul_(0.5)
    return forward(self, tokens, **options)


def detached_when_empty(forward, self, tokens, **options):
    out = forward(self, tokens, **options)
    return replace(out, x=out.x.detach().requires_grad_()) if not len(out.x) else out


def shuffling_events(forward, self, tokens, **options):
    out = forward(self, tokens, **options)
    return replace(out, x=out.x * torch.linspace(1, 2, len(out.x))[:, None])


BACKBONES = {
    "batch-mates": (pooled_over_batch, "An event alone and in a batch gives the same output"),
    "gradient": (pooled_over_batch, "The output of one event has no gradient"),
    "order": (shuffling_events, "Events in another order give the same outputs"),
    "layers": (without_layers, "gives the outputs of these layers side by side"),
    "random": (dropping_out, "Without draws the output is the same each time"),
    "draws": (drawing_by_place, "With draws, an event's output depends on its own draws alone"),
    "in place": (in_place, "The input's tensors are not written to"),
    "nothing": (detached_when_empty, "A batch without tokens, or without events"),
}


@pytest.mark.parametrize("case", BACKBONES)
def test_the_rule_that_a_backbone_breaks_is_named(check, broken, case):
    change, rule = BACKBONES[case]
    broken("DeepSets", "forward", change)
    with pytest.raises(AssertionError, match=re.escape(rule)):
        check.backbone()


def plan_of(plan, self, batch, draws, *, augment=True, hidden=None):
    """The plan with other masks."""
    made = plan(self, batch, draws, augment=augment)
    units = made.payload[0]
    target = self.modality.target(units, hidden(units))
    return api.Plan(counts=target.counts, draws=draws, payload=(units, hidden(units), target))


def masks_by_place(plan, self, batch, draws, *, augment=True):
    return plan_of(
        plan, self, batch, draws, augment=augment, hidden=lambda u: torch.arange(len(u.positions)) % 2 == 0
    )


def masks_for_ever(plan, self, batch, draws, *, augment=True):
    hidden = lambda u: (u.positions[:, 0] % 2) == 0  # noqa: E731
    return plan_of(plan, self, batch, draws, augment=augment, hidden=hidden)


def always_augmenting(plan, self, batch, draws, *, augment=True):
    return plan(self, batch, draws, augment=True)


def miscounting(plan, self, batch, draws, *, augment=True):
    made = plan(self, batch, draws, augment=augment)
    return replace(made, counts={"energy": max(made.counts["energy"], 1)})


def mean_over_batch(forward, self, encoder, plan):
    return {"energy": forward(self, encoder, plan)["energy"] / max(plan.counts["energy"], 1)}


def unweighted_term(forward, self, encoder, plan):
    return {**forward(self, encoder, plan), "extra": torch.zeros(())}


def skipping_nothing(forward, self, encoder, plan):
    return (
        forward(self, encoder, plan)
        if plan.counts["energy"]
        else {"energy": torch.zeros((), requires_grad=True)}
    )


def endless_baseline(baseline, self, plan):
    return {"energy": torch.tensor(torch.inf)}


OBJECTIVES = {
    "masks by place": ("plan", masks_by_place, "whatever batch it is in, and in whatever place"),
    "masks for ever": ("plan", masks_for_ever, "Another epoch hides something else"),
    "augmentation": ("plan", always_augmenting, "rows of the event as it is"),
    "counts": ("plan", miscounting, "Batches without events, or of empty ones"),
    "counts of parts": ("plan", miscounting, "Counts and sums of a batch are those of its parts"),
    "mean": ("forward", mean_over_batch, "Counts and sums of a batch are those of its parts"),
    "terms": ("forward", unweighted_term, "a finite float32 sum of each term"),
    "not connected": ("forward", skipping_nothing, "connect every parameter"),
    "baseline": ("baseline", endless_baseline, "gives a finite baseline of the same terms"),
}


@pytest.mark.parametrize("case", OBJECTIVES)
def test_the_rule_that_an_objective_breaks_is_named(check, broken, case):
    method, change, rule = OBJECTIVES[case]
    broken("HideLayers", method, change)
    with pytest.raises(AssertionError, match=re.escape(rule)):
        check.objective()


def check_other(calo, objective, config=None):
    """The contract of an objective over two calorimeters."""
    modalities = {part: calo.Calo(calo.Calo.Config(), calo.SCHEMA) for part in ("near", "far")}
    torch.manual_seed(3)
    backbone = calo.DeepSets(calo.DeepSets.Config(), n_positions=1)
    near, far = calo.showers(4), calo.showers(8)[4:]
    samples = [
        api.Sample(event_id=50 + i, parts={"near": one, "far": other})
        for i, (one, other) in enumerate(zip(near, far, strict=True))
    ]
    objective_contract(objective, config, modalities=modalities, backbone=backbone, samples=samples)


def follows_nobody(follow, self, weights, keep):
    return None


def watching_always(add, self, vectors):
    add(self, vectors)
    self.count += 1


def spread_of_the_last(add, self, vectors):
    for buffer in self.buffers():
        buffer.zero_()
    add(self, vectors)


def mean_over_compared(forward, self, encoder, plan):
    sums = forward(self, encoder, plan)
    return {**sums, "match": sums["match"] / max(1, plan.counts["match"])}


def strangers_too(plan, self, batch, draws, *, augment=True):
    return plan(self, replace(batch, group=None), draws, augment=augment)


def hides_and_does_not_tell(plan, self, batch, draws, *, augment=True):
    made = plan(self, batch, draws, augment=augment)
    kept = draws.per_event("kept", 1)[made.payload.rows, 0] < 0.7
    rows, group, size = (getattr(made.payload, name)[kept] for name in ("rows", "group", "size"))
    payload = replace(made.payload, rows=rows, group=group, size=size)
    return replace(made, counts=dict.fromkeys(made.counts, len(rows)), payload=payload)


OTHERS = {
    "teacher stands still": (Jepa, Teacher, "follow", follows_nobody, "A teacher follows the weights"),
    "figures of the last batch": (Jepa, Spread, "add", spread_of_the_last, "however its events are batched"),
    "figures count calls": (Jepa, Spread, "add", watching_always, "however its events are batched"),
    "mean": (Contrastive, Contrastive, "forward", mean_over_compared, "those of its parts together"),
    "groups": (Contrastive, Contrastive, "plan", strangers_too, "those of its parts together"),
    "masks untold": (Contrastive, Contrastive, "plan", hides_and_does_not_tell, "draws no masks"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_the_rule_that_an_objective_with_more_to_it_breaks_is_named(calo, monkeypatch, case):
    objective, owner, method, change, rule = OTHERS[case]
    original = getattr(owner, method)
    check_other(calo, objective)
    monkeypatch.setattr(owner, method, lambda self, *a, **k: change(original, self, *a, **k))
    with pytest.raises(AssertionError, match=re.escape(rule)):
        check_other(calo, objective)


def test_a_teacher_that_is_trained_or_not_saved_is_named(calo):
    class Trained(Jepa):
        def begin(self, encoder):
            super().begin(encoder)
            self.teacher.copy = copy.deepcopy(encoder)

        def follow(self, weights, *, step, steps):
            own = {f"encoder.{name}": p for name, p in self.teacher.copy.named_parameters()}
            with torch.no_grad():
                for name, value in weights:
                    if name in own:
                        own[name].lerp_(value, 0.5)

    with pytest.raises(AssertionError, match="the teacher is trained"):
        check_other(calo, Trained)

    class Hidden(Jepa):
        def begin(self, encoder):
            super().begin(encoder)
            for part in self.teacher.modules():
                part._non_persistent_buffers_set.update(part._buffers)

    with pytest.raises(AssertionError, match="nothing that is saved of the objective follows"):
        check_other(calo, Hidden)
