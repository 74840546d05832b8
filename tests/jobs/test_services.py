"""``hepfm up``, ``status`` and ``down``: closed to others, survive what goes wrong, and leave nothing behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from hepfm.jobs import processes
from hepfm.jobs.services import recorded
from hepfm.tracking.recorder import Recorder
from hepfm.tracking.runs import create_run

pytestmark = pytest.mark.ray

SECONDS = 240


class User:
    """Somebody with an empty home, who calls ``hepfm`` in a folder."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self.token = self.home / ".cache/hepfm/ray-token"
        self.out = folder / "runs"
        foreign = ("RAY_", "XDG_", "MLFLOW_", "PYTEST_")
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        self.environment["HOME"] = str(self.home)
        self.ports = _free_ports(3)

    def hepfm(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "hepfm", *map(str, arguments), "--runs", str(self.out)]
        return subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env=self.environment | environment,
        )

    def up(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        options = ("--ray-port", "--dashboard-port", "--mlflow-port")
        ports = [word for pair in zip(options, self.ports, strict=True) for word in pair]
        return self.hepfm("up", *ports, *arguments, **environment)

    def status(self) -> dict:
        return json.loads(self.hepfm("status", "--json").stdout)

    def services(self) -> list[processes.Leader]:
        found = recorded(self.out)
        return [service.leader for service in found.services] if found else []


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    user = User(tmp_path_factory.mktemp("user"))
    yield user
    for leader in user.services():
        leader.end(1.0)


@pytest.fixture(scope="module")
def stranger():
    """A process that looks like another Ray's, which ``ray stop`` would end."""
    core = Path(sys.prefix, "lib/ray/core/src/ray/raylet/raylet")
    process = subprocess.Popen(["sleep", "3600"], executable="/bin/sleep", start_new_session=True)
    fake = subprocess.Popen(["bash", "-c", f"exec -a {core} sleep 3600"], start_new_session=True)
    yield process, fake
    for each in (process, fake):
        each.kill()
        each.wait()


@pytest.fixture(scope="module")
def up(user, stranger):
    return user.up("--cpus", 2)


def test_up_waits_until_both_answer_and_says_where_they_are(user, up):
    assert up.returncode == 0, up.stderr
    _, dashboard, mlflow = user.ports
    assert f"http://127.0.0.1:{dashboard}" in up.stdout
    assert _pages(mlflow) in up.stdout
    assert str(user.token) in up.stdout
    assert _get(dashboard, "/api/version", user.token.read_text())["ray_version"]
    with urllib.request.urlopen(f"http://127.0.0.1:{mlflow}/health") as answer:
        assert answer.read() == b"OK"


def test_files_are_the_users_alone_and_the_token_is_in_no_other(user, up):
    services = recorded(user.out)
    folder = Path(services.ray.folder)
    closed = {user.token: 0o600, user.out / "services.json": 0o600, user.out / "services": 0o700}
    closed |= {folder: 0o700, folder.parent: 0o700}
    closed |= {Path(service.log): 0o600 for service in services.services}
    assert {path: path.stat().st_mode & 0o777 for path in closed} == closed
    token = user.token.read_text()
    assert token not in up.stdout + up.stderr
    texts = [path for root in (folder, user.out) for path in root.rglob("*") if path.is_file()]
    assert len(texts) > 20
    assert not [path for path in texts if token.encode() in path.read_bytes()]
    for leader in user.services():
        assert not [process for process in leader.members() if token in " ".join(process.cmdline())]


def test_a_request_without_the_token_is_refused(user, up):
    _, dashboard, _ = user.ports
    for token, status in (("", 401), ("0" * 64, 403)):
        for path in ("/api/jobs/", "/api/v0/nodes", "/api/cluster_status", "/api/version"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                _get(dashboard, path, token)
            refused.value.close()
            assert refused.value.code == status


def test_a_program_without_the_token_is_refused(user, up, tmp_path):
    program = (
        "import sys, ray; ray.init(sys.argv[1], log_to_driver=False); print(ray.cluster_resources()['CPU'])"
    )
    address = f"127.0.0.1:{user.ports[0]}"
    keys = {
        "none": {"HOME": str(tmp_path), "RAY_AUTH_MODE": "disabled"},
        "right": {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(user.token)},
    }
    said = {}
    for name, key in keys.items():
        command = [sys.executable, "-c", program, address]
        environment = user.environment | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"} | key
        ended = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=SECONDS, env=environment
        )
        said[name] = (ended.returncode, ended.stdout + ended.stderr)
    assert said["right"][0] == 0, said["right"][1]
    assert "2.0" in said["right"][1]
    assert said["none"][0] != 0
    assert "AuthenticationError" in said["none"][1]


def test_nothing_listens_beyond_this_machine(user, up):
    members = [process for leader in user.services() for process in leader.members()]
    listening = {
        each.laddr
        for process in members
        for each in process.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    }
    assert set(user.ports) < {address.port for address in listening}
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_status_says_what_there_is(user, up):
    started = time.monotonic()
    answer = user.hepfm("status", "--json")
    assert time.monotonic() - started < 20, "asks nobody who does not answer"
    assert answer.returncode == 0
    found = json.loads(answer.stdout)
    assert found["up"]
    assert [(each["name"], each["status"]) for each in found["services"]] == [("Ray", "up"), ("MLflow", "up")]
    assert {key: found["ray"][key] for key in ("nodes", "cpus", "gpus")} == {"nodes": 1, "cpus": 2, "gpus": 0}
    lines = user.hepfm("status").stdout.splitlines()
    assert "of 2 CPUs" in lines[0]
    assert f"http://127.0.0.1:{user.ports[2]}" in lines[1]


def test_up_again_changes_nothing(user, up):
    before = user.services()
    again = user.hepfm("up")  # with ports of its own: what runs, counts
    assert again.returncode == 0
    assert "up already" in again.stderr
    assert f"http://127.0.0.1:{user.ports[1]}" in again.stdout
    assert user.services() == before


def test_mlflow_ui_names_the_server_that_serves_the_folder_already(user, up):
    for port in ((), ("--port", user.ports[2])):
        answer = user.hepfm("mlflow", "ui", *port)
        assert answer.returncode == 0
        assert answer.stdout == f"hepfm up serves these runs already: {_pages(user.ports[2])}\n"


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_a_port_in_use_is_named_with_its_holder_before_anything_starts(user, up, tmp_path, taken):
    other = User(tmp_path)
    other.ports[taken] = user.ports[taken]
    refused = other.up()
    assert refused.returncode == 2
    option = ("--ray-port", "--dashboard-port", "--mlflow-port")[taken]
    assert f"port {user.ports[taken]} is in use by " in refused.stderr
    assert "(process " in refused.stderr
    assert f"{option} {user.ports[taken] + 1}" in refused.stderr
    assert "Starting" not in refused.stderr
    assert not (other.out / "services.json").exists()


def test_a_run_that_is_recorded_meanwhile_is_seen_in_mlflow(user, up):
    recorder = Recorder(create_run(user.out, "tiny", "name: tiny\n"), uri=f"sqlite:///{user.out}/mlflow.db")
    for step in range(50):
        recorder.metrics(step, {"train/loss": 1 / (1 + step)})
        if step % 10 == 0:
            _search(user.ports[2])
    recorder.close("done")
    (found,) = _search(user.ports[2])
    assert {each["key"]: each["step"] for each in found["data"]["metrics"]}["train/loss"] == 49


def test_down_does_not_end_a_job_unless_forced_to(user, up, stranger):
    body = {"entrypoint": "exec sleep 3600", "submission_id": "sleeper"}
    _get(user.ports[1], "/api/jobs/", user.token.read_text(), body)
    refused = user.hepfm("down")
    assert refused.returncode == 1
    assert "1 job would end" in refused.stderr
    assert "sleeper" in refused.stderr
    assert "--force" in refused.stderr
    assert user.status()["up"]


def test_a_head_that_died_is_named_and_started_again(user, up):
    ray, mlflow = user.services()
    gcs = next(each for each in ray.members() if each.name() == "gcs_server")
    gcs.kill()
    _until(lambda: not ray.alive)
    status = user.hepfm("status")
    assert status.returncode == 1
    assert f"its log: {user.out}/services/ray.log" in status.stdout
    assert status.stdout.splitlines()[0].split()[:2] == ["Ray", "ended"]
    assert status.stdout.splitlines()[1].split()[:2] == ["MLflow", "up"]

    again = user.up("--cpus", 1)
    assert again.returncode == 0, again.stderr
    assert "Ray has ended by itself" in again.stderr
    assert "gcs_server" in (user.out / "services/ray.log.old").read_text()
    assert ray.members() == [], "the job of the head that died is over too"
    now = user.services()
    assert mlflow in now
    assert ray not in now
    assert user.status()["ray"]["cpus"] == 1


def test_a_head_that_hangs_does_not_hang_status(user, up):
    ray = next(each for each in recorded(user.out).services if each.name == "Ray")
    members = ray.leader.members()
    try:
        for process in members:
            process.suspend()
        started = time.monotonic()
        status = user.hepfm("status")
        assert time.monotonic() - started < 20
        assert status.returncode == 1
        assert "silent" in status.stdout
        refused = user.hepfm("down")
        assert "does not say whether jobs run" in refused.stderr
    finally:
        for process in members:
            process.resume()


def test_down_ends_all_of_it_and_nothing_else(user, up, stranger):
    leaders = user.services()
    folder = Path(recorded(user.out).ray.folder)
    body = {"entrypoint": "setsid sleep 3601 & exec sleep 3600", "submission_id": "sleeper"}
    _get(user.ports[1], "/api/jobs/", user.token.read_text(), body)
    job = ["sleep", "3601"]
    _until(lambda: job in [each.cmdline() for each in leaders[-1].members() + leaders[0].members()])
    members = [process for leader in leaders for process in leader.members()]
    assert len(members) > 10
    down = user.hepfm("down", "--force")
    assert down.returncode == 0, down.stderr
    assert "Stopping sleeper" in down.stderr
    assert [process for process in members if process.is_running()] == []
    assert not folder.exists()
    assert not (user.out / "services.json").exists()
    assert all(each.poll() is None for each in stranger)
    for port in user.ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    again = user.hepfm("down")
    assert again.returncode == 0
    assert "No services run" in again.stderr
    assert user.hepfm("status").returncode == 1


@pytest.mark.parametrize("broken", ["Ray", "MLflow"])
def test_nothing_is_left_of_half_a_start(tmp_path, broken):
    user = User(tmp_path)
    user.out.mkdir()
    environment = {}
    if broken == "MLflow":
        (user.out / "mlflow.db").write_text("no database")
    else:
        environment["RAY_START_HOOK"] = "nothing.there"
    marks = set(psutil.pids())
    failed = user.up("--cpus", 1, **environment)
    assert failed.returncode == 1
    assert f"{broken} did not start" in failed.stderr
    assert str(user.out / f"services/{broken.lower()}.log") in failed.stderr
    assert not (user.out / "services.json").exists()
    left = [pid for pid in set(psutil.pids()) - marks if str(user.home) in _environment(pid)]
    assert left == []


def test_a_state_file_of_pids_that_are_others_now_ends_nobody(tmp_path, stranger):
    user = User(tmp_path)
    user.out.mkdir()
    process, _ = stranger
    service = {"name": "Ray", "url": "http://127.0.0.1:9", "address": "127.0.0.1:9", "log": "x", "folder": ""}
    leader = asdict(processes.Leader(process.pid, processes._start_ticks(process.pid) - 1, "mark"))
    here = processes.machine()
    for machine, said in ((here, "Ending"), (here | {"boot": "another"}, "No services")):
        state = {"machine": machine, "services": [service | {"leader": leader}], "elsewhere": ""}
        (user.out / "services.json").write_text(json.dumps(state))
        assert user.hepfm("status").returncode == 1
        down = user.hepfm("down")
        assert down.returncode == 0
        assert said in down.stderr
        assert process.poll() is None
        assert not (user.out / "services.json").exists()

    state["machine"] = here | {"host": "elsewhere"}
    (user.out / "services.json").write_text(json.dumps(state))
    refused = user.hepfm("down")
    assert refused.returncode == 1
    assert "were started on elsewhere" in refused.stderr
    for damaged in ("{", "[]"):
        (user.out / "services.json").write_text(damaged)
        assert "cannot be read" in user.hepfm("status").stderr


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _get(port: int, path: str, token: str = "", body: object = None) -> dict:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    headers |= {"Content-Type": "application/json"} if body else {}
    content = json.dumps(body).encode() if body else None
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", content, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def _pages(port: int) -> str:
    return f"http://127.0.0.1:{port}/#/experiments?workflowType=machine_learning"


def _search(port: int) -> list[dict]:
    return _get(port, "/api/2.0/mlflow/runs/search", body={"experiment_ids": ["0", "1"]}).get("runs", [])


def _until(true) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _environment(pid: int) -> str:
    try:
        return str(psutil.Process(pid).environ())
    except psutil.Error:
        return ""
