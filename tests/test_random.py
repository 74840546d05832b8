"""Random numbers: the published generator, the same bits everywhere, and no trace of batch or order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hepfm.random import Draws, Permutation, key_of, philox, stable_id

KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
"""Counter, key, result: the known-answer vectors of Random123 for philox4x32-10."""

WORD = st.integers(0, 2**32 - 1)


def words(text):
    return [int(word, 16) for word in text.split()]


def textbook_philox(counter, key):
    """Philox-4x32-10 as the paper writes it, in Python's unbounded integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 % 2**32, (p0 >> 32) ^ c[3] ^ k[1], p0 % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_known_answers(counter, key, answer, make):
    found = philox(tuple(make([word]) for word in words(counter)), tuple(words(key)))
    assert [int(word[0]) for word in found] == words(answer)


@given(st.lists(st.tuples(WORD, WORD, WORD, WORD), min_size=1, max_size=20), WORD, WORD)
def test_numpy_and_torch_give_the_bits_of_the_textbook(counters, k0, k1):
    columns = np.array(counters, dtype=np.int64).T
    in_numpy = np.stack(philox(tuple(columns), (k0, k1)))
    in_torch = torch.stack(philox(tuple(torch.tensor(columns)), (k0, k1))).numpy()
    assert np.array_equal(in_numpy, in_torch)
    assert in_numpy.T.tolist() == [textbook_philox(counter, (k0, k1)) for counter in counters]


def draws(ids, *, seed=1, epoch=0, make=np.array):
    return Draws(seed=seed, epoch=epoch, event_ids=make(ids))


IDS = [3, -1, 2**62, -(2**63), 17]
OFFSETS = [0, 4, 4, 9, 10, 300]


def test_numpy_and_torch_give_the_same_numbers():
    a, b = draws(np.array(IDS, np.int64)), draws(IDS, make=torch.tensor)
    assert np.array_equal(a.per_event("x", 3), b.per_event("x", 3).numpy())
    offsets = np.array(OFFSETS)
    assert np.array_equal(a.per_item("x", offsets), b.per_item("x", torch.tensor(offsets)).numpy())


def test_numbers_of_an_event_do_not_depend_on_its_batch():
    together = draws(np.array(IDS, np.int64))
    items = together.per_item("x", np.array(OFFSETS))
    for row, event_id in enumerate(IDS):
        alone = draws(np.array([event_id], np.int64))
        first, last = OFFSETS[row], OFFSETS[row + 1]
        assert np.array_equal(alone.per_event("x", 2)[0], together.per_event("x", 2)[row])
        assert np.array_equal(alone.per_item("x", np.array([0, last - first])), items[first:last])


def test_more_numbers_leave_the_first_as_they_are():
    some = draws(np.array(IDS, np.int64))
    assert np.array_equal(some.per_event("x", 5)[:, :2], some.per_event("x", 2))
    assert some.per_event("x", 0).shape == (len(IDS), 0)
    assert draws(IDS, make=torch.tensor).per_event("x", 0).shape == (len(IDS), 0)


def test_seed_epoch_purpose_event_and_index_each_change_the_number():
    base = draws(np.array([5])).per_event("x", 2)[0]
    others = [
        draws(np.array([5]), seed=2).per_event("x", 1)[0, 0],
        draws(np.array([5]), epoch=1).per_event("x", 1)[0, 0],
        draws(np.array([5]), epoch="validation").per_event("x", 1)[0, 0],
        draws(np.array([5])).per_event("y", 1)[0, 0],
        draws(np.array([6])).per_event("x", 1)[0, 0],
        draws(np.array([5 + 2**32])).per_event("x", 1)[0, 0],
        base[1],
    ]
    assert len({base[0], *others}) == len(others) + 1


def test_no_event_gives_no_number():
    for none in (
        draws(np.zeros(0, np.int64)),
        draws(torch.zeros(0, dtype=torch.int64), make=lambda ids: ids),
    ):
        assert none.per_event("x", 3).shape == (0, 3)
    assert draws(np.zeros(0, np.int64)).per_item("x", np.zeros(1, np.int64)).shape == (0,)


@pytest.mark.parametrize("along", ["events", "items"])
def test_numbers_are_uniform_and_independent_of_their_neighbours(along):
    """Kolmogorov-Smirnov against the uniform, and no correlation between neighbours, of 100,000 numbers."""
    n = 100_000
    if along == "events":
        found = draws(np.arange(n)).per_event("x", 1)[:, 0]
    else:
        found = draws(np.array([9])).per_item("x", np.array([0, n]))
    assert found.min() >= 0
    assert found.max() < 1
    assert stats.kstest(found, "uniform").pvalue > 1e-3
    assert abs(stats.pearsonr(found[:-1], found[1:]).statistic) < 4 / np.sqrt(n)


def test_each_of_53_bits_is_set_half_the_time():
    n = 10_000
    found = (draws(np.arange(n)).per_event("x", 1)[:, 0] * 2**53).astype(np.int64)
    for bit in range(53):
        assert abs((found >> bit & 1).mean() - 0.5) < 4 * 0.5 / np.sqrt(n), f"bit {bit}"


def test_ids_and_keys_are_stable_across_releases_and_tell_neighbours_apart():
    assert key_of(1, 0, "x") == (0x474AB22C, 0xD9C8F8E2)
    assert stable_id("file", 3) == 0xF107830775EB441A
    assert len({stable_id("a", "bc"), stable_id("ab", "c"), stable_id("abc"), stable_id("a", "b", "c")}) == 4
    assert 0 <= stable_id("file", 4) < 2**64


def test_a_permutation_holds_every_element_once_whatever_its_length():
    for n in range(301):
        order = Permutation(n, "seed", 0)
        assert len(order) == n
        assert sorted(order[:].tolist()) == list(range(n))


@given(st.integers(1, 2**40), st.integers(0, 2**40), st.integers(0, 50), st.integers(0, 5))
def test_a_slice_of_a_large_permutation_is_what_one_position_after_another_gives(n, start, length, seed):
    order = Permutation(n, seed)
    found = order[start : start + length]
    assert found.tolist() == [int(order[i : i + 1][0]) for i in range(start, min(start + length, n))]
    assert all(0 <= element < n for element in found.tolist())
    assert len(set(found.tolist())) == len(found)


@settings(max_examples=25)
@given(st.integers(301, 20_000), st.integers(0, 3))
def test_a_large_permutation_is_bijective(n, seed):
    assert np.array_equal(np.sort(Permutation(n, seed)[:]), np.arange(n))


def test_permutations_of_other_seeds_and_epochs_differ_and_look_random():
    n = 5000
    orders = [Permutation(n, seed, epoch)[:] for seed in (0, 1) for epoch in (0, 1)]
    for i, a in enumerate(orders):
        for b in orders[i + 1 :]:
            assert (a == b).sum() < 20  # one is expected by chance
        assert abs(stats.spearmanr(np.arange(n), a).statistic) < 4 / np.sqrt(n)
