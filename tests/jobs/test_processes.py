"""What belongs to a service is found and ended whole; whatever else bears its pid is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from hepfm.jobs import processes

# A leader with a child that ignores SIGTERM, one in a session of its own, and one of that whose parent has ended.
FAMILY = """
import signal, subprocess, sys, time
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE)
child.stdout.readline()
subprocess.Popen(["sleep", "601"], start_new_session=True)
subprocess.run(["sh", "-c", "sleep 602 & exit"], start_new_session=True)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def family(tmp_path: Path):
    log = tmp_path / "log"
    leader = processes.start([sys.executable, "-c", FAMILY], os.environ, log)
    deadline = time.monotonic() + 30
    while "ready" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert log.stat().st_mode & 0o777 == 0o600
    found = leader.members()
    yield leader, found
    for process in found:
        if process.is_running():
            process.kill()


def test_all_of_a_family_are_found_and_ended(family) -> None:
    leader, found = family
    assert leader.alive
    assert len(found) == 4
    commands = {" ".join(process.cmdline()) for process in found}
    assert {"sleep 601", "sleep 602"} < commands
    leader.end(grace_s=0.5)
    assert not leader.alive
    assert not [process for process in found if process.is_running() and process.status() != "zombie"]


def test_a_family_is_found_after_its_leaders_death(family) -> None:
    leader, found = family
    psutil.Process(leader.pid).kill()
    psutil.Process(leader.pid).wait()
    assert not leader.alive
    assert {process.pid for process in leader.members()} == {process.pid for process in found} - {leader.pid}
    leader.end(grace_s=0.5)
    assert leader.members() == []


def test_a_pid_that_was_used_again_is_left_alone(family) -> None:
    stranger, found = family
    earlier = replace(stranger, started=stranger.started - 1, mark="another")
    assert not earlier.alive
    assert earlier.members() == []
    earlier.end(grace_s=0.1)
    assert all(process.is_running() for process in found)


def test_ended_but_not_yet_waited_for_is_not_alive(tmp_path: Path) -> None:
    child = subprocess.Popen(["true"])
    ticks = processes._start_ticks(child.pid)
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert not processes.Leader(child.pid, ticks, "mark").alive
    child.wait()
