"""How much there is on either side: a line that noise does not bend."""

from __future__ import annotations

import numpy as np

from hepfm.evaluation.matching import line_of


def test_amounts_below_zero_do_not_bend_the_line():
    """light = 3 charge^0.8; noise has outweighed some of it, and the unit may be any."""
    rng = np.random.default_rng(1)
    charge = rng.uniform(1, 100, 40)
    true = np.log(3) + 0.8 * np.log(charge)
    light = np.exp(true)
    rows = np.arange(1, 40)  # the first event has one side
    light[0], light[5], light[6], charge[7] = 1e9, -4.0, 0.0, -1.0
    left = np.delete(np.arange(40), [0, 5, 6, 7])
    for unit in (1.0, 1e-9):
        expected, is_ = line_of(np.stack((charge, unit * light), 1), rows).T
        np.testing.assert_allclose(expected[left], np.log(unit) + true[left])
        np.testing.assert_allclose(is_[left], np.log(unit * light[left]))
        np.testing.assert_allclose(is_[[5, 6]], np.log(unit * light[left].min()), err_msg="the least")
        np.testing.assert_allclose(expected[7], np.log(unit) + true[left].min())


def test_too_little_to_fit_to_is_no_line():
    rows = np.arange(4)
    assert line_of(np.array([[1.0, 2], [2, 3], [3, -1], [-1, 5]]), rows) is None
    assert line_of(np.array([[2.0, 2], [2, 3], [2, 1], [2, 5]]), rows) is None
    assert line_of(np.full((4, 2), np.nan), rows) is None
