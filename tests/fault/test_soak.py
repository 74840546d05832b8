"""The soak itself, with few kills; a hundred are for `docs/reliability.md`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_three_kills_leave_no_trace_in_the_result(tmp_path):
    report = tmp_path / "report.json"
    command = [
        sys.executable,
        "-m",
        "tests.fault.soak",
        "--kills",
        "3",
        "--seed",
        "5",
        "--report",
        str(report),
    ]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=850)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text())
    assert found["kills"] == 3
    assert found["runs"] >= 1
    assert found["bad"] == []
    assert found["lost_steps_most"] <= found["checkpoint_every"]
