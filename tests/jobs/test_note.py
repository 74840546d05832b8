"""The note of a folder's services is believed where it is the user's own, and says what hepfm up writes."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

import pytest

from hepfm.data.local_ray import scratch
from hepfm.errors import HepfmError
from hepfm.jobs import processes
from hepfm.jobs.checks import find_dashboard, mlflow_beside
from hepfm.jobs.client import Dashboard
from hepfm.jobs.services import recorded


@pytest.fixture
def note(tmp_path):
    """Writes a note, as of a Ray that has ended."""

    def write(folder="", url="http://127.0.0.1:8265", log="x"):
        leader = asdict(processes.Leader(2**22 - 1, 1, "mark"))
        service = {"name": "Ray", "url": url, "address": "127.0.0.1:6379", "log": log, "folder": str(folder)}
        state = {
            "machine": processes.machine(),
            "services": [service | {"leader": leader}],
            "elsewhere": "",
        }
        path = tmp_path / "services.json"
        path.write_text(json.dumps(state))
        path.chmod(0o600)
        return path

    return write


def test_the_users_own_note_is_believed(note, tmp_path):
    note(folder=scratch() / "abc123")
    assert recorded(tmp_path).ray_dashboard == "http://127.0.0.1:8265"
    assert mlflow_beside(Dashboard("http://127.0.0.1:8265"), tmp_path) is None, "with Ray alone"


def test_a_note_that_others_can_write_is_refused(note, tmp_path):
    for mode in (0o620, 0o602):
        note().chmod(mode)
        with pytest.raises(HepfmError, match="another user's") as refused:
            recorded(tmp_path)
        assert "others may write it" in refused.value.where


def test_a_link_is_refused(note, tmp_path):
    path = note()
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(HepfmError, match="another user's"):
        recorded(tmp_path)


@pytest.mark.skipif(os.getuid() != 0, reason="gives a file to another user")
def test_another_users_note_is_refused_with_its_owner_and_a_given_address_goes_on(note, tmp_path):
    os.chown(note(), 1, 1)
    with pytest.raises(HepfmError, match="another user's") as refused:
        recorded(tmp_path)
    assert f"it belongs to {(tmp_path / 'services.json').owner()}" in refused.value.where
    assert "--address" in refused.value.fix
    given = find_dashboard("http://a:1", None, tmp_path)
    assert mlflow_beside(given, tmp_path) is None


@pytest.mark.parametrize("field", ["folder", "above", "url"])
def test_down_removes_no_folder_and_asks_nobody_that_hepfm_up_never_names(note, tmp_path, field):
    precious = tmp_path / "precious"
    precious.mkdir()
    wrong = {
        "folder": {"folder": precious},
        "above": {"folder": f"{scratch()}/../{precious.relative_to(scratch().parent)}"}
        if precious.is_relative_to(scratch().parent)
        else {"folder": f"{scratch()}/.."},
        "url": {"url": "http://ray.example.org:8265"},
    }[field]
    note(**wrong)
    down = subprocess.run(
        [sys.executable, "-m", "hepfm", "down", "--runs", str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert down.returncode == 1
    assert "never uses" in down.stderr
    assert precious.is_dir()


def test_down_makes_no_folder(tmp_path):
    missing: Path = tmp_path / "mistyped"
    command = [sys.executable, "-m", "hepfm", "down", "--runs", str(missing)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    assert not missing.exists()


def test_mlflow_alone_is_not_all_that_should_be_up(note, tmp_path):
    class Healthy(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"OK")

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Healthy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    content = json.loads(note(url=f"http://127.0.0.1:{server.server_port}").read_text())
    leader = processes.Leader(os.getpid(), processes._start_ticks(os.getpid()), "mark")
    content["services"][0] |= {"name": "MLflow", "leader": asdict(leader)}  # Ray did not start again
    (tmp_path / "services.json").write_text(json.dumps(content))
    command = [sys.executable, "-m", "hepfm", "status", "--json", "--runs", str(tmp_path)]
    status = subprocess.run(command, check=False, capture_output=True)
    server.shutdown()
    server.server_close()
    assert json.loads(status.stdout)["services"][0]["status"] == "up"
    assert status.returncode == 1
