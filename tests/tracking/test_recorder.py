"""The recorder against a real MLflow on SQLite: all of a run arrives, once, with its own times."""

from __future__ import annotations

import errno
import json
import math
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from hepfm.errors import RecipeError, Stopped
from hepfm.tracking.lines import read_metrics
from hepfm.tracking.recorder import Recorder, closed_at_last
from hepfm.tracking.runs import create_run
from hepfm.tracking.storage import in_words
from hepfm.tracking.store import connect
from hepfm.tracking.sync import sync
from hepfm.training.signals import stopped


def client_of(folder) -> MlflowClient:
    return connect(f"sqlite:///{folder / 'mlflow.db'}")


def test_a_run_arrives_whole(out, history):
    parent = create_run(out, "tiny", "")
    parent.update(run_id="0" * 32)
    run = create_run(out, "tiny", "name: tiny\n", parent=parent.name)
    recorder = Recorder(
        run,
        experiment="mine",
        params={"seed": 1, "text": "x" * 501},
        tags={"mine": "yes"},
        dataset={"name": "geant4", "digest": "d" * 64, "source": "/data/train"},
    )
    recorder.metrics(0, {"val/loss": torch.tensor(2.5), "lr": np.float32(0.5)})
    recorder.metrics(1, {"val/loss": float("nan"), "lr": math.inf})
    display = run.path / "displays" / "event.html"
    display.parent.mkdir()
    display.write_text("picture")
    recorder.artifact(display, "displays")
    assert recorder.close("done") == ""
    client = client_of(out)
    found = client.get_run(recorder.run_id)
    assert client.get_experiment(found.info.experiment_id).name == "mine"
    assert found.info.status == "FINISHED"
    assert found.info.run_name == run.name
    assert found.data.params["seed"] == "1"
    assert len(found.data.params["text"]) == 500
    assert found.data.params["text"].endswith("x [cut]")
    tags = found.data.tags
    assert (tags["mine"], tags["hepfm.data_digest"]) == ("yes", "d" * 64)
    assert (tags["mlflow.parentRunId"], tags["hepfm.parent"]) == ("0" * 32, parent.name)
    dataset = found.inputs.dataset_inputs[0].dataset
    assert (dataset.name, dataset.digest) == ("geant4", "d" * 36)
    assert "/data/train" in dataset.source
    lines = list(read_metrics(run.metrics_path))
    assert [step for step, _, _ in lines] == [0, 1]
    times = [int(1000 * seconds) for _, seconds, _ in lines]
    (_, first, loss), (_, second, nan) = history(client, recorder.run_id, "val/loss")
    assert [first, second] == times
    assert loss == 2.5
    assert math.isnan(nan)
    assert history(client, recorder.run_id, "lr")[1][2] > 1e300
    artifacts = out / "mlartifacts" / recorder.run_id / "artifacts"
    assert (artifacts / "recipe.yaml").read_text() == "name: tiny\n"
    assert (artifacts / "displays" / "event.html").read_text() == "picture"
    versions = json.loads((artifacts / "versions.json").read_text())
    assert versions["packages"]["torch"] == torch.__version__
    assert "image3d" in versions["plugins"]
    content = run.json()
    assert (content["run_id"], content["tracking_pending"]) == (recorder.run_id, 0)


def test_a_resumed_run_is_one_run_without_doubles(out, history):
    run = create_run(out, "tiny", "")
    first = Recorder(run)
    for step in range(1, 16):
        first.metrics(step, {"train/loss": step})
    first.close("stopped")
    told_first = history(client_of(out), first.run_id, "train/loss")
    second = Recorder(run, resume_step=10)
    for step in range(11, 21):
        second.metrics(step, {"train/loss": step})
        if step >= 14:
            second.metrics(step, {"val/loss": step})  # new from here on, told at once
    assert second.close("done") == ""
    assert second.run_id == first.run_id
    assert [step for step, _, m in read_metrics(run.metrics_path) if "train/loss" in m] == list(range(1, 21))
    superseded = [step for step, _, _ in read_metrics(run.spool / "superseded.jsonl")]
    assert superseded == list(range(11, 16))
    client = client_of(out)
    told = history(client, first.run_id, "train/loss")
    assert [step for step, _, _ in told] == list(range(1, 21))
    assert told[:15] == told_first
    assert [step for step, _, _ in history(client, first.run_id, "val/loss")] == list(range(14, 21))
    found = client.get_run(first.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.tags["hepfm.resumed_from_step"] == "10"
    assert len(client.search_runs([found.info.experiment_id])) == 1


def test_a_run_resumed_with_another_recipe_tells_the_new_values_too(out, history):
    run = create_run(out, "tiny", "")
    first = Recorder(run, tags={"hepfm.recipe_hash": "one"})
    for step in range(1, 6):
        first.metrics(step, {"train/loss": step})
    first.close("stopped")
    second = Recorder(run, tags={"hepfm.recipe_hash": "two"}, resume_step=2)
    for step in range(3, 8):
        second.metrics(step, {"train/loss": 10 * step})
    assert second.close("done") == ""
    client = client_of(out)
    told = [(step, value) for step, _, value in history(client, first.run_id, "train/loss")]
    assert told == [(1, 1), (2, 2), *[(s, v * s) for s in (3, 4, 5) for v in (1, 10)], (6, 60), (7, 70)]
    found = client.get_run(first.run_id)
    assert found.data.tags["hepfm.recipe_hash"] == "two"
    assert found.data.metrics["train/loss"] == 70
    third = Recorder(run, tags={"hepfm.recipe_hash": "two"}, resume_step=5)
    third.metrics(6, {"train/loss": 60})
    assert third.close("done") == ""
    assert len(history(client, first.run_id, "train/loss")) == len(told), "the same again"


def test_a_run_killed_before_its_first_checkpoint_starts_over(out, history):
    run = create_run(out, "tiny", "")
    code = (
        "import os, signal, sys, time\nfrom pathlib import Path\n"
        "from hepfm.tracking.recorder import Recorder\nfrom hepfm.tracking.runs import RunDir\n"
        "recorder = Recorder(RunDir(Path(sys.argv[1])))\n"
        "for step in range(1, 6): recorder.metrics(step, {'train/loss': step})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(run.path)], check=False)
    assert len(list(read_metrics(run.metrics_path))) == 5
    recorder = Recorder(run)
    for step in range(1, 8):
        recorder.metrics(step, {"train/loss": step})
    assert recorder.close("failed") == ""
    assert [step for step, _, _ in read_metrics(run.metrics_path)] == list(range(1, 8))
    client = client_of(out)
    assert [step for step, _, _ in history(client, recorder.run_id, "train/loss")] == list(range(1, 8))
    assert client.get_run(recorder.run_id).info.status == "FAILED"


def test_a_store_that_does_not_know_the_run_gets_all_of_it(out, tmp_path, history, empty_store):
    run = create_run(out, "tiny", "name: tiny\n")
    recorder = Recorder(run)
    recorder.metrics(1, {"a": 1.0})
    assert recorder.close("done") == ""
    here, elsewhere = recorder.run_id, tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(empty_store, elsewhere / "mlflow.db")
    uri = f"sqlite:///{elsewhere / 'mlflow.db'}"
    assert sync(run, uri) > 0
    assert sync(run, uri) == 0
    (copy,) = client_of(elsewhere).search_runs(["1"])
    assert copy.info.run_id == run.json()["run_id"] != here
    assert copy.info.status == "FINISHED"
    assert history(client_of(elsewhere), copy.info.run_id, "a") == history(client_of(out), here, "a")
    assert (elsewhere / "mlartifacts" / copy.info.run_id / "artifacts" / "recipe.yaml").is_file()
    # Back to the first store: found by its tag, and nothing is doubled.
    sync(run, recorder.uri)
    assert run.json()["run_id"] == here
    assert len(history(client_of(out), here, "a")) == 1


def test_two_runs_may_make_the_store_at_once(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom hepfm.tracking.recorder import Recorder\n"
        "from hepfm.tracking.runs import create_run\n"
        "recorder = Recorder(create_run(Path(sys.argv[1]), 'tiny', ''), close_timeout=60)\n"
        "recorder.metrics(1, {'a': 1.0})\nprint(recorder.close('done'))"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    assert [run.communicate() for run in runs] == [(b"\n", b"")] * 2
    client = client_of(tmp_path)
    experiment = client.get_experiment_by_name("hepfm")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert len(client.search_runs([experiment.experiment_id])) == 2


def test_the_machine_is_measured(out, history, monkeypatch):
    monkeypatch.setattr("hepfm.tracking.system._INTERVAL_S", 0.0)
    recorder = Recorder(create_run(out, "tiny", ""))
    assert recorder.close("done") == ""
    ((step, _, percent),) = history(client_of(out), recorder.run_id, "system/system_memory_usage_percentage")
    assert step == 0
    assert 0 < percent < 100


def test_an_entry_that_mlflow_refuses_does_not_hold_up_the_others(out, history, caplog):
    run = create_run(out, "tiny", "")
    recorder = Recorder(run)
    recorder.metrics(1, {"a": 1.0})
    recorder._append("metrics", step=2, metrics={"what?": 1.0, "a": 1.0})
    recorder.metrics(3, {"a": 1.0})
    assert recorder.close("done") == ""
    assert "MLflow refuses" in caplog.text
    assert [step for step, _, _ in history(client_of(out), recorder.run_id, "a")] == [1, 3]


def test_a_metric_needs_a_name_that_mlflow_takes(out):
    recorder = Recorder(create_run(out, "tiny", ""))
    with pytest.raises(ValueError, match="cannot name a metric"):
        recorder.metrics(1, {"a?": 1.0})
    recorder.close("done")


def test_importing_tracking_does_not_import_mlflow():
    code = "import sys, hepfm.tracking, hepfm.tracking.runs, hepfm.tracking.recorder; print('mlflow' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code]) == b"False\n"


def test_a_run_whose_recorder_was_killed_is_ended_by_who_launched_it(out):
    run = create_run(out, "tiny", "")
    run.update(status="running")
    killed = f"""
import os, time
from hepfm.tracking.recorder import Recorder
from hepfm.tracking.runs import RunDir
from pathlib import Path
recorder = Recorder(RunDir(Path({str(run.path)!r})))
recorder.metrics(1, {{"lr": 0.5}})
while recorder.run_id is None:
    time.sleep(0.05)
os._exit(9)
"""

    def launch():
        with closed_at_last(run):
            subprocess.run([sys.executable, "-c", killed], check=True)

    with run.lock(), pytest.raises(subprocess.CalledProcessError):
        launch()
    assert run.json()["status"] == "running", "somebody else trains it"

    with pytest.raises(subprocess.CalledProcessError):
        launch()
    assert run.json()["status"] == "failed"
    assert "exit status 9" in run.json()["reason"]
    assert run.json()["tracking_pending"] == 0
    found = client_of(out).get_run(run.json()["run_id"])
    assert (found.info.status, found.data.metrics["lr"]) == ("FAILED", 0.5)


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecipeError, match="cannot be made: Not a directory") as refused:
        create_run(tmp_path / "file", "tiny", "")
    assert "--runs" in refused.value.fix


@pytest.mark.parametrize(
    "before", [{"status": "created"}, {"status": "failed", "reason": "Lost rank 1."}, {"status": "running"}]
)
def test_a_stop_while_no_worker_lives_is_recorded_as_one(out, before):
    run = create_run(out, "tiny", "")
    run.update(**before)
    with pytest.raises(Stopped), closed_at_last(run):
        raise stopped("SIGTERM", run)
    assert (run.json()["status"], run.json()["reason"]) == ("stopped", "SIGTERM")


def test_an_error_is_not_hidden_by_storage_that_does_not_take_its_record(out, monkeypatch):
    run = create_run(out, "tiny", "")
    monkeypatch.setattr("hepfm.tracking.recorder.Spool", Path.rmdir)  # OSError: the folder is not empty
    (run.spool / "file").touch()
    with pytest.raises(ZeroDivisionError), closed_at_last(run):
        raise ZeroDivisionError
    assert run.json()["status"] == "failed"


def test_a_moment_without_room_costs_no_line(out, monkeypatch):
    monkeypatch.setattr("hepfm.tracking.storage.WAITS_S", (0.5, 0.5, 0.5))
    run = create_run(out, "tiny", "")
    recorder = Recorder(run, uri="http://127.0.0.1:9", close_timeout=1)
    recorder.metrics(1, {"lr": 1.0})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def make_room():
        time.sleep(0.7)
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    thread = threading.Thread(target=make_room)
    resource.setrlimit(resource.RLIMIT_FSIZE, (run.metrics_path.stat().st_size + 9, before[1]))
    thread.start()
    try:
        recorder.metrics(2, {"lr": 2.0})
    finally:
        thread.join()
        signal.signal(signal.SIGXFSZ, handler)
    recorder.close("done")
    lines = run.metrics_path.read_text().splitlines()
    assert [line["metrics"] for line in map(json.loads, lines)] == [
        {"lr": 1.0},
        {"lr": 2.0},
    ]
    told = [json.loads(line) for line in (run.spool / "outbox.jsonl").read_text().split("\n") if line]
    assert [entry["step"] for entry in told if "lr" in entry.get("metrics", ())] == [1, 2]


def test_storage_that_fails_is_not_said_to_be_written_to(tmp_path):
    full = in_words(OSError(errno.ENOSPC, "No space left on device"), tmp_path)
    assert "record cannot be written: No space left" in str(full)
    assert str(in_words(OSError(errno.EIO, "Input/output error"), tmp_path)).startswith(
        "Storage fails: Input"
    )
