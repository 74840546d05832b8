"""Whole runs on two ranks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hepfm.training.worker import train


@pytest.fixture
def train_on_two(run_ranks, tmp_path):
    def launch(request, **env):
        path = tmp_path / "request.json"
        path.write_text(json.dumps(request.to_json()))
        codes, output, _ = run_ranks("train_rank.py", [path], tmp_path, world=2, env=env)
        return codes, "\n".join(output)

    return launch


def test_a_rank_is_killed_and_the_resumed_run_is_bitwise_the_whole_one(make_run, figures, train_on_two):
    zero = {"deepspeed__zero_optimization": {"stage": 2}}
    golden, request = make_run(**zero)
    codes, output = train_on_two(request)
    assert codes == [0, 0], output

    broken, request = make_run(**zero)
    codes, output = train_on_two(request, HEPFM_FAILPOINT="after-step@1:5:kill")
    assert codes[1] == -9, output
    assert codes[0] != 0, "rank 0 went on alone"
    assert broken.json()["status"] == "failed"
    codes, output = train_on_two(request)
    assert codes == [0, 0], output

    for name in ("train/loss", "grad_norm", "val/loss"):
        assert figures(broken, name) == figures(golden, name)
    assert broken.json()["weights_sha256"] == golden.json()["weights_sha256"]

    alone, request_alone = make_run(**zero)
    train(request_alone)
    for name in ("train/loss", "val/loss", "val/loss_baseline"):
        assert figures(alone, name) == pytest.approx(figures(golden, name), rel=1e-5)


def test_what_fails_on_one_rank_ends_all_and_is_said_by_rank_0(make_run, train_on_two):
    run, request = make_run(train__steps=3)
    codes, output = train_on_two(request, HEPFM_FAILPOINT="after-step@1:1:raise")
    assert 0 not in codes, output
    assert run.json()["status"] == "failed"
    assert "Rank 1: FailpointError: failpoint after-step@1:1:raise" in run.json()["reason"]
    assert "FailpointError" in Path(run.log_path).read_text()
