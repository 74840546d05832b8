"""Budgets of each part, groups that are hidden whole, and parts that are hidden whole."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hepfm.api import Units
from hepfm.errors import RecipeError
from hepfm.nn.ragged import event_index, offsets_of
from hepfm.objectives.hiding import hidden_groups, hidden_units, whole_parts
from hepfm.objectives.masks import MaskConfig, check_masks, hidden_parts
from hepfm.random import Draws


def draws(n, *, epoch=0, first=0):
    return Draws(seed=3, epoch=epoch, event_ids=torch.arange(first, first + n))


def units_of(lengths, groups=None):
    n = sum(lengths)
    return Units(
        positions=torch.arange(n, dtype=torch.float32)[:, None],
        offsets=offsets_of(torch.tensor(lengths, dtype=torch.int64)),
        payload=None,
        groups=groups or {},
    )


EVENTS = st.lists(st.lists(st.integers(0, 5), max_size=20), max_size=6)
"""Events, as the group of each of their units."""


@given(EVENTS, st.floats(0, 0.99))
@settings(max_examples=100, deadline=None)
def test_groups_are_hidden_whole_until_the_share_is_reached(events, share) -> None:
    """Against the rule written out: groups in the order in which they are hidden, one after the other."""
    group = torch.tensor([g for event in events for g in event], dtype=torch.int64)
    offsets = offsets_of(torch.tensor([len(event) for event in events], dtype=torch.int64))
    hidden = hidden_groups(group, offsets, draws(len(events)), share=share, purpose="test").tolist()
    for row, event in enumerate(events):
        of_event = hidden[int(offsets[row]) : int(offsets[row + 1])]
        gone = {g for g, is_hidden in zip(event, of_event, strict=True) if is_hidden}
        assert not gone & {g for g, is_hidden in zip(event, of_event, strict=True) if not is_hidden}
        n, n_hidden = len(event), sum(of_event)
        wanted = min(round(share * n), max(n - 1, 0))
        if n:
            assert n_hidden < n, "nothing is left visible"
        others = len(set(event)) - len(gone)
        assert n_hidden >= wanted or others == 1
        if gone:  # without the group that was hidden last, the share was not reached
            assert n_hidden - max(event.count(g) for g in gone) < max(wanted, 1)


def test_groups_of_an_event_are_hidden_by_its_own_draws_and_alike_often() -> None:
    n = 600
    group = torch.arange(12).repeat(n) // 3
    offsets = torch.arange(n + 1) * 12
    together = hidden_groups(group, offsets, draws(n), share=0.5, purpose="test").view(n, 12)
    assert together.sum(1).eq(6).all()
    rate = together.double().mean(0)
    assert (rate - 0.5).abs().max() < 5 * 0.5 / math.sqrt(n)
    alone = hidden_groups(group[:12], offsets[:2], draws(1, first=77), share=0.5, purpose="test")
    assert torch.equal(alone, together[77])
    later = hidden_groups(group, offsets, draws(n, epoch=1), share=0.5, purpose="test").view(n, 12)
    assert (later != together).any(1).double().mean() > 0.7


PRESENT = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=8)
CHANCES = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from([0.0, 0.3, 0.9, 1.0]), max_size=3)


@given(PRESENT, CHANCES, st.integers(0, 50))
@settings(max_examples=150, deadline=None)
def test_a_part_of_each_event_is_seen_and_what_it_lacks_is_not_hidden(lengths, chances, first) -> None:
    offsets = {
        part: offsets_of(torch.tensor(column))
        for part, column in zip("abc", zip(*lengths, strict=True), strict=True)
    }
    hidden = whole_parts(offsets, chances, draws(len(lengths), first=first), purpose="test")
    assert set(hidden) == set(chances)
    for row, event in enumerate(lengths):
        has = {part for part, n in zip("abc", event, strict=True) if n}
        gone = {part for part, mask in hidden.items() if mask[row]}
        assert gone <= has
        assert not has or gone < has
        sure = {part for part in has if chances.get(part) == 1.0}
        assert sure <= gone or sure == has or len(sure - gone) == 1


def test_parts_are_hidden_as_often_as_asked() -> None:
    n, chance = 4000, {"a": 0.2, "b": 0.5}
    offsets = {part: torch.arange(n + 1) * 3 for part in "abc"}
    hidden = whole_parts(offsets, chance, draws(n), purpose="test")
    for part, p in chance.items():
        assert abs(hidden[part].double().mean() - p) < 5 * math.sqrt(p * (1 - p) / n)
    assert abs((hidden["a"] & hidden["b"]).double().mean() - 0.1) < 5 * math.sqrt(0.09 / n)
    two = {part: offsets[part] for part in "ab"}
    both_ways = whole_parts(two, {"a": 1.0, "b": 1.0}, draws(n), purpose="test")
    assert torch.equal(both_ways["a"], ~both_ways["b"])
    assert abs(both_ways["a"].double().mean() - 0.5) < 5 * 0.5 / math.sqrt(n)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_a_unit_of_each_event_is_left_whatever_the_recipe(lengths, first) -> None:
    config = MaskConfig(
        hide=0.9,
        parts={"light": {"hide": 0.5, "by": "channel"}},
        whole={"charge": 0.9, "light": 0.9},
    )
    charge = units_of([a for a, _ in lengths])
    n = sum(b for _, b in lengths)
    light = units_of([b for _, b in lengths], {"channel": torch.arange(n) % 2})
    units = {"charge": charge, "light": light}
    hidden = hidden_parts(units, config, draws(len(lengths), first=first), purpose="test")
    seen = sum(
        torch.zeros(len(lengths)).index_add(0, event_index(units[part].offsets), (~mask).float())
        for part, mask in hidden.items()
    )
    assert all(s > 0 or a + b == 0 for s, (a, b) in zip(seen.tolist(), lengths, strict=True))


def test_a_part_has_its_own_share_and_blocks_and_others_the_common_ones() -> None:
    units = {"a": units_of([40, 40]), "b": units_of([40, 40]), "c": units_of([40, 40])}
    config = MaskConfig(
        hide=0.6, block_units=4, parts={"b": {"hide": 0.25}, "c": {"hide": 0, "block_units": 1}}
    )
    hidden = hidden_parts(units, config, draws(2), purpose="test")
    for part, share, block in (("a", 0.6, 4), ("b", 0.25, 4), ("c", 0, 1)):
        wanted = hidden_units(units[part], draws(2), share=share, block=block, purpose=f"test/{part}")
        assert torch.equal(hidden[part], wanted)
    assert not hidden["c"].any()


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"parts": {"lihgt": {"hide": 0.5}}}, "objective.parts.lihgt"),
        ({"whole": {"dark": 0.5}}, "objective.whole.dark"),
        ({"weights": {"dark": 0.5}}, "objective.weights.dark"),
        ({"parts": {"light": {"by": "channel", "block_units": 2}}}, "objective.parts.light"),
        ({"parts": {"light": {"hide": 0}, "charge": {"hide": 0}}}, "objective.parts"),
        ({"weights": {"light": 0, "charge": 0}}, "objective.weights"),
        ({"weights": {"light": 0}, "parts": {"charge": {"hide": 0}}}, "objective.weights"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(options, where) -> None:
    with pytest.raises(RecipeError) as refused:
        check_masks(MaskConfig(**options), ("charge", "light"))
    assert refused.value.where == where


def test_groups_that_a_part_does_not_have_are_refused_with_those_that_it_has() -> None:
    units = units_of([4], {"channel": torch.arange(4)})
    config = MaskConfig(parts={"light": {"by": "chanel"}})
    with pytest.raises(RecipeError, match="did you mean 'channel'"):
        hidden_parts({"light": units}, config, draws(1), purpose="test")
    with pytest.raises(RecipeError, match="only part"):
        check_masks(MaskConfig(whole={"light": 0.5}), ("light",))
    with pytest.raises(ValidationError):
        MaskConfig(whole={"light": 1.5})
