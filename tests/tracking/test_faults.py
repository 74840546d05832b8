"""A store that is down, hangs, fails or loses its answers: training goes on, and nothing is lost or doubled."""

from __future__ import annotations

import http.server
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest

from hepfm.tracking.lines import read_metrics
from hepfm.tracking.recorder import Recorder
from hepfm.tracking.runs import create_run
from hepfm.tracking.server import mlflow_server
from hepfm.tracking.store import connect
from hepfm.tracking.sync import sync

STEPS = 400


@pytest.fixture(autouse=True)
def _short_times(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr("hepfm.tracking.recorder._INTERVAL_S", 0.05)
    monkeypatch.setattr("hepfm.tracking.recorder._LONGEST_INTERVAL_S", 0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Between(http.server.ThreadingHTTPServer):
    """Stands between the client and a store; ``mood`` says what it does with requests.

    ``pass`` them on; ``fail`` with 500; ``hang``; or ``forget``: pass on those that create a run or log a
    batch, and answer 500 all the same.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, behind: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behind, self.mood, self.calls = behind, "pass", 0
        self.forgotten: list[str] = []
        self.released = threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self) -> None:
        server = self.server
        assert isinstance(server, Between)
        server.calls += 1
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, content = 500, b"{}"
        if server.mood == "hang":
            server.released.wait()
            return
        if server.mood in {"pass", "forget"}:
            headers = {k: v for k, v in self.headers.items() if k.lower() in {"content-type", "user-agent"}}
            passed = urllib.request.Request(
                server.behind + self.path, data=body or None, headers=headers, method=self.command
            )
            try:
                with urllib.request.urlopen(passed, timeout=30) as answer:
                    status, content = answer.status, answer.read()
            except urllib.error.HTTPError as error:
                with error:
                    status, content = error.code, error.read()
        if server.mood == "forget" and self.path.endswith(("/runs/create", "/runs/log-batch")):
            status, content = 500, b"{}"
            server.forgotten.append(self.path.rsplit("/", 1)[1])
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = answer  # noqa: N815  http.server looks for these names

    def log_message(self, *_: object) -> None:
        pass


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def check_exact(run, uri, history) -> None:
    """MLflow has one run, with each step once, at the time of its line in ``metrics.jsonl``."""
    client = connect(uri)
    experiment = client.get_experiment_by_name("hepfm").experiment_id
    (found,) = client.search_runs([experiment], f"tags.`hepfm.run` = '{run.name}'")
    assert found.info.run_id == run.json()["run_id"]
    written = [(step, int(1000 * at), m["train/loss"]) for step, at, m in read_metrics(run.metrics_path)]
    assert [step for step, _, _ in written] == list(range(STEPS))
    assert history(client, found.info.run_id, "train/loss") == written
    assert found.info.status == "FINISHED"
    assert found.data.params == {"seed": "1"}
    assert [file.path for file in client.list_artifacts(found.info.run_id)] == [
        "recipe.yaml",
        "versions.json",
    ]


@pytest.mark.parametrize("mood", ["down", "hang", "fail"])
def test_a_store_that_never_answers_costs_nothing_and_is_told_later(out, history, mood):
    with Between() as store:
        store.mood = mood
        uri = f"http://127.0.0.1:{free_port()}" if mood == "down" else store.uri
        run = create_run(out, "tiny", "name: tiny\n")
        recorder = Recorder(run, uri=uri, params={"seed": 1}, close_timeout=4)
        wait_for(lambda: recorder._error or store.calls)
        for step in range(STEPS):
            recorder.metrics(step, {"train/loss": step / 7})
        assert recorder.run_id is None
        begun = time.monotonic()
        message = recorder.close("done")
        assert time.monotonic() - begun < 8
    assert f"hepfm mlflow sync {run.path}" in message
    assert run.json()["tracking_pending"] == STEPS + 4  # start, two artifacts, end
    wait_for(lambda: not recorder._thread.is_alive())
    local = f"sqlite:///{out / 'mlflow.db'}"
    assert sync(run, local) == STEPS + 4
    assert sync(run, local) == 0
    assert run.json()["tracking_pending"] == 0
    check_exact(run, local, history)


def test_a_store_that_comes_and_goes_has_each_step_once(out, history, capfd):
    uri = f"sqlite:///{out / 'mlflow.db'}"
    moods = ["forget", "pass", "fail", "forget", "hang", "pass"]
    with mlflow_server(uri, host="127.0.0.1", port=free_port()) as (address, _), Between(address) as store:
        run = create_run(out, "tiny", "name: tiny\n")
        store.mood = "forget"
        recorder = Recorder(run, uri=store.uri, params={"seed": 1})
        wait_for(lambda: len(store.forgotten) > 1)
        for step in range(STEPS):
            if step % (STEPS // len(moods)) == 0:
                calls, store.mood = store.calls, moods[min(step * len(moods) // STEPS, len(moods) - 1)]
                wait_for(lambda calls=calls: store.calls > calls)
            recorder.metrics(step, {"train/loss": step / 7})
        store.mood = "pass"
        assert {"create", "log-batch"} <= set(store.forgotten)
        assert recorder.close("done") == ""
        check_exact(run, address, history)
    assert capfd.readouterr() == ("", "")
