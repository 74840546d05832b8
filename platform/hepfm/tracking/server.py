"""MLflow's own server, with its pages, for the store beside the runs."""

from __future__ import annotations

import errno
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from hepfm.errors import HepfmError, RecipeError
from hepfm.tracking.store import ARTIFACTS, database, without_secrets

_START_S = 60.0
_END_S = 10.0
_DIRECT = urllib.request.build_opener(
    urllib.request.ProxyHandler({})
)  # no proxy reaches this machine's loopback


@contextmanager
def mlflow_server(uri: str, *, host: str, port: int) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Runs the server while the context lasts, and this process; ends it with all its processes.

    Args:
        uri: The store; an SQLite database that exists.
        host: The interface to listen on. Requests for hosts other than this machine's names are refused.
        port: The port to listen on.

    Yields:
        The address for a browser, once the server answers there; and the server's process.

    Raises:
        RecipeError: There is no record yet, or the port is in use.
        HepfmError: The server did not start; with what it said.
    """
    file = database(uri)
    if file and not file.is_file():
        raise RecipeError(
            "no run has been recorded here yet",
            where=str(file),
            fix="pretrain first, or name the folder of runs with --runs",
        )
    check_port(host, port)
    command, environment = server_command(uri, host, port)
    tether = [sys.executable, "-m", "hepfm.tracking.tether"]
    with tempfile.TemporaryFile() as said:
        # Its own session: a Ctrl-C is ours to pass on, and all its workers can be ended at once.
        server = subprocess.Popen(  # noqa: S603
            [*tether, *command],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        try:
            address = f"http://{'127.0.0.1' if host in {'0.0.0.0', '::'} else host}:{port}"  # noqa: S104
            if not _wait(address, server):
                said.seek(0)
                tail = said.read().decode(errors="replace").strip().splitlines()[-5:]
                raise HepfmError(
                    "MLflow's server did not start",
                    where=without_secrets(uri),
                    fix="; ".join(tail) or f"it said nothing in {_START_S:.0f} s",
                )
            yield address, server
        finally:
            _end(server)


def server_command(uri: str, host: str, port: int) -> tuple[list[str], dict[str, str]]:
    """The server's command, and its environment with the store, whose password no other user is to see."""
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--workers",
        "1",
        "--host",
        host,
        "--port",
        str(port),
    ]
    command += ["--allowed-hosts", ",".join(_names(host, port))]
    if file := database(uri):
        command += ["--artifacts-destination", str(file.parent / ARTIFACTS)]
    defaults = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return command, defaults | os.environ | {"MLFLOW_BACKEND_STORE_URI": uri}


def check_port(host: str, port: int, option: str = "--port") -> None:
    """That a port can be listened on.

    Raises:
        RecipeError: It cannot; with the program that holds it, where that is the user's own.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            busy = error.errno == errno.EADDRINUSE
            raise RecipeError(
                f"port {port} is in use{_holder(port)}"
                if busy
                else f"cannot listen: {error.strerror or error}",
                where=f"{host}:{port}",
                fix=f"another one: {option} {port + 1}" if busy else "give a host and port of this machine",
            ) from None


def answers(address: str) -> bool:
    """Whether MLflow's server answers within a second."""
    try:
        with _DIRECT.open(f"{address}/health", timeout=1):
            return True
    except (OSError, http.client.HTTPException):
        return False


def _holder(port: int) -> str:
    with suppress(psutil.Error, OSError):
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                sockets = process.net_connections("tcp")
                if any(each.laddr.port == port and each.status == psutil.CONN_LISTEN for each in sockets):
                    return f" by {process.name()} (process {process.pid} of {process.username()})"
    return ""


def _names(host: str, port: int) -> list[str]:
    """What a browser may call this server; MLflow refuses other names, against DNS rebinding."""
    names = dict.fromkeys(["localhost", "127.0.0.1", "[::1]", host, socket.gethostname(), socket.getfqdn()])
    return [name for known in names for name in (known, f"{known}:{port}")]


def _wait(address: str, server: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + _START_S
    while server.poll() is None and time.monotonic() < deadline:
        if answers(address):
            return True
        time.sleep(0.1)
    return False


def _end(server: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, how)
        except ProcessLookupError:
            break
        try:
            server.wait(_END_S)
        except subprocess.TimeoutExpired:
            continue
    server.wait()
    if server.stdin:
        server.stdin.close()
