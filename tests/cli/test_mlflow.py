"""``hepfm mlflow``: opens the record, says what is wrong in a sentence, and sends what MLflow missed."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from hepfm.tracking.recorder import Recorder
from hepfm.tracking.runs import create_run
from hepfm.tracking.store import connect


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a run that MLflow has not heard of: its server was down."""
    out = tmp_path_factory.mktemp("runs")
    recorder = Recorder(create_run(out, "tiny", "name: tiny\n"), uri="http://127.0.0.1:9")
    recorder.metrics(1, {"train/loss": 0.5})
    assert "hepfm mlflow replay" in recorder.close("done")
    return out


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
    replay = command("replay", "tiny", "--out", runs)
    out, errors = replay.communicate()
    assert (replay.returncode, errors) == (0, "")
    assert re.fullmatch(rf"tiny-\w+: 5 entries sent to sqlite:///{runs}/mlflow.db\n", out)
    (found,) = connect(f"sqlite:///{runs / 'mlflow.db'}").search_runs(["1"])
    assert found.data.metrics == {"train/loss": 0.5}

    server = command("ui", "--out", runs, "--port", port)
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

    second = command("ui", "--out", runs, "--port", port)
    _, errors = second.communicate()
    assert second.returncode == 2
    assert f"port {port} is in use" in errors
    assert f"--port {port + 1}" in errors

    server.send_signal(signal.SIGINT)
    _, errors = server.communicate(timeout=60)
    assert server.returncode == 0
    assert errors.endswith("MLflow ended.\n")
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_folder_without_a_record_is_refused(command, tmp_path, port):
    ui = command("ui", "--out", tmp_path, "--port", port)
    _, errors = ui.communicate()
    assert ui.returncode == 2
    assert "no run has been recorded here yet" in errors


def test_a_server_elsewhere_is_named_without_its_password(command):
    ui = command("ui", MLFLOW_TRACKING_URI="https://me:secret@lab.example/mlflow")
    out, _ = ui.communicate()
    assert ui.returncode == 0
    assert "https://lab.example/mlflow" in out
    assert "secret" not in out


def test_a_replay_to_a_server_that_is_down_fails_in_a_sentence(command, runs):
    replay = command("replay", "tiny", "--out", runs, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    _, errors = replay.communicate()
    assert replay.returncode == 1
    assert "MLflow does not take the record" in errors
    assert "Traceback" not in errors
