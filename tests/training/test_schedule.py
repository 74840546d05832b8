from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepfm.recipe.schema import Train
from hepfm.training.schedule import learning_rate

SETTINGS = {"steps": 110, "warmup_steps": 10, "learning_rate": 2.0, "final_learning_rate": 0.5}


def test_warm_up_is_linear_and_reaches_the_rate_at_its_last_step():
    train = Train(**SETTINGS)
    assert [learning_rate(step, train) for step in (1, 5, 10)] == [0.2, 1.0, 2.0]


@pytest.mark.parametrize(
    ("schedule", "middle", "last"),
    [("cosine", 1.25, 0.5), ("linear", 1.25, 0.5), ("constant", 2.0, 2.0)],
)
def test_schedules_pass_through_their_known_points(schedule, middle, last):
    train = Train(**SETTINGS, schedule=schedule)
    assert learning_rate(60, train) == pytest.approx(middle)
    assert learning_rate(110, train) == pytest.approx(last)


def test_cosine_a_quarter_of_the_way():
    expected = 0.5 + 1.5 * (1 + math.sqrt(0.5)) / 2
    assert learning_rate(35, Train(**SETTINGS)) == pytest.approx(expected)


@given(
    steps=st.integers(1, 50),
    warmup=st.integers(0, 60),
    schedule=st.sampled_from(["cosine", "linear", "constant"]),
)
def test_the_rate_stays_between_its_bounds_whatever_the_lengths(steps, warmup, schedule):
    train = Train(
        steps=steps, warmup_steps=warmup, learning_rate=1.0, final_learning_rate=0.1, schedule=schedule
    )
    rates = [learning_rate(step, train) for step in range(1, steps + 1)]
    assert all(0 < rate <= 1 for rate in rates)
    after = rates[warmup:]
    assert after == sorted(after, reverse=True)
