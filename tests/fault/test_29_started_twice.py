"""A run that is started twice, a lock that a dead process left, and a clock that is off by a day."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from hepfm.cli.launch import launch
from hepfm.errors import TrainingError
from hepfm.recipe.load import from_dict
from hepfm.training.worker import train

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)
DAY_S = 86_400


def test_the_second_start_is_refused_and_a_dead_one_does_not_hinder(make_run, tmp_path):
    run, request = make_run(train__steps=2, checkpoint__every=1)
    path = tmp_path / "request.json"
    path.write_text(json.dumps(request.to_json()))
    script = Path(__file__).parents[1] / "training" / "train_rank.py"
    first = subprocess.Popen(
        [sys.executable, str(script), str(path)],
        env={**os.environ, "WORLD_SIZE": "1", "HEPFM_FAILPOINT": "after-step:1:hang"},
    )
    try:
        end = time.monotonic() + 120
        while run.json()["status"] != "running":
            assert time.monotonic() < end
            time.sleep(0.1)
        with pytest.raises(TrainingError, match="being trained already") as refused:
            train(request)
        assert f'"pid": {first.pid}' in refused.value.where
        assert run.json()["status"] == "running", "the refused one has spoilt the other's record"
    finally:
        first.kill()
        first.wait()
    assert (run.path / "lock").exists()
    train(request)
    assert run.json()["status"] == "done"


def test_a_command_that_is_refused_changes_nothing_of_the_live_run(make_run, monkeypatch):
    monkeypatch.setattr("hepfm.cli.launch._LET_GO_S", 0.5)
    run, request = make_run(train__steps=2)
    run.update(status="running", attempts=[{"started": 1.0, "ended": None}])
    with run.lock():
        run.ask_to_stop("job stop")
        before = run.json()
        with pytest.raises(TrainingError, match="being trained already"):
            launch(request, from_dict(request.recipe).recipe, as_json=False)
        assert run.json() == before
        assert run.stop_asked() == "job stop"


def test_the_order_of_checkpoints_is_that_of_steps_when_the_clock_was_off_by_a_day(make_run, figures):
    golden, request = make_run(train__steps=6, checkpoint__every=1, checkpoint__keep=3)
    train(request)
    run, request = make_run(train__steps=6, checkpoint__every=1, checkpoint__keep=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEPFM_FAILPOINT", "after-step:4:raise")
        patch.setattr("hepfm.failpoints._passed", Counter())
        with pytest.raises(RuntimeError, match="failpoint"):
            train(request)
    now = time.time()
    for age, checkpoint in enumerate(sorted(run.checkpoints.glob("step-*"))):
        for path in (*checkpoint.rglob("*"), checkpoint):  # the newest is the oldest by its time
            os.utime(path, (now - age * DAY_S, now - age * DAY_S))
    for path in (run.metrics_path, run.path / "run.json", run.log_path):
        os.utime(path, (now + DAY_S, now + DAY_S))
    train(request)
    assert "going on from" in run.log_path.read_text()
    assert "step-00000003" in run.log_path.read_text().split("going on from")[1].splitlines()[0]
    assert figures(run, "train/loss") == figures(golden, "train/loss")
    assert run.json()["weights_sha256"] == golden.json()["weights_sha256"]
    assert run.json()["effective_time"] >= 0
