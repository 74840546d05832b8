"""The references of flash matching: what they expect is what arrived, and what is found is counted right."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from hepfm.data.source import open_source
from hepfm.recipe.load import load_recipe
from hepfm_lartpc.detector import load_detector


@pytest.fixture(scope="module")
def flash():
    """The module; the benchmarks lie beside the tests, and are not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2]))
        yield importlib.import_module("benchmarks.flash_matching")


@pytest.fixture(scope="module")
def events(flash):
    """Twelve events with their true photoelectrons, and their facts."""
    recipe = load_recipe("lartpc/flash-tiny").recipe
    batch = open_source(recipe.data.val, parts=recipe.data.parts).read(np.arange(12), labels=True)
    return batch, flash.facts_of(batch, load_detector("wire"))


def test_the_light_that_is_expected_is_the_light_that_arrived(events):
    batch, facts = events
    samples = batch.labels["light"]["samples"].columns["photoelectrons"]
    arrived = samples.reshape(len(batch), 16, -1).sum(2)
    assert facts.expected_pe.shape == arrived.shape
    assert facts.expected_pe.sum(1) == pytest.approx(arrived.sum(1), rel=0.1)
    bright = arrived > 400  # 5 % by Poisson's law
    assert bright.sum() > 50
    assert np.abs(facts.expected_pe / np.maximum(arrived, 1) - 1)[bright].mean() < 0.06


def test_pattern_finds_all_and_total_charge_some(flash, events):
    _, facts = events
    assert flash.found_by(flash.Pattern(facts).scores(facts)) == 12
    assert 0 < flash.found_by(flash.TotalCharge(facts).scores(facts)) < 12


def test_a_power_law_without_spread_is_fitted_and_found(flash):
    charge = np.geomspace(1e5, 1e7, 8)
    light = np.outer(0.3 * charge**1.2, [0.25, 0.75])
    facts = flash.Facts(electrons=charge, light_adc=light, expected_pe=light)
    fitted = flash.TotalCharge(facts)
    assert (fitted.slope, np.exp(fitted.offset)) == pytest.approx((1.2, 0.3))
    assert flash.found_by(fitted.scores(facts)) == 8


def test_what_is_found_is_the_mean_of_both_directions_and_a_tie_is_not_found(flash):
    # Rows find 0 and 1, columns 0 alone: in column 1 there is a tie, in column 2 another one is higher.
    scores = np.array([[6.0, 2.0, 3.0], [0.0, 2.0, 0.0], [5.0, 1.0, 1.0]])
    assert flash.found_by(scores) == (2 + 1) / 2
    assert flash.found_by(np.zeros((4, 4))) == 0


def test_the_interval_is_that_of_a_share(flash):
    found, of = np.repeat([8.0, 16.0], 32), np.full(64, 32.0)
    low, high = flash.interval(found, of)
    error = 1.96 * 0.125 / 64**0.5
    assert (low, high) == pytest.approx((0.375 - error, 0.375 + error), abs=0.006)
