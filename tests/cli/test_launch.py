"""The closing words of a run."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
from dataclasses import asdict

import pytest
from typer.testing import CliRunner

from hepfm.cli.launch import report
from hepfm.cli.main import app
from hepfm.errors import RecipeError
from hepfm.jobs import processes
from hepfm.recipe.load import load_recipe
from hepfm.tracking.lines import encode
from hepfm.tracking.runs import RunDir, create_run


def said(run) -> dict[str, str]:
    out = io.StringIO()
    report(run, out, as_json=False)
    return {line[:18].strip(): line[18:] for line in out.getvalue().splitlines()}


def serve(out, *, started):
    """The note of an MLflow that this process leads."""
    pid = os.getpid()
    leader = asdict(processes.Leader(pid, started, "mark"))
    service = {"name": "MLflow", "url": "http://127.0.0.1:5001", "address": "", "log": "", "folder": ""}
    content = {"machine": processes.machine(), "services": [service | {"leader": leader}], "elsewhere": ""}
    note = out / "services.json"
    note.write_text(json.dumps(content))
    note.chmod(0o600)


def test_the_record_is_where_it_is_served_or_where_it_can_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = create_run(tmp_path / "runs", "mine", "name: mine\n")
    run.update(status="done", steps=4)
    assert said(run)["MLflow"] == "hepfm mlflow ui --runs runs"
    here = processes._start_ticks(os.getpid())
    serve(tmp_path / "runs", started=here)
    assert said(run)["MLflow"] == "http://127.0.0.1:5001/#/experiments?workflowType=machine_learning"
    serve(tmp_path / "runs", started=here - 1)  # it has ended: the pid is another's
    assert said(run)["MLflow"] == "hepfm mlflow ui --runs runs"


def test_a_run_that_was_stopped_before_its_first_step_has_no_figures_to_show(tmp_path):
    run = create_run(tmp_path, "mine", "name: mine\n")
    run.update(status="stopped")
    about = said(run)
    assert list(about) == ["Run", "Status", "MLflow", "Go on"]
    assert about["Status"] == "stopped"
    run.update(steps=4, train_loss=0.5, val_loss="NaN")
    about = said(run)
    assert (about["Status"], about["Training loss"], about["Validation loss"]) == (
        "stopped after 4 steps",
        "0.5000",
        "nan",
    )


@pytest.mark.ray
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--workers", "50"), "For 50 workers of 1 CPU it takes 50 CPUs; this machine has "),
        (("--address", "127.0.0.1:9"), "No Ray cluster answers at '127.0.0.1:9': nothing listens there."),
        (("--address", "http://127.0.0.1:8265"), "hepfm submit --address http://127.0.0.1:8265"),
        (("--workers", "0"), "--workers 0 is no number of workers."),
        (("--in-process", "--name", "my run"), "wanted: a letter or digit, then letters"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_made(tmp_path, options, said):
    command = [sys.executable, "-m", "hepfm", "pretrain", "image3d/masked-tiny", *options]
    refused = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=200)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("Error: ")
    assert said in refused.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        "pretrain image3d/masked-tiny --runs",
        "compare one two --out",  # the former name
        "display one --runs",
    ],
)
def test_a_url_for_runs_is_refused_before_anything_is_made(tmp_path, command):
    where = [sys.executable, "-m", "hepfm", *command.split(), "s3://bucket/runs"]
    done = subprocess.run(where, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Runs are stored in a folder, not at a URL." in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["fork", "resume"])
def test_what_goes_on_from_a_checkpoint_is_not_told_to_begin_with_other_weights(tmp_path, command):
    run = create_run(tmp_path, "mine", load_recipe("image3d/masked-tiny").yaml())
    done = CliRunner().invoke(
        app, [command, run.name, "--runs", str(tmp_path), "--set", "model.weights=elsewhere"]
    )
    assert isinstance(done.exception, RecipeError)
    assert "has the weights of that" in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == [run.name], "no child was made"


def test_a_run_with_a_head_ends_with_its_figures_and_how_to_evaluate_it(tmp_path, monkeypatch):
    run = create_run(tmp_path, "mine", "objective: {name: task, head: {name: semantic}}\n")
    run.update(status="done", steps=8, checkpoint=str(run.checkpoints / "step-00000008"))
    assert "Validation" not in said(run)
    lines = (
        (4, {"train/loss": 0.5, "train/class": 0.5}),
        (4, {"val/loss": 0.4, "val/class": 0.4, "val/accuracy": 0.8, "val/macro_f1": 0.6}),
        (6, {"val/loss": 0.3, "val/class": 0.3, "val/accuracy": 0.9, "val/macro_f1": 0.75,
             "val/recall/track": 0.9, "val/auc": math.nan}),
        (8, {"train/loss": 0.2, "train/class": 0.2}),
    )  # fmt: skip
    run.metrics_path.write_bytes(
        b"".join(encode({"step": step, "time": 1.0, "metrics": metrics}) for step, metrics in lines)
    )
    about = said(run)
    assert about["Validation"] == "accuracy 0.9000, macro_f1 0.7500 (step 6)"
    assert about["Evaluate"] == f"hepfm evaluate {run.path.name} --runs {tmp_path} --data PATH"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    there = RunDir(run.path.rename(tmp_path / "runs" / run.path.name))
    assert said(there)["Evaluate"] == f"hepfm evaluate {there.path.name} --data PATH"
    plain = create_run(tmp_path, "plain", "objective: {name: masked}\n")
    plain.update(status="done", steps=8, checkpoint="step-00000008")
    assert "Evaluate" not in said(plain)


_FIRST_WORDS = """
import sys
from hepfm.cli import main, opened

def doing(words):
    print(words, "torch" in sys.modules or "sklearn" in sys.modules)
    raise SystemExit

opened.doing = doing
for command in ("evaluate", "predict", "embed", "anomaly", "probe", "fewshot"):
    more = ["--task", "semantic"] if command in ("probe", "fewshot") else ["--data", "sample:val"]
    more += ["--out", "there"] if command in ("predict", "embed", "anomaly") else []
    try:
        main.app([command, "mine", *more])
    except SystemExit:
        pass
"""


def test_what_takes_long_says_so_before_it_imports_what_takes_seconds(tmp_path):
    run = create_run(tmp_path / "runs", "mine", "name: mine\n")
    command = [sys.executable, "-c", _FIRST_WORDS]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        *[f"Reading the model of {run.path.name} False"] * 4,
        "Probing mine False",
        "Drawing few-shot curves of mine False",
    ]
