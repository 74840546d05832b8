"""Dealing: every event once, equal numbers of micro-batches within their budget, ranks in balance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepfm.data.deal import deal


@settings(max_examples=200, deadline=None)
@given(
    costs=st.lists(st.integers(0, 60), max_size=40).map(lambda c: np.array(c, np.int64)),
    world=st.integers(1, 7),
    budget=st.integers(1, 150),
)
def test_every_event_once_and_budgets_kept(costs, world, budget):
    dealt = deal(costs, world, budget)
    assert len(dealt) == world
    assert len({len(rank) for rank in dealt}) == 1
    assert sorted(int(row) for rank in dealt for micro in rank for row in micro) == list(range(len(costs)))
    weights = np.maximum(costs, 1)
    for micro in (micro for rank in dealt for micro in rank):
        assert micro.dtype == np.int64
        assert np.all(np.diff(micro) > 0)
        assert len(micro) <= 1 or weights[micro].sum() <= budget


@settings(max_examples=100, deadline=None)
@given(
    costs=st.lists(st.integers(1, 60), min_size=1, max_size=40).map(lambda c: np.array(c, np.int64)),
    world=st.integers(1, 7),
)
def test_slowest_rank_is_within_grahams_bound(costs, world):
    """Longest first is at most 4/3 - 1/3m of the best, which is at least these lower bounds."""
    loads = [sum(costs[micro].sum() for micro in rank) for rank in deal(costs, world, 10**9)]
    longest = np.sort(costs)[::-1]
    pair = longest[world - 1] + longest[world] if len(costs) > world else 0
    least = max(costs.sum() / world, costs.max(), pair)
    # When the best is not reached by a bound, longest first still ends within mean + largest * (1 - 1/m).
    assert max(loads) <= max((4 / 3 - 1 / (3 * world)) * least, costs.sum() / world + costs.max())
    assert max(loads) - min(loads) <= costs.max()


@pytest.mark.parametrize("world", [8, 64, 256, 1024])
def test_balance_of_lognormal_lengths(world):
    lengths = np.exp(np.random.default_rng(7).normal(np.log(2000), 0.7, 20_000)).astype(np.uint32)
    loads = np.array([lengths[np.concatenate(rank)].sum() for rank in deal(lengths, world, 65_536)])
    assert loads.mean() / loads.max() >= 0.96


def test_micro_batches_are_few():
    lengths = np.exp(np.random.default_rng(7).normal(np.log(2000), 0.7, 2000)).astype(np.uint32)
    n_micro = len(deal(lengths, 4, 65_536)[0])
    assert n_micro <= np.ceil(1.15 * lengths.sum() / 4 / 65_536)


def test_same_input_same_deal():
    costs = np.random.default_rng(1).integers(1, 9, 300)
    first, second = deal(costs, 5, 40), deal(costs, 5, 40)
    assert all(
        np.array_equal(a, b) for r, s in zip(first, second, strict=True) for a, b in zip(r, s, strict=True)
    )


def test_a_budget_far_below_an_event_makes_no_empty_rounds() -> None:
    dealt = deal(np.array([1000, 900, 800]), world=2, micro_batch_cost=1)
    assert [len(rank) for rank in dealt] == [2, 2]
    assert sorted(row for rank in dealt for rows in rank for row in rows.tolist()) == [0, 1, 2]


@settings(max_examples=200, deadline=None)
@given(
    costs=st.lists(st.integers(0, 60), max_size=40).map(lambda c: np.array(c, np.int64)),
    world=st.integers(1, 5),
    budget=st.integers(1, 300),
    together=st.integers(1, 7),
)
def test_groups_stay_in_one_micro_batch(costs, world, budget, together):
    dealt = deal(costs, world, budget, together=together)
    assert len({len(rank) for rank in dealt}) == 1
    micros = [micro for rank in dealt for micro in rank]
    assert sorted(row for micro in micros for row in micro.tolist()) == list(range(len(costs)))
    at = {row: i for i, micro in enumerate(micros) for row in micro.tolist()}
    for start in range(0, len(costs), together):
        assert len({at[row] for row in range(start, min(start + together, len(costs)))}) == 1
    weights = np.maximum(costs, 1)
    for micro in micros:
        assert np.all(np.diff(micro) > 0)
        assert len(set(micro // together)) <= 1 or weights[micro].sum() <= budget
