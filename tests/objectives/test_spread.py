"""Spread of vectors against numpy's covariance and singular values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepfm.objectives.spread import Spread


def figures_of(vectors, cuts=()):
    spread = Spread(vectors.shape[1])
    for part in np.split(vectors, cuts):
        spread.add(torch.from_numpy(part).float())
    return spread.figures()


@given(st.integers(0, 10**6), st.integers(2, 60), st.integers(1, 7), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_figures_are_those_of_numpy_however_vectors_come(seed, n, width, cut) -> None:
    rng = np.random.default_rng(seed)
    vectors = (rng.normal(size=(n, width)) @ rng.normal(size=(width, width)) + 3).astype(np.float32)
    found = figures_of(vectors, [min(cut, n)])
    wide = vectors.astype(np.float64)
    values = np.linalg.svd(np.cov(wide.T, bias=True).reshape(width, width), compute_uv=False)
    share = values / values.sum()
    assert found["std"] == pytest.approx(wide.std(0).mean(), rel=1e-6)
    assert found["effective_rank"] == pytest.approx(np.exp(-(share * np.log(share + 1e-300)).sum()), rel=1e-6)


def test_a_collapse_is_seen() -> None:
    rng = np.random.default_rng(0)
    point = np.tile(rng.normal(size=8), (100, 1))
    line = rng.normal(size=(100, 1)) * rng.normal(size=8)
    ball = rng.normal(size=(4000, 8))
    assert (
        figures_of(point)["effective_rank"] == pytest.approx(1, abs=0.01) or figures_of(point)["std"] < 1e-6
    )
    assert figures_of(point)["std"] == pytest.approx(0, abs=1e-6)
    assert figures_of(line)["effective_rank"] == pytest.approx(1, abs=1e-3)
    assert figures_of(ball)["effective_rank"] == pytest.approx(8, abs=0.05)
    assert figures_of(ball[:1]) == {}
