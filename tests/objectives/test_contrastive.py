"""The symmetric InfoNCE loss, written out event by event in float64; sides, groups and chance."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import normalize

from hepfm.errors import RecipeError
from hepfm.objectives.contrastive import Contrastive, ContrastiveConfig, Pool, sides_of

BOTH = ""
LACKING = [BOTH, BOTH, "light", BOTH, "charge", BOTH, BOTH, "charge light"]
GROUP = [0, 0, 0, 0, 1, 1, 1, 2]


def make(pairs, **options):
    modalities, encoder = pairs.encoder()
    return encoder, Contrastive(ContrastiveConfig(width=16, **options), modalities=modalities, d_model=32)


def one(units, part, event):
    """A part's tokens alone: one event's units of one part, and none of the other's."""
    from hepfm.nn.ragged import event_index

    return {
        name: event_index(of_part.offsets) == event
        if name == part
        else torch.zeros(len(of_part.positions), dtype=torch.bool)
        for name, of_part in units.items()
    }


def test_the_loss_is_that_of_its_definition(pairs) -> None:
    encoder, objective = make(pairs, temperature=0.1)
    batch = pairs.events(LACKING, group=GROUP)
    plan = pairs.plan(objective, batch)
    sums, baseline = objective(encoder, plan), objective.baseline(plan)
    vectors = {}
    for side, part in enumerate(pairs.parts):
        for event in range(len(batch)):
            x = encoder(plan.payload.units, one(plan.payload.units, part, event)).x.detach()
            amounts = (1 + objective.pool[side].amount(x).exp()).log().sum(0)
            pooled = torch.cat((x.mean(0), (1 + amounts).log()))
            vectors[part, event] = normalize(objective.project[side](pooled), dim=0).detach().double()
    match = chance = logs = found = 0.0
    for group in ([0, 1, 3], [5, 6]):  # those of each group that have both parts
        for event in group:
            for here, there in (pairs.parts, pairs.parts[::-1]):
                like = [float(vectors[here, event] @ vectors[there, other]) / 0.1 for other in group]
                own = like[group.index(event)]
                match += (math.log(sum(map(math.exp, like))) - own) / 2
                found += (own == max(like)) / 2
            chance += 1 / len(group)
            logs += math.log(len(group))
    assert plan.counts == dict.fromkeys(("match", "top1", "chance"), 5)
    assert sums["match"].item() == pytest.approx(match, rel=1e-5)
    assert sums["top1"].item() == pytest.approx(found)
    assert sums["chance"].item() == baseline["chance"].item() == pytest.approx(chance)
    assert baseline["match"].item() == pytest.approx(logs)


def test_amounts_add_up_where_a_mean_does_not() -> None:
    """Three times the same tokens: the mean is that of one, the amounts are three times as much."""
    torch.manual_seed(0)
    pool, x = Pool(8), torch.randn(5, 8)
    once, thrice, none = pool(torch.cat((x, x, x, x)), torch.tensor([0, 5, 20, 20])).split(1)
    torch.testing.assert_close(once[:, :8], thrice[:, :8])
    torch.testing.assert_close(thrice[:, 8:].expm1(), 3 * once[:, 8:].expm1())
    assert not none.any()


def test_where_all_are_alike_none_is_found_and_the_loss_is_that_of_guessing(pairs) -> None:
    encoder, objective = make(pairs)
    plan = pairs.plan(objective, pairs.events([BOTH] * 6))
    with torch.no_grad():
        for project in objective.project:
            project[-1].weight.zero_()
    sums = objective(encoder, plan)
    assert sums["match"].item() == pytest.approx(6 * math.log(6), rel=1e-6)
    assert (sums["top1"], sums["chance"].item()) == (0, pytest.approx(1))


@pytest.mark.parametrize("lacking", [[], [BOTH], ["light", "charge"], ["light", BOTH, "charge"]])
def test_without_two_events_to_compare_there_is_no_loss(pairs, lacking) -> None:
    encoder, objective = make(pairs)
    plan = pairs.plan(objective, pairs.events(lacking))
    assert set(plan.counts.values()) == {0}
    sums = objective(encoder, plan)
    assert all(value == 0 for value in sums.values())
    sums["match"].backward()
    for parameter in objective.parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()


def test_light_is_found_by_charge_in_events_that_it_was_not_trained_on(pairs) -> None:
    encoder, objective = make(pairs, temperature=0.05)
    optimiser = torch.optim.Adam([*encoder.parameters(), *objective.parameters()], lr=1e-3)
    for step in range(150):
        plan = pairs.plan(objective, pairs.events([BOTH] * 16, seed=step))
        optimiser.zero_grad()
        (objective(encoder, plan)["match"] / 16).backward()
        optimiser.step()
    plan = pairs.plan(objective, pairs.events([BOTH] * 160, seed=1000, group=[i // 16 for i in range(160)]))
    with torch.no_grad():
        sums = objective(encoder, plan)
    assert sums["top1"] > 3 * sums["chance"]
    assert sums["match"] < 0.7 * objective.baseline(plan)["match"]


def test_the_temperature_stays_within_its_bounds_and_can_come_back(pairs) -> None:
    _, objective = make(pairs, temperature=0.05)
    assert objective.temperature().item() == pytest.approx(0.05)
    for heat in (-8.0, 8.0):
        with torch.no_grad():
            objective.heat.fill_(heat)
        objective.zero_grad()
        temperature = objective.temperature()
        assert 0.01 <= temperature.item() <= 1
        temperature.log().backward()
        assert objective.heat.grad.item() > 0


def test_sides_share_out_the_parts() -> None:
    parts = ("u", "v", "light")
    assert sides_of(ContrastiveConfig(), parts) == (("u",), ("v", "light"))
    assert sides_of(ContrastiveConfig(first=["u", "v"]), parts) == (("u", "v"), ("light",))
    assert sides_of(ContrastiveConfig(second=["u"], first=["light", "v"]), parts) == (("light", "v"), ("u",))
    assert sides_of(ContrastiveConfig(second=["u"]), ("u", "v")) == (("v",), ("u",))
    for options in (
        {"first": ["u", "v", "light"]},
        {"first": ["u"], "second": ["u", "v", "light"]},
        {"first": ["u"], "second": ["light"]},
    ):
        with pytest.raises(RecipeError, match="do not share out"):
            sides_of(ContrastiveConfig(**options), parts)
    with pytest.raises(RecipeError, match="did you mean 'light'"):
        sides_of(ContrastiveConfig(first=["ligth"]), parts)
    with pytest.raises(RecipeError, match="do not share out"):
        sides_of(ContrastiveConfig(), ("light",))
