"""Whole runs whose events are drawn from a generator: resumed to the bit, and the same on any number of ranks."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import replace

import pytest

from hepfm.errors import CheckpointError, DataError, Stopped
from hepfm.training.worker import train

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
    ),
    pytest.mark.usefixtures("tracks_plugin"),
]

DRAWN = {
    "data__train": {"generator": "tracks", "events": 15, "seed": 1, "grid": 48},
    "data__val": {"generator": "tracks", "events": 5, "seed": 2, "grid": 48},
    "data__batch_events": 4,
    "data__micro_batch_cost": 150,
    "train__steps": 4,
    "train__validate_every": 2,
    "train__marginal_events": 8,
    "checkpoint__every": 2,
}


def test_two_steps_and_two_more_are_four_to_the_bit(make_run, figures, monkeypatch):
    noisy = DRAWN["data__train"] | {"noise": {"voxels": 60}}
    golden, request = make_run(**DRAWN | {"data__train": noisy})
    train(request)
    assert golden.json()["effective"]["train_events"] == 15
    assert "tracks" in golden.json()["plugins"]
    said = r"left out or changed in the events .* noise where a muon is: \d+\n"
    assert re.search(said, golden.log_path.read_text())

    broken, request = make_run(**DRAWN | {"data__train": noisy})
    monkeypatch.setattr("hepfm.failpoints._passed", Counter())
    monkeypatch.setenv("HEPFM_FAILPOINT", "after-step:3:raise")
    with pytest.raises(RuntimeError, match="failpoint"):
        train(request)
    monkeypatch.delenv("HEPFM_FAILPOINT")
    train(replace(request, resume_from="newest"))

    for name in ("train/loss", "grad_norm", "val/loss", "val/loss_baseline"):
        assert figures(broken, name) == figures(golden, name)
    assert sorted(figures(golden, "train/loss")) == [1, 2, 3, 4]
    assert broken.json()["weights_sha256"] == golden.json()["weights_sha256"]


def test_two_ranks_train_on_the_same_events(make_run, run_ranks, figures, tmp_path, tracks_plugin):
    alone, request = make_run(**DRAWN)
    train(request)
    both, request = make_run(**DRAWN)
    path = tmp_path / "request.json"
    path.write_text(json.dumps(request.to_json()))
    plugin = {"PYTHONPATH": os.pathsep.join(filter(None, (str(tracks_plugin), os.environ.get("PYTHONPATH"))))}
    codes, output, _ = run_ranks("train_rank.py", [path], tmp_path, world=2, env=plugin)
    assert codes == [0, 0], "\n".join(output)
    assert both.json()["data_digest"] == alone.json()["data_digest"]
    for name in ("train/loss", "val/loss", "val/loss_baseline"):
        assert figures(both, name) == pytest.approx(figures(alone, name), rel=1e-5)


def test_other_events_are_refused_on_resume(make_run):
    _, request = make_run(**DRAWN | {"train__steps": 1})
    train(request)
    other = json.loads(json.dumps(request.recipe))
    other["data"]["train"]["muons"] = 1
    with pytest.raises(CheckpointError, match=r"data.train.muons: 2 -> 1") as refused:
        train(replace(request, recipe=other))
    assert "(data train)" in refused.value.what


def test_how_often_and_on_how_many_events_a_run_is_validated_may_change(make_run):
    """That changes no weight. Which events they are may not."""
    golden, request = make_run(**DRAWN)
    train(request)
    run, request = make_run(**DRAWN | {"train__time_limit_minutes": 1e-9})
    with pytest.raises(Stopped):
        train(request)
    more = json.loads(json.dumps(request.recipe))
    more["data"]["val"]["events"] = 3
    more["train"] |= {"validate_events": 2, "validate_every": 1, "time_limit_minutes": None}
    train(replace(request, recipe=more))
    assert run.json()["weights_sha256"] == golden.json()["weights_sha256"]
    assert run.json()["effective"]["val_events"] == 3
    for changes, said in (({"seed": 9}, "data.val.seed: 2 -> 9"), ({"muons": 1}, "(data val)")):
        other = json.loads(json.dumps(more))
        other["data"]["val"] |= changes
        with pytest.raises(CheckpointError) as refused:
            train(replace(request, recipe=other))
        assert said in refused.value.what


def test_validation_on_training_events_is_refused(make_run):
    _, request = make_run(**DRAWN | {"data__val": DRAWN["data__train"] | {"first": 14, "muons": 1}})
    with pytest.raises(DataError, match="training events too"):
        train(request)
