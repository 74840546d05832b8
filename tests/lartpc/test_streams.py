"""Random numbers in compiled code: the core's Philox, and the right distributions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hepfm.random import key_of, philox
from hepfm_lartpc import streams
from hepfm_lartpc.compiled import compiled


@compiled
def many(s, draw, n):
    out = np.empty(n)
    for i in range(n):
        out[i] = draw(s)
    return out


@compiled
def poissons(s, mean, n):
    out = np.empty(n, np.int64)
    for i in range(n):
        out[i] = streams.poisson(s, mean)
    return out


def test_bits_are_those_of_the_core():
    event = 3 << 32 | 5
    s = streams.stream(7, "light", event)
    words = [int(streams.bits(s)) for _ in range(6)]
    draws = np.arange(3)
    counter = (np.full(3, 5), np.full(3, 3), draws, draws * 0)
    c = [w.tolist() for w in philox(counter, key_of(7, "light"))]
    expected = [w for i in range(3) for w in (c[0][i] << 32 | c[1][i], c[2][i] << 32 | c[3][i])]
    assert words == expected


def test_a_stream_depends_on_seed_purpose_and_event():
    firsts = {
        int(streams.bits(streams.stream(seed, purpose, event)))
        for seed in (1, 2)
        for purpose in ("a", "b")
        for event in (0, 1, 1 << 40)
    }
    assert len(firsts) == 12


def test_a_pair_of_normal_numbers_is_of_two_independent_ones():
    s = streams.stream(1, "test", 3)
    found = np.array([streams.normal_pair(s) for _ in range(20_000)])
    for column in found.T:
        assert stats.kstest(column, stats.norm().cdf).pvalue > 1e-3
    assert abs(np.corrcoef(found.T)[0, 1]) < 0.03
    assert abs(np.corrcoef(found.T**2)[0, 1]) < 0.03


@pytest.mark.parametrize(
    ("draw", "law"),
    [
        (streams.uniform, stats.uniform()),
        (streams.exponential, stats.expon()),
        (streams.normal, stats.norm()),
    ],
)
def test_draws_follow_their_law(draw, law):
    found = many(streams.stream(1, "test", 0), draw, 40_000)
    assert stats.kstest(found, law.cdf).pvalue > 1e-3


@pytest.mark.parametrize("mean", [0.3, 4.0, 29.9, 30.1, 400.0])
def test_poisson_counts_follow_their_law(mean):
    found = poissons(streams.stream(1, "test", 1), mean, 40_000)
    law = stats.poisson(mean)
    low, high = law.ppf([1e-3, 1 - 1e-3])
    edges = np.unique(np.linspace(low, high, 20).astype(int))
    expected = np.diff(law.cdf(np.concatenate(([-1], edges, [10**9]))))
    counts = np.bincount(np.searchsorted(edges, found), minlength=len(expected))
    keep = expected > 0
    assert stats.chisquare(counts[keep], len(found) * expected[keep] / expected[keep].sum()).pvalue > 1e-3


def test_directions_are_isotropic():
    s = streams.stream(1, "test", 2)
    found = np.array([streams.isotropic(s) for _ in range(20_000)])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-12)
    for axis in range(3):
        assert stats.kstest(found[:, axis], stats.uniform(-1, 2).cdf).pvalue > 1e-3
