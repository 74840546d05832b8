"""The demonstrations of docs/results.md run, for 20 steps each."""

from __future__ import annotations

import json

import numpy as np
import pytest

SMALL = ["train.steps=20", "train.warmup_steps=5", "tracking.displays=0"]
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")]


def in_order(figure):
    value, low, high = figure
    assert low <= high
    assert np.isfinite(value)


def test_protodune(real_data, tmp_path):
    from results import pictures, protodune

    figures, shown = protodune.main(real_data, tmp_path, SMALL)
    for by in ("channel", "plane"):
        assert figures[by]["steps"] == 20
        assert figures[by]["training_events"] == 14
        for ways in figures[by]["error"].values():
            for way in ways.values():
                in_order(way)
    assert 0.5 < figures["channel"]["error"]["HD"]["fitted rule"][0] < 0.9  # no model is in this one
    pictures.protodune(shown, tmp_path)
    assert (tmp_path / "results-protodune.png").stat().st_size > 10_000


def test_microboone(real_data, tmp_path):
    from results import microboone, pictures

    figures, shown = microboone.main(real_data, tmp_path, SMALL)
    assert np.array(figures["confusion"]).sum(1).tolist() == [72] * 4
    assert figures["accuracy"]["power in 32 bands"][0] > 0.8
    assert all(0.25 < of[0] <= 1 for of in figures["accuracy"].values())
    pictures.microboone(shown, tmp_path)
    assert (tmp_path / "results-microboone.png").stat().st_size > 10_000


def test_legend(real_data, tmp_path):
    from results import legend, pictures

    figures, shown = legend.main(real_data, tmp_path, SMALL)
    errors = figures["denoising"]["error"]
    assert errors["the noisy trace"]["all samples"][0] == 1
    assert figures["denoising"]["own_noise"] < errors["best linear filter"]["all samples"][0] < 0.6
    assert figures["photoelectrons"]["hit_tier"] == [3.18, 1.02, 0.9]
    pictures.legend(shown, tmp_path)
    assert (tmp_path / "results-legend.png").stat().st_size > 10_000


def test_structured(real_data, tmp_path):
    from results import dimuons, gibuu, pictures

    shown = {}
    for name, module in (("gibuu", gibuu), ("dimuons", dimuons)):
        out = tmp_path / name
        out.mkdir()
        figures, shown[name] = module.main(real_data, out, SMALL)
        assert figures["steps"] == 20
        assert all(np.isfinite(of).all() for of in figures["fields"].values())
    assert figures["distinct_events"]["train"] + figures["distinct_events"]["held_out"] == 500
    assert json.dumps(figures)
    pictures.structured(shown, tmp_path)
    assert (tmp_path / "results-structured.png").stat().st_size > 10_000
