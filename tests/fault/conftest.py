"""What the tests of faults share: runs as the tests of training make them, the command line as a user's."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def _module(path):
    spec = importlib.util.spec_from_file_location(f"shared_{path.parent.name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


_training = _module(HERE.parent / "training" / "conftest.py")
_command_line = _module(HERE.parent / "integration" / "conftest.py")

store, make_run, figures, run_ranks = (
    _training.store,
    _training.make_run,
    _training.figures,
    _training.run_ranks,
)
hepfm, losses_, small = _command_line.hepfm, _command_line.losses_, _command_line.small


@pytest.fixture
def fail_at(monkeypatch):
    """``fail_at("after-step:2:raise")``: what happens in this process, counted from now on; none for nothing."""

    def set_to(point=None):
        monkeypatch.setattr("hepfm.failpoints._passed", Counter())
        if point is None:
            monkeypatch.delenv("HEPFM_FAILPOINT", raising=False)
        else:
            monkeypatch.setenv("HEPFM_FAILPOINT", point)

    return set_to


@pytest.fixture
def train_on_two(run_ranks, tmp_path):
    """Trains a request as two ranks, each a process; returns their exit codes and what they wrote."""

    def launch(request, **env):
        path = tmp_path / "request.json"
        path.write_text(json.dumps(request.to_json()))
        codes, output, _ = run_ranks("train_rank.py", [path], tmp_path, world=2, env=env)
        return codes, "\n".join(output)

    return launch


@pytest.fixture
def mounted():
    """``mounted(folder, size)``: a file system of so many bytes in place of a folder; needs the right to mount."""
    folders = []

    def mount(folder, size):
        options = ["mount", "-t", "tmpfs", "-o", f"size={size}", "hepfm-test", str(folder)]
        if subprocess.run(options, check=False, capture_output=True).returncode:
            pytest.skip("file systems may not be mounted here")
        folders.append(folder)

    yield mount
    for folder in folders:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
