"""Models on features, against what is known of the distributions that these are drawn from."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hepfm.errors import DataError
from hepfm.evaluation.fit import STRENGTHS, Whitening, fit
from hepfm.evaluation.frozen import Rows


def two_normals(n, seed, *, width=6):
    """Classes at -1 and +1 of a first feature of variance 1; all mixed, scaled from 1e-2 to 1e3 and shifted."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    x = rng.normal(size=(n, width))
    x[:, 0] += 2 * y - 1
    first = x[:, 0].copy()
    mixing = np.linalg.qr(np.random.default_rng(0).normal(size=(width, width)))[0]
    x = (x @ mixing) * np.logspace(-2, 3, width) + 7
    return Rows(x=x.astype(np.float32), y=y), first


def fitted(kind, train, val, **options):
    return fit(kind, train, val, **{"answers": "classes", "outputs": 2, "seed": 1} | options)


def test_linear_probe_finds_the_posterior_of_two_normals():
    """Of which the logarithm's difference is twice the first feature, and the best accuracy is Phi(1)."""
    (train, _), (val, _), (test, first) = (two_normals(n, s) for n, s in ((8000, 1), (1000, 2), (20000, 3)))
    outputs = fitted("linear", train, val).outputs(test.x)
    np.testing.assert_allclose(np.exp(outputs).sum(1), 1, atol=1e-5)
    odds = outputs[:, 1] - outputs[:, 0]
    slope, offset = np.polyfit(2 * first, odds, 1)
    np.testing.assert_allclose(odds, slope * 2 * first + offset, atol=0.25)
    assert 0.7 < slope < 1.02  # what is chosen for accuracy may be shrunk
    assert abs(offset) < 0.05
    best = 0.5 * (1 + math.erf(1 / math.sqrt(2)))
    assert (outputs.argmax(1) == test.y).mean() == pytest.approx(best, abs=0.01)  # 4 standard deviations


@pytest.mark.parametrize("kind", ["knn", "mlp", "svm"])
def test_other_probes_come_near_the_best(kind):
    (train, _), (val, _), (test, _) = (two_normals(n, s) for n, s in ((4000, 1), (1000, 2), (4000, 3)))
    made = fitted(kind, train, val)
    outputs = made.outputs(test.x)
    np.testing.assert_allclose(np.exp(outputs).sum(1), 1, atol=1e-4)
    assert (outputs.argmax(1) == test.y).mean() > 0.841 - 0.025
    scores = [score for _, score in made.tried]
    assert made.chosen == made.tried[int(np.argmax(scores))][0]
    assert [strength for strength, _ in made.tried] == list(STRENGTHS[kind])


def test_what_is_not_linear_is_for_knn_and_mlp():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(6000, 2)).astype(np.float32)
    y = (np.hypot(*x.T) > 1.18).astype(np.int64)  # a half of each
    train, val, test = (Rows(x=x[i], y=y[i]) for i in (slice(0, 3000), slice(3000, 4000), slice(4000, None)))
    right = {
        kind: (fitted(kind, train, val).outputs(test.x).argmax(1) == test.y).mean()
        for kind in ("linear", "knn", "mlp")
    }
    assert right["linear"] < 0.7
    assert min(right["knn"], right["mlp"]) > 0.93


def test_ridge_and_its_kin_predict_values_in_their_units():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(3000, 4)).astype(np.float32)
    y = (
        x[:, :2] @ [[300.0, 0.0], [0.0, 2.0]] + [1000.0, -5.0] + rng.normal(size=(3000, 2)) * [3.0, 0.02]
    ).astype(np.float32)
    train, val, test = (Rows(x=x[i], y=y[i]) for i in (slice(0, 2000), slice(2000, 2500), slice(2500, None)))
    exact = np.linalg.lstsq(np.c_[train.x, np.ones(2000)], train.y, rcond=None)[0]
    outputs = fitted("linear", train, val, answers="values").outputs(test.x)
    np.testing.assert_allclose(outputs, np.c_[test.x, np.ones(500)] @ exact, rtol=0.01, atol=1.0)
    for kind in ("knn", "mlp", "svm"):
        error = np.std(fitted(kind, train, val, answers="values").outputs(test.x) - test.y, axis=0)
        assert (error / test.y.std(0) < 0.35).all(), kind


def test_strength_is_chosen_where_it_helps_on_other_rows():
    """Forty rows of two hundred features of noise: the strongest keeps most of the one that tells something."""
    rng = np.random.default_rng(6)

    def rows(n):
        y = rng.integers(0, 2, n)
        x = rng.normal(size=(n, 200))
        x[:, 0] += 3 * (2 * y - 1)
        return Rows(x=x.astype(np.float32), y=y)

    made = fitted("linear", rows(60), rows(2000))
    scores = {strength["l2"]: score for strength, score in made.tried}
    assert made.chosen["l2"] == max(scores, key=scores.get)
    assert scores[1e-2] >= scores[1e-6]


def test_features_that_tell_nothing_are_harmless():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(1000, 3)).astype(np.float32)
    x = np.c_[x, x[:, :1], np.full((1000, 1), 4.2, np.float32)]  # one twice, and a constant
    white = Whitening.of(x)(x)
    assert np.isfinite(white).all()
    variance = np.sort(white.var(0))
    np.testing.assert_allclose(variance[-3:], 1, atol=0.01)
    assert variance[:2].max() < 0.01


def test_a_class_that_is_not_there_is_never_said_and_one_class_alone_is_refused():
    (train, _), (val, _) = two_normals(500, 1), two_normals(100, 2)
    outputs = fitted("knn", train, val, outputs=4).outputs(val.x)
    assert outputs.shape == (100, 4)
    assert np.isneginf(outputs[:, 2:]).all()
    with pytest.raises(DataError, match="All 500 training rows are of one class"):
        fitted("linear", Rows(x=train.x, y=np.ones(500, np.int64)), val)
