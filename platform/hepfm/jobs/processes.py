"""Processes that outlive the command that started them, known for sure by pid and time of start (Linux)."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

MARK = "HEPFM_SERVICE"
"""Variable that a service's processes inherit, also where they make sessions of their own."""

_GONE = (psutil.Error, OSError)


@dataclass(frozen=True)
class Leader:
    """The first process of a service, the leader of its own session.

    Attributes:
        pid: Its process id, and its session's.
        started: Clock ticks from the machine's boot to its start: a pid is used again, both together are not.
        mark: What `MARK` is in the environment of the service's processes.
    """

    pid: int
    started: int
    mark: str

    @property
    def alive(self) -> bool:
        with suppress(*_GONE):
            same = _start_ticks(self.pid) == self.started
            return same and psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE
        return False

    def members(self) -> list[psutil.Process]:
        """The service's living processes, also after their leader's death.

        They are of its session, or bear its mark, or descend from such.
        """
        # While a session lives, its leader's pid is given to nobody else.
        session_may_live = self.alive or not psutil.pid_exists(self.pid)
        found = set()
        for process in psutil.process_iter():
            with suppress(*_GONE):
                if process.uids().real != os.getuid():
                    continue
                in_session = os.getsid(process.pid) == self.pid and _start_ticks(process.pid) >= self.started
                if (session_may_live and in_session) or _mark(process) == self.mark:
                    found |= {process, *process.children(recursive=True)}
        return [process for process in found if process.pid != os.getpid() and _lives(process)]

    def end(self, grace_s: float) -> None:
        """Ends the service with all its processes.

        Args:
            grace_s: How long the leader may take to end all others, and then how long each may take to end
                itself before it is killed.
        """
        members = self.members()
        if self.alive:
            _signal(members, "terminate", only=self.pid)
            psutil.wait_procs(members, grace_s)
        for how in ("terminate", "kill", "kill"):  # twice: one may have been started in between
            members = self.members()
            _signal(members, how)
            psutil.wait_procs(members, grace_s)


def start(command: list[str], environment: Mapping[str, str], log: Path) -> Leader:
    """Starts a service in a session of its own, which survives the shell.

    Args:
        command: What to run.
        environment: Its whole environment, without the mark.
        log: The file with its output, made anew, for the user alone.
    """
    mark = secrets.token_hex(8)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    try:
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            env={**environment, MARK: mark},
            start_new_session=True,
        )
    finally:
        os.close(descriptor)
    started = _start_ticks(process.pid)
    process.returncode = 0  # it is not this process's to wait for
    return Leader(process.pid, started, mark)


def machine() -> dict[str, str]:
    """Where and since when pids mean what they do: the host, its boot, and the namespace of pids."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {"host": socket.gethostname(), "boot": boot, "pids": str(Path("/proc/self/ns/pid").readlink())}


def _start_ticks(pid: int) -> int:
    # Not psutil's create_time, which moves with the clock. The name, in brackets, may hold anything.
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def _mark(process: psutil.Process) -> str | None:
    try:
        value: str | None = process.environ().get(MARK)
    except _GONE:
        return None  # a privileged program of the user's
    return value


def _lives(process: psutil.Process) -> bool:
    with suppress(*_GONE):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _signal(processes: list[psutil.Process], how: str, only: int | None = None) -> None:
    for process in processes:
        with suppress(psutil.Error):
            if only in {None, process.pid}:
                getattr(process, how)()
