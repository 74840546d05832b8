"""Instances of one particle get one number and one colour, whatever truth and prediction call them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hepfm.display.instances import NONE, colour, match, vocabulary


@given(
    arrays(np.int64, st.integers(0, 40), elements=st.integers(-1, 6)),
    st.permutations(range(20, 27)),
)
def test_the_same_grouping_under_other_names_is_drawn_the_same(truth, names):
    renamed = np.where(truth < 0, -1, np.array(names)[truth])
    both = match(truth, renamed)
    np.testing.assert_array_equal(both.truth, both.predicted)
    np.testing.assert_array_equal(both.truth == NONE, truth < 0)
    assert sorted(both.of_true.values()) == list(range(both.count))
    assert set(both.overlap.values()) <= {1.0}


@given(arrays(np.int64, (30, 2), elements=st.integers(-1, 5)))
def test_pairs_are_those_of_the_largest_overlap(labels):
    """Against sets of points: overlaps are right, pairs are disjoint, and none that is better was left."""
    truth, predicted = labels.T
    both = match(truth, predicted)

    def points(values, name):
        return set(np.flatnonzero(values == name).tolist())

    back = {new: old for old, new in both.of_predicted.items()}
    taken = {}
    for old, new in both.of_true.items():
        assert set(np.flatnonzero(both.truth == new).tolist()) == points(truth, old)
        if new in both.overlap:
            mine, found = points(truth, old), points(predicted, back[new])
            assert both.overlap[new] == pytest.approx(len(mine & found) / len(mine | found))
            taken[old] = back[new]
    assert len(set(taken.values())) == len(taken)
    for old in both.of_true.keys() - taken.keys():
        for other in both.of_predicted.keys() - set(taken.values()):
            mine, found = points(truth, old), points(predicted, other)
            assert len(mine & found) < 0.1 * len(mine | found)


def test_the_largest_is_first_and_what_has_no_partner_comes_last():
    truth = np.array([5] * 2 + [9] * 6 + [-1] * 3)
    predicted = np.array([0] * 2 + [1] * 6 + [3] * 3)
    both = match(truth, predicted)
    assert both.of_true == {9: 0, 5: 1}
    assert both.of_predicted == {1: 0, 0: 1, 3: 2}
    assert both.predicted.tolist() == [1] * 2 + [0] * 6 + [2] * 3
    nobody = match(np.full(11, -1), predicted)  # without labels
    assert nobody.of_true == nobody.overlap == {}
    assert sorted(nobody.of_predicted.values()) == [0, 1, 2]


def test_colours_differ_and_legends_stay_short():
    assert len({colour(k) for k in range(21)}) == 21
    words = vocabulary(40)
    assert sum(bool(word.name) for word in words) == 11  # ten instances, and none
    assert words[-1].value == NONE
