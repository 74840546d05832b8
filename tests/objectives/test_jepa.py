"""The teacher's encodings of hidden units are what is predicted; a collapse is told by figures."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import layer_norm

from hepfm.objectives.jepa import Jepa, JepaConfig

LACKING = ["", "light", "charge", "", "charge light"]


def make(pairs, *, drop_path=0.0, **options):
    modalities, encoder = pairs.encoder(drop_path)
    objective = Jepa(JepaConfig(decoder_heads=2, **options), modalities=modalities, d_model=32)
    objective.begin(encoder)
    return encoder, objective


def hidden_targets(encoder, plan, part):
    """What an encoder that sees all makes of a part's hidden units."""
    units = {name: view.units for name, view in plan.payload.items()}
    encoded = encoder(units)
    mine = encoded.x[encoded.part == list(units).index(part)]
    return layer_norm(mine.double(), (32,)).detach()[~plan.payload[part].visible]


def test_a_constant_prediction_has_the_error_of_its_definition(pairs) -> None:
    encoder, objective = make(pairs, whole={"light": 0.5})
    plan = pairs.plan(objective, pairs.events(LACKING))
    constant = torch.randn(32)
    with torch.no_grad():
        objective.out[1].weight.zero_()
        objective.out[1].bias.copy_(constant)
    sums = objective(encoder, plan)
    for part in pairs.parts:
        target = hidden_targets(encoder, plan, part)
        assert plan.counts[f"{part}/error"] == len(target) > 0
        wanted = (target - constant.double()).square().mean(1).sum()
        assert sums[f"{part}/error"].item() == pytest.approx(wanted.item(), rel=1e-5)
        zeros = objective.baseline(plan)[f"{part}/error"].item()
        assert zeros == pytest.approx(target.square().mean(1).sum().item(), rel=1e-4)


def test_targets_are_the_teachers_and_no_gradient_reaches_it(pairs) -> None:
    encoder, objective = make(pairs, drop_path=0.5)
    plan = pairs.plan(objective, pairs.events(LACKING))
    before = hidden_targets(objective.teacher.copy, plan, "charge")
    sums = objective(encoder, plan)
    sum(sums.values()).backward()
    assert all(p.grad is not None for p in objective.parameters())
    optimiser = torch.optim.SGD(encoder.parameters(), lr=0.1)
    optimiser.step()
    assert torch.equal(hidden_targets(objective.teacher.copy, plan, "charge"), before)
    with torch.no_grad():
        objective.out[1].weight.zero_()
        objective.out[1].bias.copy_(torch.linspace(-1, 1, 32))
    wanted = (before - torch.linspace(-1, 1, 32)).square().mean(1).sum()
    assert objective(encoder, plan)["charge/error"].item() == pytest.approx(wanted.item(), rel=1e-5)
    named = {f"encoder.{name}": p for name, p in encoder.named_parameters()}
    objective.follow(named.items(), step=3, steps=10)
    assert not torch.equal(hidden_targets(objective.teacher.copy, plan, "charge"), before)


def test_the_teacher_follows_ever_more_slowly(pairs) -> None:
    encoder, objective = make(pairs, momentum=0.9, final_momentum=1.0)
    name, weight = next(iter(encoder.named_parameters()))
    own = dict(objective.teacher.copy.named_buffers())[name]
    for step, keep in ((5, 0.95), (10, 1.0), (1, 1 - 0.05 * (1 + math.cos(math.pi / 10)))):
        start = own.double().clone()
        value = torch.randn_like(weight)
        objective.follow([(f"encoder.{name}", value), (f"objective.{name}", value + 9)], step=step, steps=10)
        torch.testing.assert_close(
            own.double(), keep * start + (1 - keep) * value.double(), rtol=1e-5, atol=1e-6
        )


def test_hidden_units_do_not_reach_the_prediction(pairs) -> None:
    encoder, objective = make(pairs)
    batch = pairs.events(["", ""])
    plan = pairs.plan(objective, batch)
    view = plan.payload["charge"]
    image = view.units.payload
    hidden_rows = ~view.visible[image.cells.cell][image.row]
    energy = batch.parts["charge"]["voxels"].columns["energy_mev"]
    energy[hidden_rows] *= 10
    other = pairs.plan(objective, batch)
    answers = []
    for each in (plan, other):
        units = {part: v.units for part, v in each.payload.items()}
        visible = {part: v.visible for part, v in each.payload.items()}
        answers.append(objective.answers(encoder, encoder(units, visible), units, visible, {}, {})["charge"])
    assert torch.equal(*answers)
    assert objective(encoder, plan)["charge/error"] != objective(encoder, other)["charge/error"]


def test_it_learns_what_the_visible_units_tell_of_hidden_ones(pairs) -> None:
    """Better than zeros, and than any constant; and the encodings of events stay apart."""
    encoder, objective = make(pairs, momentum=0.99)
    optimiser = torch.optim.AdamW([*encoder.parameters(), *objective.parameters()], lr=2e-3)
    steps = 100
    for step in range(1, steps + 1):
        plan = pairs.plan(objective, pairs.events([""] * 16, seed=step))
        optimiser.zero_grad()
        sums = objective(encoder, plan)
        sum(total / plan.counts[term] for term, total in sums.items()).backward()
        optimiser.step()
        named = {f"encoder.{name}": p.detach() for name, p in encoder.named_parameters()}
        objective.follow(named.items(), step=step, steps=steps)
    objective.eval()
    plan = pairs.plan(objective, pairs.events([""] * 64, seed=1000))
    with torch.no_grad():
        sums = objective(encoder, plan)
    for part in pairs.parts:
        target = hidden_targets(objective.teacher.copy, plan, part)
        constant = (target - target.mean(0)).square().mean(1).sum().item()
        assert sums[f"{part}/error"] < 0.8 * constant
        assert constant > 0.05 * len(target), "the encodings have become one"
        assert objective.figures()[f"{part}/effective_rank"] > 2


def test_a_collapse_is_told_by_the_figures(pairs) -> None:
    encoder, objective = make(pairs)
    objective.eval()
    batch = pairs.events(LACKING)
    objective(encoder, pairs.plan(objective, batch))
    sound = objective.figures()
    assert set(sound) == {f"{part}/{name}" for part in pairs.parts for name in ("std", "effective_rank")}
    assert all(0 < sound[f"{part}/std"] <= 1 < sound[f"{part}/effective_rank"] < 32 for part in pairs.parts)
    for buffer in objective.watched():
        buffer.zero_()
    with torch.no_grad():
        norm = objective.teacher.copy.backbone.norm
        norm.weight.zero_()
        norm.bias.copy_(torch.randn(32))
    objective(encoder, pairs.plan(objective, batch))
    assert all(objective.figures()[f"{part}/std"] < 1e-6 for part in pairs.parts)
