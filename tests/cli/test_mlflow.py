"""``hepfm mlflow``: opens the record, says what is wrong in a sentence, and sends what MLflow missed."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from hepfm.tracking.recorder import Recorder
from hepfm.tracking.runs import RunDir, create_run
from hepfm.tracking.store import connect
from hepfm.tracking.sync import sync


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a run that MLflow has not heard of."""
    out = tmp_path_factory.mktemp("runs")
    recorded(out, "tiny")
    return out


def recorded(out, name):
    """A run whose server was down."""
    run = create_run(out, name, f"name: {name}\n")
    recorder = Recorder(run, uri="http://127.0.0.1:9")
    recorder.metrics(1, {"train/loss": 0.5})
    assert f"hepfm mlflow sync {run.path}" in recorder.close("done")
    return run


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def command():
    """Starts ``hepfm mlflow`` with arguments and an environment; ends what a failed test leaves running."""
    started = []

    def command(*arguments: object, **environment: str) -> subprocess.Popen[str]:
        kept = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
        process = subprocess.Popen(
            [sys.executable, "-m", "hepfm", "mlflow", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=kept | environment,
        )
        started.append(process)
        return process

    yield command
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.communicate()


def test_what_mlflow_missed_is_sent_and_its_pages_open(command, runs, port):
    here = f"sqlite:///{runs}/mlflow.db"
    done = command("sync", "tiny", "--runs", runs, MLFLOW_TRACKING_URI=here)
    out, errors = done.communicate()
    assert (done.returncode, errors) == (0, "")
    assert re.fullmatch(rf"tiny-\w+  5 entries sent to {here}\n", out)
    (found,) = connect(f"sqlite:///{runs / 'mlflow.db'}").search_runs(["1"])
    assert found.data.metrics == {"train/loss": 0.5}

    server = command("ui", "--runs", runs, "--port", port)
    line = server.stdout.readline()
    address = re.search(rf"http://127\.0\.0\.1:{port}", line)[0]
    with urllib.request.urlopen(
        f"{address}/ajax-api/2.0/mlflow/runs/get?run_id={found.info.run_id}"
    ) as answer:
        assert "train/loss" in answer.read().decode()
    strange = urllib.request.Request(
        f"{address}/ajax-api/2.0/mlflow/runs/get?run_id=x", headers={"Host": "elsewhere.org"}
    )
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        urllib.request.urlopen(strange)
    refused.value.close()

    second = command("ui", "--runs", runs, "--port", port)
    _, errors = second.communicate()
    assert second.returncode == 2
    assert f"port {port} is in use" in errors
    assert f"--port {port + 1}" in errors

    served = create_run(runs, "served", "name: served\n")
    Recorder(served, uri=address).close("done")
    server.send_signal(signal.SIGINT)
    _, errors = server.communicate(timeout=60)
    assert server.returncode == 0
    assert errors.endswith("MLflow ended.\n")
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0

    out, errors = command("sync", served.path).communicate()
    assert (out, errors) == (f"{served.name}  nothing to send\n", ""), "known without the server"
    asked = command("sync", served.path, "--to", address)
    out, _ = asked.communicate()
    assert (asked.returncode, f"failed: {address}" in out) == (1, True), "another store may lack all of it"
    Recorder(served, uri=address, resume_step=0).close("done")
    more = command("sync", served.path)
    assert more.communicate()[0].startswith(f"{served.name}  failed: "), "there is something to send"


def test_runs_may_be_moved_and_a_killed_ui_leaves_no_server(command, tmp_path, port):
    run = recorded(tmp_path / "here", "tiny")
    assert sync(run, f"sqlite:///{tmp_path}/here/mlflow.db") == 5
    (tmp_path / "here").rename(tmp_path / "there")
    ui = command("ui", "--runs", tmp_path / "there", "--port", port)
    assert f":{port}/" in ui.stdout.readline()
    run_id = RunDir(tmp_path / "there" / run.name).json()["run_id"]
    artifact = f"http://127.0.0.1:{port}/get-artifact?path=recipe.yaml&run_uuid={run_id}"
    with urllib.request.urlopen(artifact) as answer:
        assert answer.read() == b"name: tiny\n"
    ui.kill()
    ui.communicate()
    deadline = time.monotonic() + 60
    closed = False
    while not closed and time.monotonic() < deadline:
        with socket.socket() as probe:
            closed = probe.connect_ex(("127.0.0.1", port)) != 0
    assert closed


def test_a_folder_without_a_record_is_refused(command, tmp_path, port):
    ui = command("ui", "--runs", tmp_path, "--port", port)
    _, errors = ui.communicate()
    assert ui.returncode == 2
    assert "no run has been recorded here yet" in errors


def test_a_server_elsewhere_is_named_without_its_password(command):
    ui = command("ui", MLFLOW_TRACKING_URI="https://me:secret@lab.example/mlflow")
    out, _ = ui.communicate()
    assert ui.returncode == 0
    assert "https://lab.example/mlflow" in out
    assert "secret" not in out


def test_all_runs_of_a_folder_are_sent_but_those_in_training_and_a_bad_one_stops_no_other(command, tmp_path):
    offline, training, broken, sent = (recorded(tmp_path, name) for name in ("a", "b", "c", "d"))
    (broken.spool / "outbox.jsonl").write_text('{"kind": "metrics"}\n')
    here = f"sqlite:///{tmp_path}/mlflow.db"
    with training.lock():
        first = command("sync", tmp_path, "--to", here)
        out, errors = first.communicate()
    assert first.returncode == 1
    said = dict(line.split("  ", 1) for line in out.splitlines())
    assert said[offline.name] == said[sent.name] == f"5 entries sent to {here}"
    assert said[training.name] == "is being trained, and sends its record itself"
    assert said[broken.name].startswith("failed: ")
    assert "1 of 4 runs" in errors
    assert broken.name in errors
    found = connect(here).search_runs(["1"])
    assert {run.info.run_name for run in found} == {offline.name, sent.name}

    again = command("sync", offline.path, training.name, "--runs", tmp_path, "--to", here)
    out, errors = again.communicate()
    assert (again.returncode, errors) == (0, "")
    said = dict(line.split("  ", 1) for line in out.splitlines())
    assert said == {offline.name: "nothing to send", training.name: f"5 entries sent to {here}"}
    assert len(connect(here).get_metric_history(offline.json()["run_id"], "train/loss")) == 1


def test_runs_go_to_the_server_that_they_had_and_one_that_is_down_is_tried_once(command, tmp_path):
    for name in ("a", "b"):
        recorded(tmp_path, name)
    done = command("sync", "--runs", tmp_path)
    out, errors = done.communicate()
    assert done.returncode == 1
    first, second = out.splitlines()
    assert "failed: http://127.0.0.1:9: ConnectionRefusedError" in first
    assert "failed: http://127.0.0.1:9 was not tried again" in second
    assert "2 of 2 runs" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "mlflow.db").exists()


def test_a_folder_without_runs_is_refused(command, tmp_path):
    done = command("sync", tmp_path)
    _, errors = done.communicate()
    assert done.returncode == 2
    assert "no runs here" in errors
