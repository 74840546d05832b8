"""``hepfm submit`` and ``hepfm job`` on the Ray of ``hepfm up``: killed, stopped, the head lost, and going on."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

SMALL = (
    *("model.backbone.d_model=16", "model.backbone.n_layers=1", "model.backbone.n_heads=2"),
    *("objective.decoder_layers=1", "objective.decoder_heads=2", "data.val=null", "train.marginal_events=4"),
    *("data.batch_cost=2000", "data.micro_batch_cost=2000", "train.warmup_steps=1", "train.precision=fp32"),
    *("checkpoint.every=2", "cluster.cpus_per_worker=1"),
)

PLUGIN = """
import pathlib
from hepfm import api
HEPFM_API = (1, 0)

@api.hookimpl
def hepfm_callbacks():
    return [api.CallbackSpec(name="told", target="hepfm_told:Told")]

class Told:
    def on_start(self, run):
        pathlib.Path(run["run_dir"], "told").write_text(__file__)
    def __getattr__(self, name):
        return lambda *_: None
"""


class Lab:
    """Somebody with an empty home, a folder with code, and a plugin of their own that only they have."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.plugin = folder / "plugin"
        self.token = folder / "home/.cache/hepfm/ray-token"
        for each in (folder / "home", self.folder, self.plugin):
            each.mkdir()
        (self.folder / "code.py").write_text("")
        (self.plugin / "hepfm_told.py").write_text(PLUGIN)
        about = self.plugin / "hepfm_told-0.3.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: hepfm-told\nVersion: 0.3\n")
        (about / "entry_points.txt").write_text("[hepfm]\ntold = hepfm_told\n")
        (about / "direct_url.json").write_text(json.dumps({"url": self.plugin.as_uri(), "dir_info": {}}))
        foreign = ("RAY_", "XDG_", "MLFLOW_", "PYTEST_", "HEPFM_")
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        self.environment["HOME"] = str(folder / "home")
        self.ports = random.sample(range(20000, 32000), 3)

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        path = os.pathsep.join(filter(None, (str(self.plugin), os.environ.get("PYTHONPATH"))))
        environment = self.environment | ({} if arguments[0] == "up" else {"PYTHONPATH": path})
        return subprocess.Popen(
            [sys.executable, "-m", "hepfm", *map(str, arguments)],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def hepfm(self, *arguments: object, code: int = 0) -> tuple[str, str]:
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=600)
        assert process.returncode == code, out + err
        return out, err

    def up(self) -> None:
        names = ("--ray-port", "--dashboard-port", "--mlflow-port")
        self.hepfm("up", *(word for pair in zip(names, self.ports, strict=True) for word in pair))

    def submission(self, name: str, steps: int) -> list[str]:
        sets = [flag for value in (*SMALL, f"train.steps={steps}") for flag in ("--set", value)]
        return ["submit", "image3d/masked-tiny", *sets, "--name", name]

    def submit(self, name: str, steps: int, *arguments: object, code: int = 0) -> tuple[str, str]:
        return self.hepfm(*self.submission(name, steps), *arguments, code=code)

    def job(self, name: str) -> dict:
        return json.loads(self.hepfm("job", "show", name, "--json")[0])

    def run(self, name: str) -> dict:
        return json.loads((self.folder / "runs" / name / "run.json").read_bytes())

    def steps(self, name: str) -> list[int]:
        metrics = self.folder / "runs" / name / "metrics.jsonl"
        lines = metrics.read_bytes().splitlines(keepends=True) if metrics.exists() else []
        entries = [json.loads(line) for line in lines if line.endswith(b"\n")]
        return [entry["step"] for entry in entries if "train/loss" in entry["metrics"]]

    def recorded(self, name: str) -> list[int]:
        """Steps whose loss MLflow has, of the only run of this folder's."""
        with closing(sqlite3.connect(self.folder / "runs/mlflow.db")) as store:
            folders = "select run_uuid from tags where key = 'hepfm.run_dir' and value like ?"
            ((run,),) = store.execute(folders, [f"%/{name}"]).fetchall()
            losses = "select step from metrics where key = 'train/loss' and run_uuid = ? order by step"
            rows = store.execute(losses, [run]).fetchall()
        assert run == self.run(name)["run_id"]
        return [row[0] for row in rows]

    def log(self, name: str) -> str:
        path = self.folder / "runs" / name / "log.txt"
        return path.read_text() if path.exists() else ""

    def wait_for_step(self, name: str, step: int) -> None:
        self.wait_for(name, lambda: max(self.steps(name), default=0) >= step)

    def wait_for_log(self, name: str, text: str) -> None:
        self.wait_for(name, lambda: text in self.log(name))

    def wait_for(self, name: str, condition: Callable[[], object]) -> None:
        end = time.monotonic() + 400
        while not condition():
            assert time.monotonic() < end, self.log(name)
            assert self.run(name)["job"].get("exit_code") is None, self.log(name)
            time.sleep(0.1)

    def processes(self, *words: str) -> list[psutil.Process]:
        """Those of this lab's whose command has all these words."""
        found = []
        for process in psutil.process_iter(["cmdline", "environ"]):
            home = (process.info["environ"] or {}).get("HOME")
            line = " ".join(process.info["cmdline"] or ())
            if home == self.environment["HOME"] and all(word in line for word in words):
                found.append(process)
        return found


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lab.up()
    yield lab
    lab.hepfm("down", "--force")
    assert not lab.processes("hepfm.jobs.entry")


def test_training_that_is_killed_goes_on_in_the_same_run(lab):
    out, _ = lab.submit("survivor", 100_000)
    assert "hepfm job logs survivor --follow" in out
    assert f"http://127.0.0.1:{lab.ports[1]}/#/jobs/survivor" in out
    assert f"http://127.0.0.1:{lab.ports[2]}" in out
    lab.wait_for_step("survivor", 3)
    lab.wait_for("survivor", lambda: lab.run("survivor")["run_id"])  # MLflow's, which takes its time
    identity = lab.run("survivor")["run_id"]

    (training,) = lab.processes("hepfm resume", "survivor")
    training.send_signal(signal.SIGKILL)

    lab.wait_for_log("survivor", "hepfm.training.start: going on from ")
    assert lab.job("surv")["retries"] == 1
    lab.wait_for_step("survivor", lab.steps("survivor")[-1] + 3)
    log = lab.log("survivor")
    assert "training was killed by SIGKILL; it goes on from step-0" in log
    assert "retry 1 of 3" in log
    assert lab.run("survivor")["run_id"] == identity
    steps = lab.steps("survivor")
    assert steps == list(range(1, len(steps) + 1))


def test_a_live_job_keeps_its_name_and_its_secrets(lab):
    _, err = lab.submit("survivor", 100_000, code=2)
    assert "A job of the name 'survivor' is running already." in err
    _, err = lab.submit("large", 100_000, "--workers", 1000, code=2)
    assert "asks for 1000 workers" in err
    assert not (lab.folder / "runs/large").exists()

    token = lab.token.read_text()
    request = urllib.request.Request(
        f"http://127.0.0.1:{lab.ports[1]}/api/jobs/", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request) as answer:
        known = answer.read().decode()
    assert "survivor" in known
    assert token not in known
    shown = [process.info["cmdline"] for process in lab.processes("survivor")]
    assert shown
    assert token not in str(shown)
    for path in lab.folder.rglob("*"):
        with suppress(FileNotFoundError):  # a checkpoint that need not be kept
            assert not path.is_file() or token.encode() not in path.read_bytes(), path

    # The plugin that only the submitter has came along, and workers use it.
    told = (lab.folder / "runs/survivor/told").read_text()
    assert "py_modules_files" in told
    (row,) = json.loads(lab.hepfm("job", "list", "--json")[0])
    assert (row["name"], row["status"], row["run_status"], row["steps"]) == (
        "survivor",
        "RUNNING",
        "running",
        100_000,
    )
    assert "survivor" in lab.hepfm("job", "list")[0]


def test_stop_saves_a_checkpoint_and_submit_goes_on_also_on_another_head(lab):
    identity = lab.run("survivor")["run_id"]
    out, _ = lab.hepfm("job", "stop", "survivor")
    last = lab.steps("survivor")[-1]
    assert f"stopped at step {last} of 100000; saved: step-{last:08}" in out
    assert out.endswith("Go on: hepfm job resume survivor\n")
    said, _ = lab.hepfm("job", "logs", "survivor")
    assert "hepfm job logs" not in said
    assert lab.hepfm("job", "wait", "survivor", code=75)
    assert lab.job("survivor")["status"] == "STOPPED"

    _, err = lab.submit("survivor", 99_999, code=2)
    assert "train.steps: 100000 -> 99999" in err
    assert "hepfm fork survivor" in err

    out, _ = lab.hepfm("job", "resume", "survivor")  # with the recipe that it has, whatever was set
    assert f"going on from step-{last:08}" in out
    lab.wait_for_step("survivor", last + 1)
    for process in lab.processes("raylet/raylet") + lab.processes("gcs_server"):
        process.send_signal(signal.SIGKILL)
    end = time.monotonic() + 120
    while lab.processes("hepfm resume"):
        assert time.monotonic() < end
        time.sleep(0.5)
    _, err = lab.hepfm("job", "list", code=2)
    assert "The Ray that hepfm up started has ended" in err or "No Ray cluster answers" in err

    lab.up()
    reached = lab.steps("survivor")[-1]
    with lab.start(*lab.submission("survivor", 100_000), "--follow") as following:
        lab.wait_for_step("survivor", reached + 1)
        following.send_signal(signal.SIGINT)
        _, err = following.communicate(timeout=60)
    assert following.returncode == 130
    assert "going on from step-" in err
    assert "The job goes on: hepfm job logs survivor --follow" in err
    assert lab.job("survivor")["status"] == "RUNNING"
    lab.hepfm("job", "stop", "survivor", "--now")
    assert not lab.processes("hepfm resume")
    run = lab.run("survivor")
    assert (run["status"], run["run_id"]) == ("stopped", identity)
    steps = lab.steps("survivor")
    assert steps == list(range(1, len(steps) + 1))
    recorded = lab.recorded("survivor")  # in one run of MLflow, each step once, whatever was made twice
    assert recorded == list(range(1, len(recorded) + 1))
    assert len(recorded) > last


def test_follow_reports_the_end(lab):
    out, err = lab.submit("short", 2, "--follow", "--json")
    result = json.loads(out.splitlines()[-1])
    assert (result["status"], result["steps"], result["tracking_pending"]) == ("done", 2, 0)
    assert "step 1/2" in err
    said, _ = lab.hepfm("job", "logs", "short", "--follow")
    assert said.rstrip().endswith("job done")
    _, err = lab.submit("short", 2, code=2)
    assert "is done, after 2 steps" in err
    assert lab.recorded("short") == [1, 2]
