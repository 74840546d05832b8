"""What Ray Train's exceptions mean: an error that comes again, or a loss that another attempt survives."""

from __future__ import annotations

import pickle

import pytest

from hepfm.errors import DataError, TrainingError
from hepfm.tracking.runs import create_run
from hepfm.training.ray_failures import LostError, NotStartedError, judge

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

GLOO = RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:6563.")
BAD = DataError("the file is bad", where="a.h5")


def killed():
    from ray.exceptions import ActorDiedError

    return ActorDiedError()


@pytest.fixture
def run(tmp_path):
    return create_run(tmp_path, "small", "")


@pytest.fixture
def judged(run):
    def judged(failures):
        from ray.train import WorkerGroupError

        error = pickle.loads(pickle.dumps(WorkerGroupError("", failures)))
        with pytest.raises((LostError, DataError, TrainingError)) as raised:
            judge(error, run)
        return raised.value

    return judged


def test_a_worker_that_was_killed_is_lost_whatever_the_others_raise(judged):
    follows = TrainingError(f"Rank 0: RuntimeError: {GLOO}")
    for others in ({}, {0: GLOO}, {0: follows, 2: GLOO}):
        lost = judged({**others, 1: killed()})
        assert isinstance(lost, LostError)
        assert str(lost) == "Lost rank 1."


def test_a_connection_that_broke_is_a_loss_also_before_ray_knows_of_it(judged):
    assert isinstance(judged({0: GLOO}), LostError)
    assert isinstance(judged({0: TrainingError(f"Rank 0: RuntimeError: {GLOO}"), 2: GLOO}), LostError)


def test_an_error_of_ours_is_raised_as_itself_whatever_follows_from_it(judged):
    for failures in ({0: BAD}, {0: GLOO, 1: BAD}, {0: BAD, 1: GLOO}):
        assert str(judged(failures)) == str(BAD)


def test_workers_that_gave_up_waiting_for_one_are_no_loss(run, judged):
    reason = "Rank 1 of 2 did not come to an exchange within 30 min."
    run.update(status="failed", reason=reason)
    assert str(judged({0: killed()})) == reason
    assert run.json()["status"] == "running", "whoever closes the record finds it open"


def test_another_error_names_rank_and_log(judged):
    error = judged({1: TypeError("a plugin's mistake")})
    assert isinstance(error, TrainingError)
    assert "rank 1: a plugin's mistake" in error.what
    assert "log.txt" in error.where


def test_errors_of_rays_controller_are_sentences(run):
    from ray.train import ControllerError
    from ray.train.v2._internal.exceptions import (
        WorkerGroupStartupFailedError,
        WorkerGroupStartupTimeoutError,
    )

    with pytest.raises(TrainingError, match="Ray Train failed: OSError: no space"):
        judge(ControllerError(OSError("no space\nmore")), run)
    with pytest.raises(LostError, match="did not start the workers"):
        judge(ControllerError(WorkerGroupStartupFailedError("its node died")), run)
    with pytest.raises(NotStartedError, match="no room"):
        judge(ControllerError(WorkerGroupStartupTimeoutError(2)), run)
    with pytest.raises(LostError, match="controller"):
        judge(killed(), run)
