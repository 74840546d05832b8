"""What a job runs on the head: looks where it is, trains, and starts training again when it dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from hepfm.jobs.entry import made_with
from hepfm.recipe.load import load_recipe
from hepfm.tracking.runs import STOP_NOW, RunDir, create_run

SUPERVISE = """
import sys
from pathlib import Path
from hepfm.jobs.entry import Supervisor
from hepfm.tracking.runs import RunDir
folder, retries, *command = sys.argv[1:]
sys.exit(Supervisor(RunDir(Path(folder)), command, max_retries=int(retries), first_wait_s=0.1).run())
"""

# In turn: each start of the training takes the next of these ends.
TRAIN = """
import os, pathlib, signal, sys, time
ends = sys.argv[2:]
tries = pathlib.Path(sys.argv[1], "tries")
n = int(tries.read_text()) if tries.exists() else 0
tries.write_text(str(n + 1))
end = ends[n]
if end == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
elif end == "listen":
    def stop(number, frame):
        sys.exit(75)
    signal.signal(signal.SIGTERM, stop)
    pathlib.Path(sys.argv[1], "listening").touch()
    time.sleep(60)
elif end.startswith("finish"):
    about = pathlib.Path(sys.argv[1], "run.json")
    about.write_text(about.read_text().replace('"status": "created"', '"status": "done"'))
    pathlib.Path(sys.argv[1], "listening").touch()
    if end == "finish and kill":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
elif end == "note":
    def note(number, frame):
        pathlib.Path(sys.argv[1], "stop").write_text('{"reason": "SIGTERM"}')
    signal.signal(signal.SIGTERM, note)
    pathlib.Path(sys.argv[1], "listening").touch()
    time.sleep(60)
    sys.exit(75)
sys.exit(int(end))
"""


@pytest.fixture
def run(tmp_path):
    resolved = load_recipe("image3d/masked-tiny")
    made = create_run(tmp_path, "supervised", resolved.yaml(), exact=True)
    made.update(job={"id": "supervised", "made_with": made_with(), "exit_code": None})
    return made


def start(run, *ends, retries=3):
    command = [sys.executable, "-c", TRAIN, str(run.path), *ends]
    return subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, str(run.path), str(retries), *command],
        stdout=subprocess.PIPE,
        text=True,
    )


def supervise(run, *ends, retries=3):
    process = start(run, *ends, retries=retries)
    said, _ = process.communicate(timeout=120)
    return process.returncode, said


def tries(run):
    return int((run.path / "tries").read_text())


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_training_that_dies_is_started_again(run):
    code, said = supervise(run, "kill", "1", "0")

    assert (code, tries(run)) == (0, 3)
    log = run.log_path.read_text()
    assert "training was killed by SIGKILL; it goes on from the beginning" in log
    assert "training failed with exit code 1 (what it said of that stands above); it goes on from" in log
    assert "hepfm job logs" not in log, "this is where that leads"
    assert "retry 2 of 3" in log
    assert log.splitlines()[-1].endswith("job done, after 2 retries")
    assert said.splitlines() == log.splitlines()  # the job's log says it too
    assert run.json()["job"]["retries"] == 2
    assert run.json()["job"]["exit_code"] == 0


@pytest.mark.parametrize("code", [2, 3, 4, 75, 130])
def test_what_another_try_cannot_mend_ends_the_job(run, code):
    assert supervise(run, str(code)) == (code, run.log_path.read_text())
    assert tries(run) == 1
    assert run.json()["job"]["exit_code"] == code


def test_retries_end_and_the_record_is_closed(run):
    run.update(status="running")
    code, _ = supervise(run, "1", "kill", retries=1)

    assert (code, tries(run)) == (1, 2)
    assert (run.json()["status"], run.json()["reason"]) == ("failed", "its process was killed")
    last = run.log_path.read_text().splitlines()[-1]
    assert "failed, exit code 1, after 1 retry; it can go on from the beginning: " in last
    assert last.endswith("hepfm job resume supervised")


def test_no_retries(run):
    assert supervise(run, "1", retries=0)[0] == 1
    assert tries(run) == 1


def test_sigterm_reaches_training_and_it_is_not_started_again(run):
    process = start(run, "listen")
    wait_for((run.path / "listening").exists)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)

    assert (process.returncode, tries(run)) == (75, 1)
    assert "stopped by SIGTERM" in said


def test_a_stop_that_comes_while_training_finishes_does_not_undo_that(run):
    process = start(run, "finish")
    wait_for((run.path / "listening").exists)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)

    assert (process.returncode, tries(run)) == (0, 1)
    assert said.endswith("job done\n")
    assert run.json()["status"] == "done"
    assert run.json()["job"]["exit_code"] == 0


def test_training_that_is_killed_after_its_last_step_is_done(run):
    code, said = supervise(run, "finish and kill")
    assert (code, tries(run)) == (0, 1)
    assert said.endswith("job done\n")


def test_stop_now_kills(run):
    process = start(run, "listen")
    wait_for((run.path / "listening").exists)
    began = time.monotonic()
    run.ask_to_stop(STOP_NOW)
    process.communicate(timeout=60)

    assert time.monotonic() - began < 30
    assert (process.returncode, tries(run)) == (1, 1)
    assert run.json()["status"] == "stopped"


def test_stop_now_kills_also_when_the_signal_comes_with_it(run):
    """Training that hears of the signal notes that as the reason, in place of the other."""
    process = start(run, "note")
    wait_for((run.path / "listening").exists)
    run.ask_to_stop(STOP_NOW)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=100)

    assert (process.returncode, tries(run)) == (1, 1)
    assert f"stopped by {STOP_NOW}" in run.log_path.read_text()


def test_training_does_not_outlive_a_killed_job(run):
    process = start(run, "listen")
    wait_for((run.path / "listening").exists)
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=True
    )
    (child,) = map(int, children.stdout.split())
    process.kill()
    process.communicate()

    def gone():
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return True
        state = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(child)], capture_output=True, text=True, check=False
        ).stdout
        return state.startswith("Z")

    wait_for(gone)


def entry(folder):
    command = [sys.executable, "-m", "hepfm.jobs.entry", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout


def test_a_folder_that_the_head_does_not_see(tmp_path):
    code, said = entry(tmp_path / "nowhere")
    assert code == 2
    assert "does not see the run's folder" in said
    assert str(tmp_path / "nowhere") in said


def test_another_python(run):
    about = run.json()["job"]
    run.update(job=about | {"made_with": about["made_with"] | {"python": "3.99.0"}})
    code, said = entry(run.path)
    assert code == 2
    assert "submitted with Python 3.99.0" in said


def test_plugins_of_the_submitter_that_the_head_lacks_or_has_otherwise(run):
    about = run.json()["job"]
    wanted = json.loads(json.dumps(about["made_with"]["plugins"]))
    wanted["image3d"]["version"] = "9.9"
    wanted["calo"] = {"distribution": "hepfm-calo", "version": "1.0"}
    run.update(job=about | {"made_with": about["made_with"] | {"plugins": wanted}})
    code, said = entry(run.path)
    assert code == 4
    assert "image3d (hepfm 9.9) has hepfm 0.1.0 there" in said
    assert "calo (hepfm-calo 1.0) is missing there" in said
    assert "Traceback" not in said
    assert RunDir(run.path).json()["job"].get("retries") is None  # training was not tried
