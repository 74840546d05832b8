"""The demonstrations of docs/results.md run, for 20 steps each."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hepfm.data.source import open_source
from hepfm.readers.writer import StoreWriter
from hepfm.recipe.schema import Part

SMALL = ["train.steps=20", "train.warmup_steps=5", "tracking.displays=0"]
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")]


def in_order(figure):
    value, low, high = figure
    assert low <= high
    assert np.isfinite(value)


@pytest.mark.timeout(900)
def test_geant4(tmp_path):
    """On a few events of the packaged sample, in place of the whole one."""
    from results import geant4

    source = open_source("sample:train", parts={"image3d": Part(kind="image3d")})
    for name, events in (("train", range(8)), ("val", range(8, 12)), ("test", range(12, 16))):
        folder = tmp_path / "geant4_lartpc" / name
        folder.mkdir(parents=True)
        with StoreWriter(folder / "events.h5", source.parts, {"made_by": "a test"}) as writer:
            writer.write(source.read(np.array(events), labels=True))
    small = ["train.steps=2", "train.warmup_steps=1", "tracking.displays=0"]
    figures, _ = geant4.main(tmp_path, tmp_path / "runs", small, labelled=6)
    assert figures["steps"] == 2
    assert figures["probe"]["pretrained"]["macro_f1"] != figures["probe"]["untrained"]["macro_f1"]
    assert {"pretrained-2", "scratch-2", "gain-2"} == figures["few"].keys() == figures["all"].keys()
    in_order(figures["particles"]["ari"])
    longer = figures["longer"]
    assert longer["few"]["scratch-2"] == figures["few"]["scratch-2"], "it is the same training"
    assert {"steps", "probe", "few", "fewer"} <= longer.keys()
    # Two pretrainings, particles, five times fine-tuned, and once from scratch: here all curves have equal points.
    assert len(list((tmp_path / "runs").glob("*/checkpoints"))) == 2 + 1 + 5 + 1


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
