"""SIGTERM, SIGUSR1 and Ctrl-C: a checkpoint at the next step, exit code 75, and the same MLflow run goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from hepfm.errors import Stopped
from hepfm.training.signals import noted, noting
from hepfm.training.worker import train

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings(
        "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
    ),
]
FIGURES = ("train/loss", "grad_norm", "lr", "val/loss", "val/loss_baseline")


@pytest.fixture(scope="module")
def golden():
    """Figures and weights of the run that nothing disturbs, made once."""
    return {}


@pytest.mark.parametrize(
    ("point", "name", "step"),
    [
        ("starting:1:SIGTERM", "SIGTERM", 1),
        ("after-step:1:SIGUSR1", "SIGUSR1", 2),
        ("after-step:2:SIGINT", "Ctrl-C", 3),
        ("validating:1:SIGTERM", "SIGTERM", 4),
        ("checkpoint-begun:1:SIGTERM", "SIGTERM", 4),
    ],
)
def test_it_stops_after_the_next_step_and_goes_on_bitwise(
    make_run, figures, fail_at, golden, point, name, step
):
    if not golden:
        run, request = make_run()
        train(request)
        golden.update({key: figures(run, key) for key in FIGURES})
        golden["weights"] = run.json()["weights_sha256"]
    run, request = make_run()
    heard = []
    fail_at(point)
    with noting(heard.append), pytest.raises(Stopped, match=name) as stopped:
        train(request)
    assert heard == [name]
    assert f"hepfm resume {run.name}" in stopped.value.fix
    then = run.json()
    assert (then["status"], then["reason"], then["steps"]) == ("stopped", name, step)
    assert Path(then["checkpoint"]).name == f"step-{step:08d}"
    assert "Traceback" not in run.log_path.read_text()
    fail_at()
    train(request)
    now = run.json()
    assert {key: figures(run, key) for key in FIGURES} == {key: golden[key] for key in FIGURES}
    assert now["weights_sha256"] == golden["weights"]
    assert (now["status"], now["reason"]) == ("done", None)
    assert now["run_id"] == then["run_id"]


def test_a_stop_asked_for_by_the_file_is_obeyed_once(make_run):
    run, request = make_run()
    run.ask_to_stop("job stop")
    with pytest.raises(Stopped, match="job stop"):
        train(request)
    assert (run.json()["status"], run.json()["reason"], run.json()["steps"]) == ("stopped", "job stop", 1)
    train(request)
    assert run.json()["status"] == "done"


def test_the_second_interrupt_is_raised_and_handlers_come_back():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)]
    heard = []
    with noting(heard.append):
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            os.kill(os.getpid(), number)
        assert noted() == "SIGTERM"
        assert heard == ["SIGTERM", "Ctrl-C"]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    assert noted() is None
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)] == before


def test_on_the_command_line_it_exits_with_75_and_resumes_in_the_same_mlflow_run(hepfm, losses, small):
    sets = (*small, "train.steps=4", "cluster.loader_workers=1")
    command = ("pretrain", "image3d/masked-tiny", "--in-process")
    done = hepfm(*command, sets=sets, HEPFM_FAILPOINT="after-step:1:SIGINT")
    assert done.returncode == 75, done.stderr
    assert "Stopping after the next step, with a checkpoint; Ctrl-C again ends at once." in done.stderr
    assert "Traceback" not in done.stderr
    (run,) = hepfm.runs
    assert f"hepfm resume {run.name}" in done.stderr
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000002"]
    result = hepfm.result(hepfm("resume", run.name, "--in-process", "--json"))
    assert list(losses(run)) == [1, 2, 3, 4]
    (only,) = MlflowClient(f"sqlite:///{hepfm.folder / 'runs' / 'mlflow.db'}").search_runs(["1"])
    assert (only.info.run_id, only.info.status) == (result["run_id"], "FINISHED")


def test_ctrl_c_twice_ends_at_once(hepfm, small):
    points = "after-step:2:SIGINT,after-step:3:hang"
    process = hepfm.start(
        "pretrain",
        "image3d/masked-tiny",
        "--in-process",
        sets=(*small, "train.steps=9"),
        HEPFM_FAILPOINT=points,
    )
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "Ctrl-C again" in line:
            break
    time.sleep(2)  # it hangs in the step after which it would stop
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert time.monotonic() - began < 30
    assert "Stopped; no checkpoint was saved yet" in rest
    assert "Traceback" not in "".join(lines) + rest


def test_under_torchrun_a_signal_to_one_rank_stops_all(hepfm, small):
    flags = [flag for value in (*small, "train.steps=50") for flag in ("--set", value)]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    done = subprocess.run(
        [*torchrun, "hepfm", "pretrain", "image3d/masked-tiny", *flags],
        cwd=hepfm.folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HEPFM_FAILPOINT": "after-step@1:2:SIGTERM"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode != 0
    assert done.stderr.count("exitcode  : 75") == 2, done.stderr
    content = json.loads((hepfm.runs[0] / "run.json").read_text())
    assert (content["status"], content["reason"], content["steps"]) == ("stopped", "SIGTERM", 3)
    assert Path(content["checkpoint"]).name == "step-00000003"


@pytest.mark.ray
def test_through_ray_the_driver_hears_it_and_the_workers_stop(hepfm, small, losses):
    sets = (*small, "train.steps=2000", "checkpoint.every=1000", "train.validate_every=1000")
    process = hepfm.start("pretrain", "image3d/masked-tiny", "--workers", "2", sets=sets)
    end = time.monotonic() + 300
    while not (hepfm.runs and (hepfm.runs[0] / "metrics.jsonl").exists() and losses(hepfm.runs[0])):
        assert time.monotonic() < end
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 75, said
    assert "SIGTERM: stopping after the next step, with a checkpoint." in said
    content = json.loads((hepfm.runs[0] / "run.json").read_text())
    assert (content["status"], content["reason"]) == ("stopped", "SIGTERM")
    assert content["steps"] == max(losses(hepfm.runs[0])) < 1000
    assert Path(content["checkpoint"]).name == f"step-{content['steps']:08d}"
