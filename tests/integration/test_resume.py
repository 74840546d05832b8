"""A run that was killed and resumed equals the one that was never disturbed, to the last bit."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(1500)


def test_kill_and_resume(hepfm: Any, losses: Any, small: tuple[str, ...]) -> None:
    sets = ("train.steps=8", "train.ema_decay=0.9")
    golden = hepfm.pretrain("--in-process", sets=sets)
    killed = hepfm(
        "pretrain",
        "image3d/masked-tiny",
        "--in-process",
        sets=small + sets,
        HEPFM_FAILPOINT="after-step:7:kill",
    )
    assert killed.returncode == -signal.SIGKILL
    run = hepfm.runs[-1]
    assert max(losses(run)) == 7
    complete = {path.name for path in (run / "checkpoints").glob("step-*")}
    assert "step-00000003" in complete, "that of step 6 waits for it, and may not be complete itself"

    resumed = hepfm.result(hepfm("resume", run.name, "--in-process", "--json"))

    assert losses(run) == losses(golden["run_dir"])
    assert resumed["weights_sha256"] == golden["weights_sha256"]
    assert (resumed["val_loss"], resumed["steps"]) == (golden["val_loss"], 8)


def test_resume_refuses_another_recipe_and_fork_takes_it(hepfm: Any, losses: Any) -> None:
    parent = hepfm.pretrain("--in-process", sets=("train.steps=3", "train.learning_rate=2e-3"))
    name = Path(parent["run_dir"]).name

    refused = hepfm("resume", name, "--in-process", sets=("train.learning_rate=5e-4",))
    assert refused.returncode == 1
    assert "train.learning_rate" in refused.stderr
    assert "0.002" in refused.stderr
    assert "0.0005" in refused.stderr
    assert "hepfm fork" in refused.stderr
    assert "Traceback" not in refused.stderr

    child = hepfm.result(
        hepfm("fork", name, "--in-process", "--json", sets=("train.learning_rate=5e-4", "train.steps=5"))
    )
    assert child["parent"] == name
    assert child["steps"] == 5
    assert sorted(losses(child["run_dir"])) == [4, 5]
    assert json.loads((Path(parent["run_dir"]) / "run.json").read_text())["steps"] == 3

    missing = hepfm("fork", name, "--step", "2")
    assert missing.returncode == 1
    assert "it has step-00000003" in missing.stderr


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("launcher", [("--in-process",), ("--workers", "2")], ids=["in-process", "ray"])
def test_200_steps_equal_100_and_a_kill_and_the_rest(
    hepfm: Any, losses: Any, small: tuple[str, ...], launcher: tuple[str, ...], stage: int
) -> None:
    sets = (
        "train.steps=200",
        "train.validate_every=50",
        "checkpoint.every=25",
        f"deepspeed.zero_optimization.stage={stage}",
    )
    golden = hepfm.pretrain(*launcher, sets=sets)

    command = hepfm.start("pretrain", "image3d/masked-tiny", *launcher, sets=small + sets)
    _wait_until_step(hepfm, 110, runs=2)
    command.kill()
    command.communicate()
    run = hepfm.runs[-1]
    assert 100 < max(losses(run)) < 200

    resumed = hepfm.result(hepfm("resume", run.name, "--json"))  # the recipe remembers launcher and workers

    assert sorted(losses(run)) == list(range(1, 201))
    assert losses(run) == losses(golden["run_dir"])
    assert resumed["weights_sha256"] == golden["weights_sha256"]


def _wait_until_step(hepfm: Any, step: int, *, runs: int) -> None:
    end = time.monotonic() + 400
    while time.monotonic() < end:
        if len(hepfm.runs) == runs:
            metrics = hepfm.runs[-1] / "metrics.jsonl"
            lines = metrics.read_bytes().splitlines(keepends=True) if metrics.exists() else []
            whole = [line for line in lines if line.endswith(b"\n")]
            if whole and json.loads(whole[-1])["step"] >= step:
                return
        time.sleep(0.05)
    raise AssertionError(f"the run did not come to step {step}")


def test_a_fork_killed_before_its_first_checkpoint_goes_on_from_its_parents(hepfm: Any, losses: Any) -> None:
    parent = hepfm.pretrain("--in-process", sets=("train.steps=2",))
    name = Path(parent["run_dir"]).name
    golden = hepfm.result(hepfm("fork", name, "--in-process", "--json", sets=("train.steps=4",)))
    killed = hepfm("fork", name, "--in-process", sets=("train.steps=4",), HEPFM_FAILPOINT="after-step:1:kill")
    assert killed.returncode == -signal.SIGKILL
    (run,) = (run for run in hepfm.runs if run.name not in {name, Path(golden["run_dir"]).name})
    assert not list((run / "checkpoints").iterdir())

    resumed = hepfm.result(hepfm("resume", run.name, "--in-process", "--json"))

    assert losses(run) == losses(golden["run_dir"])
    assert resumed["weights_sha256"] == golden["weights_sha256"]
