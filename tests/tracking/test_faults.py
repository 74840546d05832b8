"""A store that is down, hangs, fails, is slow or loses its answers: nothing is lost, doubled or late to end.

Before a real MLflow server stands a proxy that does to requests what networks and servers do.
"""

from __future__ import annotations

import http.server
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from typing import Self

import pytest

from hepfm.tracking.lines import read_metrics
from hepfm.tracking.recorder import Recorder
from hepfm.tracking.runs import create_run
from hepfm.tracking.server import mlflow_server
from hepfm.tracking.store import connect
from hepfm.tracking.sync import sync

STEPS = 120
TROUBLE = ("down", "hang", "fail")


@pytest.fixture(autouse=True)
def _short_times(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setattr("hepfm.tracking.recorder._INTERVAL_S", 0.05)
    monkeypatch.setattr("hepfm.tracking.recorder._LONGEST_INTERVAL_S", 0.1)
    monkeypatch.setattr("hepfm.tracking.recorder._PATIENCE_S", 3.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory, empty_store):
    store = shutil.copy(empty_store, tmp_path_factory.mktemp("server") / "mlflow.db")
    with mlflow_server(f"sqlite:///{store}", host="127.0.0.1", port=free_port()) as (address, _):
        yield address


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, between: Between) -> None:
        super().__init__(("127.0.0.1", between.port), Handler)
        self.between = between
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


class Between:
    """Stands between the client and a store; `set` says what it does with requests from then on.

    ``pass`` them on; ``down``: refuse connections; ``fail`` with 500; ``half``: 500 to every other one; ``hang``;
    ``slow``; or ``forget``: pass on those that create a run or log a batch, and answer 500 all the same.
    """

    def __init__(self, behind: str) -> None:
        self.behind, self.port = behind, free_port()
        self.mood, self.calls, self.in_trouble = "down", 0, 0
        self.forgotten: list[str] = []
        self.released = threading.Event()
        self.listener: Listener | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def set(self, mood: str) -> None:
        self.mood, self.in_trouble = mood, 0
        if mood == "down" and self.listener:
            self.listener.shutdown()
            self.listener.server_close()
            self.listener = None
        elif mood != "down" and not self.listener:
            self.listener = Listener(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.set("down")
        self.released.set()


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self) -> None:
        between, mood = self.server.between, self.server.between.mood
        between.calls += 1
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, content = 500, b"{}"
        if mood == "hang":
            between.in_trouble += 1
            between.released.wait()
            return
        if mood == "slow":
            time.sleep(0.6)
        if mood in {"pass", "forget", "slow"} or (mood == "half" and between.calls % 2):
            status, content = self.passed_on(body)
        if mood == "forget" and self.path.endswith(("/runs/create", "/runs/log-batch")):
            status, content = 500, b"{}"
            between.forgotten.append(self.path.rsplit("/", 1)[1])
        between.in_trouble += status == 500
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Retry-After", "3600")
        self.end_headers()
        self.wfile.write(content)

    def passed_on(self, body: bytes) -> tuple[int, bytes]:
        headers = {k: v for k, v in self.headers.items() if k.lower() in {"content-type", "user-agent"}}
        passed = urllib.request.Request(
            self.server.between.behind + self.path, data=body or None, headers=headers, method=self.command
        )
        try:
            with urllib.request.urlopen(passed, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    do_GET = do_POST = do_PUT = do_PATCH = answer  # noqa: N815  http.server looks for these names

    def log_message(self, *_: object) -> None:
        pass


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def take_effect(store: Between, recorder: Recorder) -> None:
    """Waits until the recorder has met the store's mood."""
    if store.mood == "pass":
        wait_for(lambda: recorder.run_id and not recorder._spool.pending)
    elif store.mood == "down":
        recorder._error = None
        wait_for(lambda: recorder._error)
    else:
        wait_for(lambda: store.in_trouble)


def record(store: Between, run, moods) -> tuple[Recorder, str, float]:
    """A run whose store is in each mood for an equal share of its steps; what `close` says, and its seconds."""
    store.set(moods[0])
    recorder = Recorder(run, uri=store.uri, params={"seed": 1}, close_timeout=30)
    share = STEPS // len(moods)
    for i, mood in enumerate(moods):
        store.set(mood)
        for step in range(i * share, (i + 1) * share):
            recorder.metrics(step, {"train/loss": step / 7})
            if step in {i * share, (i + 1) * share - 1 if mood == "pass" else None}:
                take_effect(store, recorder)
    begun = time.monotonic()
    return recorder, recorder.close("done"), time.monotonic() - begun


def check_exact(run, uri, history) -> None:
    """MLflow has one run, with each step once, at the time of its line in ``metrics.jsonl``."""
    client = connect(uri)
    experiment = client.get_experiment_by_name("hepfm").experiment_id
    (found,) = client.search_runs([experiment], f"tags.`hepfm.run` = '{run.name}'")
    assert found.info.run_id == run.json()["run_id"]
    written = [(step, int(1000 * at), m["train/loss"]) for step, at, m in read_metrics(run.metrics_path)]
    assert written == [(step, at, step / 7) for step, at, _ in written]
    assert [step for step, _, _ in written] == list(range(STEPS))
    assert history(client, found.info.run_id, "train/loss") == written
    assert found.info.status == "FINISHED"
    assert found.data.params == {"seed": "1"}
    folder = run.path.parent / "mlartifacts" / found.info.run_id / "artifacts"
    artifacts = (
        [file.path for file in client.list_artifacts(found.info.run_id)]
        if uri.startswith("http")
        else sorted(file.name for file in folder.iterdir())
    )
    assert artifacts == ["recipe.yaml", "versions.json"]


@pytest.mark.parametrize("trouble", TROUBLE)
@pytest.mark.parametrize("when", ["start", "middle"])
def test_trouble_that_ends_before_the_run_leaves_no_trace(out, server, history, trouble, when):
    run = create_run(out, "tiny", "name: tiny\n")
    with Between(server) as store:
        moods = [trouble, "pass"] if when == "start" else ["pass", trouble, "pass"]
        _, message, _ = record(store, run, moods)
        assert message == ""
        assert run.json()["tracking_pending"] == 0
    check_exact(run, server, history)


@pytest.mark.parametrize("trouble", TROUBLE)
@pytest.mark.parametrize("when", ["end", "always"])
def test_trouble_at_the_end_holds_nobody_up_and_the_rest_is_sent_later(out, server, history, trouble, when):
    run = create_run(out, "tiny", "name: tiny\n")
    with Between(server) as store:
        recorder, message, seconds = record(store, run, [trouble] if when == "always" else ["pass", trouble])
    assert seconds < 6
    assert f"hepfm mlflow sync {run.path}" in message
    pending = run.json()["tracking_pending"]
    assert pending == STEPS + 4 if when == "always" else 1 < pending < STEPS  # start, two artifacts, end
    assert (recorder.run_id is None) == (when == "always")
    wait_for(lambda: not recorder._thread.is_alive())
    assert sync(run, server) == pending
    assert sync(run, server) == 0
    assert run.json()["tracking_pending"] == 0
    check_exact(run, server, history)


def test_a_request_that_never_ends_is_not_waited_for(out, server, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "600")
    run = create_run(out, "tiny", "name: tiny\n")
    with Between(server) as store:
        recorder, message, seconds = record(store, run, ["hang"])
    assert seconds < 10
    assert "it answers too slowly" in message
    wait_for(lambda: not recorder._thread.is_alive())


@pytest.mark.parametrize("mood", ["half", "slow"])
def test_a_store_that_works_badly_all_the_time_has_each_step_once(
    out, server, history, mood, capfd, monkeypatch
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    run = create_run(out, "tiny", "name: tiny\n")
    with Between(server) as store:
        store.set(mood)
        recorder = Recorder(run, uri=store.uri, params={"seed": 1}, close_timeout=60)
        for step in range(STEPS):
            recorder.metrics(step, {"train/loss": step / 7})
            time.sleep(0.01)
        assert recorder.close("done") == ""
    assert capfd.readouterr() == ("", "")
    check_exact(run, server, history)


def test_answers_that_are_lost_double_nothing(out, server, history, capfd):
    run = create_run(out, "tiny", "name: tiny\n")
    with Between(server) as store:
        moods = ["forget", "pass", "fail", "forget", "hang", "pass"]
        assert record(store, run, moods)[1] == ""
        assert {"create", "log-batch"} <= set(store.forgotten)
    assert capfd.readouterr() == ("", "")
    check_exact(run, server, history)


def test_a_store_that_was_emptied_gets_the_run_again(out, history):
    run = create_run(out, "tiny", "name: tiny\n")
    recorder = Recorder(run, params={"seed": 1})
    for step in range(STEPS):
        recorder.metrics(step, {"train/loss": step / 7})
        if step == STEPS // 2:
            wait_for(lambda: not recorder._spool.pending)  # its files too, which the new run has to get again
            first = recorder.run_id
            with sqlite3.connect(out / "mlflow.db") as database:
                database.execute("DELETE FROM runs")
            database.close()
    wait_for(lambda: recorder.run_id != first)
    assert recorder.close("done") == ""
    check_exact(run, f"sqlite:///{out / 'mlflow.db'}", history)


def test_a_full_disk_ends_the_training_in_a_sentence_and_the_record_goes_on_whole(out, history):
    run = create_run(out, "tiny", "name: tiny\n")
    code = f"""
import resource, sys
from pathlib import Path
from hepfm.errors import TrainingError
from hepfm.tracking.recorder import Recorder
from hepfm.tracking import storage
from hepfm.tracking.runs import RunDir
storage.WAITS_S = (0.1,)
run = RunDir(Path(sys.argv[1]))
recorder = Recorder(run, uri="http://127.0.0.1:9", params={{"seed": 1}})
resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))  # what does not fit is cut off
try:
    for step in range({STEPS}):
        recorder.metrics(step, {{"train/loss": step / 7}})
except TrainingError as error:
    print(step, error.where, error.what)
full = max(path.stat().st_size for path in run.spool.iterdir())  # what is shorter than a step must not fit either
resource.setrlimit(resource.RLIMIT_FSIZE, (full, 6000))
print(recorder.close("failed"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(run.path)], check=True, capture_output=True, text=True
    )
    (step, where, what), *closing = (line.split(" ", 2) for line in done.stdout.splitlines())
    assert where.startswith(str(run.path))
    assert "cannot be written" in what
    assert closing[0][:3] == [
        "The",
        "record",
        "could not be ended: The record cannot be written: File too large.",
    ]
    recorder = Recorder(run, params={"seed": 1}, resume_step=int(step) - 1)
    for again in range(int(step), STEPS):
        recorder.metrics(again, {"train/loss": again / 7})
    assert recorder.close("done") == ""
    check_exact(run, f"sqlite:///{out / 'mlflow.db'}", history)
