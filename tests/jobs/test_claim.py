"""A name is one job's from the first look to its acceptance, and a job that is not accepted changes no run."""

from __future__ import annotations

import http.server
import json
import platform
import threading
from importlib.metadata import version
from pathlib import Path

import pytest

from hepfm.errors import HepfmError, RecipeError
from hepfm.jobs.client import Dashboard
from hepfm.jobs.submit import submit
from hepfm.locks import locked
from hepfm.recipe.load import load_recipe
from hepfm.tracking.runs import RunDir

ANSWERS = {
    "/api/version": {"ray_version": version("ray")},
    "/api/v0/cluster_metadata": {"data": {"pythonVersion": platform.python_version()}},
    "/api/v0/nodes?detail=1&limit=10000": {
        "data": {"result": {"result": [{"state": "ALIVE", "resources_total": {"CPU": 8}}]}}
    },
    "/api/jobs/": [],
}


class Head(http.server.BaseHTTPRequestHandler):
    """A dashboard without jobs, which takes none where it is told so."""

    takes = True

    def do_GET(self):
        self._answer(200, ANSWERS.get(self.path, {}))

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200 if self.takes else 500, {})

    def _answer(self, status, content):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def head(tmp_path, monkeypatch):
    """The dashboard, asked from an empty folder."""
    for name in ("home", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(Head, "takes", True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Head)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Dashboard(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()


def hand_over(head, out, workers=1, *overrides):
    resolved = load_recipe("image3d/masked-tiny", ["name=mine", f"cluster.workers={workers}", *overrides])
    return submit(resolved, head, recipe="image3d/masked-tiny", out=out, name="mine")


def files(run):
    return {path: path.read_bytes() for path in run.path.glob("*.*")}


def test_a_job_that_is_not_accepted_leaves_its_run_as_it_was(head, tmp_path, monkeypatch):
    run = hand_over(head, tmp_path).run
    run.update(status="failed", reason="its process was killed")
    before = files(run)
    monkeypatch.setattr(Head, "takes", False)
    with pytest.raises(HepfmError, match="answers 500"):
        hand_over(head, tmp_path, workers=2)
    assert files(run) == before
    monkeypatch.setattr(Head, "takes", True)
    assert hand_over(head, tmp_path, workers=2).resumed
    assert load_recipe(str(run.recipe_path)).recipe.cluster.workers == 2


def test_what_a_run_may_change_where_it_goes_on_is_no_other_recipe(head, tmp_path):
    run = hand_over(head, tmp_path, 1, "tracking.experiment=first").run
    run.update(status="stopped")
    free = ("checkpoint.every=7", "checkpoint.keep=5", "train.time_limit_minutes=3")
    assert hand_over(head, tmp_path, 2, *free).resumed
    recipe = load_recipe(str(run.recipe_path)).recipe
    assert (recipe.checkpoint.every, recipe.checkpoint.keep, recipe.train.time_limit_minutes) == (7, 5, 3)
    assert (recipe.cluster.workers, recipe.tracking.experiment) == (2, "first")
    with pytest.raises(RecipeError, match=r"another recipe:\n    train.steps: 200 -> 300\n") as refused:
        hand_over(head, tmp_path, 2, "train.steps=300")
    assert "hepfm job resume mine" in refused.value.fix


def test_a_first_job_that_is_not_accepted_leaves_no_run(head, tmp_path, monkeypatch):
    monkeypatch.setattr(Head, "takes", False)
    with pytest.raises(HepfmError, match="answers 500"):
        hand_over(head, tmp_path)
    assert not (tmp_path / "mine").exists()


def test_one_submit_of_a_name_at_a_time(head, tmp_path):
    with locked(tmp_path / ".mine.submit"), pytest.raises(RecipeError, match="'mine' is taken"):
        hand_over(head, tmp_path)
    assert not (tmp_path / "mine").exists()
    assert not hand_over(head, tmp_path).resumed


def test_a_name_that_is_a_link_is_not_followed(head, tmp_path):
    run = hand_over(head, tmp_path / "others").run
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").symlink_to(run.path)
    before = files(run)
    with pytest.raises(RecipeError, match="is a link"):
        hand_over(head, tmp_path / "runs")
    (tmp_path / "runs" / "mine").unlink()
    own = RunDir(hand_over(head, tmp_path / "runs").run.path)
    own.recipe_path.unlink()
    own.recipe_path.symlink_to(run.recipe_path)
    with pytest.raises(RecipeError, match="leads out of its folder"):
        hand_over(head, tmp_path / "runs")
    assert files(run) == before


@pytest.mark.parametrize("place", ["home", "."])
def test_of_the_home_and_what_is_above_it_nothing_is_sent(head, tmp_path, monkeypatch, place):
    (tmp_path / "home" / "notes.txt").write_text("x")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "home")
    monkeypatch.setenv("HOME", str(link))
    monkeypatch.chdir(tmp_path / place)
    (warning,) = hand_over(head, tmp_path / "runs").warnings
    assert "nothing of it is sent" in warning
    assert Path.cwd() == tmp_path / place
