"""Figures of instances, against scikit-learn and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from hepfm.metrics.instances import instance_figures, instance_statistics

NAMES = ("muon", "proton")
EVENTS = st.lists(
    st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 4)), max_size=25), min_size=1, max_size=4
)


def of(events, classes=(), n=0):
    rows = np.array([pair for event in events for pair in event], int).reshape(-1, 2)
    offsets = np.cumsum([0, *map(len, events)])
    return instance_statistics(rows[:, 0], rows[:, 1], offsets, classes, n)


def sets(numbers):
    return {n: {i for i, each in enumerate(numbers) if each == n} for n in sorted({*numbers} - {-1})}


@given(EVENTS)
def test_they_are_those_of_scikit_learn_and_of_the_definitions(events):
    figures = instance_figures({name: values.sum(0) for name, values in of(events).items()})
    rand, matched, iou, n_true, n_found, pure, complete, in_true, in_found = [], 0, 0.0, 0, 0, 0, 0, 0, 0
    for event in events:
        labelled = [(a, b) for a, b in event if a >= 0]
        if labelled:
            rand.append(adjusted_rand_score(*zip(*labelled, strict=True)))
        true, found = sets([a for a, _ in event]), sets([b for _, b in event])
        n_true, n_found = n_true + len(true), n_found + len(found)
        values = [len(a & b) / len(a | b) for a in true.values() for b in found.values()]
        matched += sum(value > 0.5 for value in values)
        iou += sum(value for value in values if value > 0.5)
        pure += sum(max((len(a & b) for a in true.values()), default=0) for b in found.values())
        complete += sum(max((len(a & b) for b in found.values()), default=0) for a in true.values())
        in_true, in_found = in_true + sum(map(len, true.values())), in_found + sum(map(len, found.values()))
    expected = {}
    if rand:
        expected["ari"] = np.mean(rand)
    if n_found:
        expected |= {"precision": matched / n_found, "purity": pure / in_found}
    if n_true:
        expected |= {"recall": matched / n_true, "efficiency": complete / in_true}
    if n_true + n_found:
        f1 = 2 * matched / (n_true + n_found)
        expected |= {"f1": f1, "rq": f1, "pq": 2 * iou / (n_true + n_found)}
    if matched:
        expected["sq"] = iou / matched
    assert figures == pytest.approx(expected)


def test_classes_have_to_agree_where_they_are_asked_for():
    # Three particles, all found; the second is called a proton and is a muon, the third's class is not known.
    events = [[(0, 5), (0, 5), (2, 6), (2, 6), (7, 7), (7, 7)]]
    classes = [(np.array([0, 0, -1]), np.array([0, 1, 1]))]
    figures = instance_figures({k: v.sum(0) for k, v in of(events, classes, 2).items()}, NAMES)
    assert figures["pq"] == figures["ari"] == 1
    assert figures["pq/muon"] == pytest.approx(2 / 3)  # one of two muons, and nothing else called a muon
    assert figures["pq/proton"] == 0
    assert figures["pq_class"] == pytest.approx(1 / 3)


def test_low_energy_deposits_count_against_what_claims_them_but_not_in_the_rand_index():
    claimed, free = [[(0, 0)] * 3 + [(-1, 0)] * 3], [[(0, 0)] * 3 + [(-1, -1)] * 3]
    bad, good = (instance_figures({k: v.sum(0) for k, v in of(e).items()}) for e in (claimed, free))
    assert bad["ari"] == good["ari"] == 1
    assert (bad["purity"], bad["recall"]) == (0.5, 0)
    assert (good["purity"], good["recall"], good["pq"]) == (1, 1, 1)
