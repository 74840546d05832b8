"""A Ray head on this machine's loopback: how it is started, and when it is ready."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from pathlib import Path

from hepfm.data.local_ray import client_environment, own_token, scratch
from hepfm.errors import HepfmError
from hepfm.jobs import processes
from hepfm.jobs.client import OWN, Dashboard

HOST = "127.0.0.1"

_LONGEST_FOLDER = 107 - len("/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.1")
"""Letters of a folder below which the paths of Ray's sockets are as short as Linux wants them."""


def make_folder() -> Path:
    """A folder of its own for a head's files, which nobody else can enter.

    Raises:
        HepfmError: There can be none.
    """
    folder = scratch() / secrets.token_hex(3)
    if len(str(folder)) > _LONGEST_FOLDER:
        raise HepfmError(
            "the path of the folder for temporary files is too long for Ray's sockets",
            where=str(folder),
            fix="set TMPDIR to a short one, such as /tmp",
        )
    folder.mkdir(mode=0o700)
    return folder


def start(
    folder: Path, log: Path, *, cpus: int | None, gpus: int | None, port: int, dashboard_port: int
) -> processes.Leader:
    """Starts a head; requests need the token of `own_token`.

    Args:
        folder: For its files.
        log: For what it says.
        cpus: Cores that it offers; None for those that this process may use.
        gpus: GPUs that it offers; None for all.
        port: Where drivers connect.
        dashboard_port: Where its dashboard is.
    """
    own_token()
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    options = {
        "port": port,
        "include-dashboard": True,
        "dashboard-host": HOST,
        "dashboard-port": dashboard_port,
        # Ray's own choices are fixed, and a second head on this machine would not start.
        "dashboard-agent-listen-port": 0,
        "ray-client-server-port": _free_port(),
        "temp-dir": folder / "ray",
        "num-cpus": len(os.sched_getaffinity(0)) if cpus is None else cpus,
    }
    if gpus is not None:
        options["num-gpus"] = gpus
    command += [f"--{name}={value}" for name, value in options.items()]
    return processes.start(command, _environment(), log)


def answers(url: str) -> bool:
    """Whether the head's dashboard answers and its node takes work."""
    dashboard = Dashboard(url, OWN, answer_s=1.0)
    try:
        return bool(dashboard.nodes())
    except HepfmError:
        return False


def _environment() -> dict[str, str]:
    inherited = {
        key: value for key, value in os.environ.items() if key not in {"RAY_ADDRESS", "RAY_AUTH_TOKEN"}
    }
    ours = {
        "RAY_USAGE_STATS_ENABLED": "0",
        # Jobs are given their time to end before the head is.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        # A job's `python` is the one that started the head.
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
    }
    return inherited | ours | client_environment()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
