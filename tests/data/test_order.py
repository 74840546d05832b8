"""The order of events: every event once an epoch, budgets kept, resume from any cursor without replay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepfm.data import order as order_module
from hepfm.data.order import Cursor, Order
from hepfm.errors import DataError
from hepfm.random import Permutation

costs_of = st.lists(st.integers(0, 50), min_size=1, max_size=60).map(lambda c: np.array(c, np.uint32))


def run(order: Order, start: Cursor, stop_epoch: int) -> list[tuple[Cursor, list[int]]]:
    cursor, batches = start, []
    while cursor.epoch < stop_epoch:
        indices, after = order.batch(cursor)
        batches.append((cursor, indices.tolist()))
        cursor = after
    return batches


def brute_force(costs: np.ndarray, seed: int, epoch: int, budget: int) -> list[list[int]]:
    """One event after the other over the whole permutation."""
    batches: list[list[int]] = []
    spent = 0
    for event in Permutation(len(costs), "order", seed, epoch)[:].tolist():
        cost = max(int(costs[event]), 1)
        if not batches or spent + cost > budget:
            batches.append([])
            spent = 0
        batches[-1].append(event)
        spent += cost
    return batches


@settings(max_examples=150, deadline=None)
@given(
    costs=costs_of, seed=st.integers(0, 5), budget=st.integers(1, 200), chunk=st.sampled_from([1, 3, 7, 4096])
)
def test_batches_equal_brute_force(costs, seed, budget, chunk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order_module, "_CHUNK", chunk)
        batches = run(Order(costs, seed, budget), Cursor(), stop_epoch=3)
    for epoch in range(3):
        mine = [events for cursor, events in batches if cursor.epoch == epoch]
        assert mine == brute_force(costs, seed, epoch, budget)
        assert sorted(event for batch in mine for event in batch) == list(range(len(costs)))
        assert all(len(b) == 1 or np.maximum(costs[b], 1).sum() <= budget for b in mine)


@settings(max_examples=50, deadline=None)
@given(costs=costs_of, budget=st.integers(1, 200), pick=st.integers(0, 1000))
def test_resume_from_any_cursor_is_the_tail_of_the_run(costs, budget, pick):
    whole = run(Order(costs, 3, budget), Cursor(), stop_epoch=3)
    at = pick % len(whole)
    assert run(Order(costs, 3, budget), whole[at][0], stop_epoch=3) == whole[at:]


def test_resume_far_into_a_large_set_evaluates_one_chunk(monkeypatch):
    seen = []
    original = Permutation.__getitem__
    monkeypatch.setattr(Permutation, "__getitem__", lambda p, s: seen.append(s) or original(p, s))
    Order(np.full(3_000_000, 2000, np.uint32), 1, 65_536).batch(Cursor(7, 2_500_000))
    assert sum(s.stop - s.start for s in seen) <= 4096


def test_epochs_and_seeds_give_different_orders():
    costs = np.ones(1000, np.uint32)
    drawn = {
        tuple(Order(costs, seed, 1000).batch(Cursor(epoch, 0))[0]) for seed in range(3) for epoch in range(3)
    }
    assert len(drawn) == 9


def test_events_without_rows_do_not_make_endless_batches():
    indices, after = Order(np.zeros(1000, np.uint32), 1, 64).batch(Cursor())
    assert len(indices) == 64
    assert after == Cursor(0, 64)


def test_no_events_and_foreign_cursor_are_refused():
    with pytest.raises(DataError, match="no events"):
        Order(np.empty(0, np.uint32), 1, 10)
    with pytest.raises(DataError, match="position 10 of 10 events"):
        Order(np.ones(10, np.uint32), 1, 10).batch(Cursor(0, 10))
