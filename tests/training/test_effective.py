"""Effective training time against a timeline made by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hepfm.errors import TrainingError
from hepfm.tracking.runs import create_run
from hepfm.training import effective
from hepfm.training.state import State
from hepfm.training.worker import train


@pytest.fixture
def now(monkeypatch):
    """Sets the time, s."""
    clock = {"now": 0.0}
    monkeypatch.setattr(effective.time, "time", lambda: clock["now"])
    return lambda at: clock.update(now=float(at))


def last_seen(run, at):
    """Files of the run are as old as if it had died then."""
    for path in (run.log_path, run.metrics_path, run.checkpoints):
        if not path.exists():
            path.write_text("")
        os.utime(path, (at - 5, at - 5))
    os.utime(run.metrics_path, (at, at))


def test_a_timeline_with_a_kill_a_stop_and_a_night_between(tmp_path, now):
    run = create_run(tmp_path, "tiny", "")
    # 1000: launched; 1010: first step; 1100: killed after 80 s of steps, of which 30 are in no checkpoint.
    killed = effective.attempt(run, 1000.0)
    killed.__enter__()
    last_seen(run, 1100.0)
    # A night later: launched at 50000, 50 s of steps count, 100 more are made, a stop at 50140.
    now(50_000)
    with effective.attempt(run, 50_000.0):
        now(50_020)
        clock = effective.clock(run)
        assert (clock.earlier_s, clock.started) == (100.0, 50_000.0)
        assert clock.share(50.0) == pytest.approx(50 / 120)
        now(50_140)
        assert clock.share(150.0) == pytest.approx(150 / 240)
    # Another night; this attempt dies before it says anything.
    effective.attempt(run, 90_000.0).__enter__()
    now(95_000)
    with effective.attempt(run, 95_000.0):
        now(95_060)
        assert effective.clock(run).share(150.0) == pytest.approx(150 / 300)
    assert [each["ended"] - each["started"] for each in run.json()["attempts"]] == [100, 140, 0, 60]


def test_a_clock_that_was_set_back_makes_no_time_negative(tmp_path, now):
    run = create_run(tmp_path, "tiny", "")
    now(1000)
    with effective.attempt(run, 900.0):
        pass
    now(500)
    with effective.attempt(run, 450.0):
        assert effective.clock(run).earlier_s == 100
    spans = [each["ended"] - each["started"] for each in run.json()["attempts"]]
    assert spans[0] == 100
    assert min(spans) >= 0


def test_only_steps_that_were_taken_count():
    state = State()
    state.count(taken=True, loss=1.0, seconds=2.0)
    state.count(taken=False, loss=float("nan"), seconds=3.0)
    state.count(taken=True, loss=1.0, seconds=4.0)
    assert state.effective_s == 6.0


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_steps_that_a_kill_took_count_once(make_run, figures, monkeypatch):
    from collections import Counter

    run, request = make_run(train__steps=6, checkpoint__every=2)
    monkeypatch.setattr("hepfm.failpoints._passed", Counter())
    monkeypatch.setenv("HEPFM_FAILPOINT", "after-step:5:raise")
    with pytest.raises((TrainingError, RuntimeError)):
        train(request)
    kept = State.read(Path(run.json()["checkpoint"]) / "engine" / "state.json")
    assert kept.step == 4
    monkeypatch.delenv("HEPFM_FAILPOINT")
    train(request)
    content = run.json()
    counted = State.read(Path(content["checkpoint"]) / "engine" / "state.json").effective_s
    wall = sum(each["ended"] - each["started"] for each in content["attempts"])
    assert len(content["attempts"]) == 2
    assert kept.effective_s < counted < wall
    # Its last value is of the last checkpoint; the run went on for a moment after it.
    assert counted / wall <= content["effective_time"] < 1
    shares = figures(run, "time/effective")
    assert list(shares) == [1, 2, 3, 4, 5, 6]
    assert all(0 < share < 1 for share in shares.values())
