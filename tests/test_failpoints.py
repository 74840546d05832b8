from __future__ import annotations

import subprocess
import sys

import pytest

from hepfm import failpoints
from hepfm.failpoints import FailpointError, failpoint


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(failpoints, "_passed", type(failpoints._passed)())


def test_raises_the_nth_time_alone(monkeypatch):
    monkeypatch.setenv("HEPFM_FAILPOINT", "elsewhere:1:raise,here:2:raise")
    failpoint("here")
    with pytest.raises(FailpointError, match="here:2"):
        failpoint("here")
    failpoint("here")


def test_only_the_named_rank_is_meant(monkeypatch):
    monkeypatch.setenv("HEPFM_FAILPOINT", "here@1:1:raise")
    monkeypatch.setenv("RANK", "0")
    failpoint("here")
    failpoints._passed.clear()
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(FailpointError):
        failpoint("here")


def test_kills_the_process_without_a_chance_to_clean_up():
    script = """
import os
os.environ["HEPFM_FAILPOINT"] = "here:1:kill"
from hepfm.failpoints import failpoint
try:
    failpoint("here")
finally:
    print("cleaned up")
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == -9
    assert done.stdout == ""


def test_an_unknown_action_is_refused(monkeypatch):
    monkeypatch.setenv("HEPFM_FAILPOINT", "here:1:explode")
    with pytest.raises(ValueError, match="explode"):
        failpoint("here")
