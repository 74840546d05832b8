"""A kill at any point of a checkpoint's writing: a partial one is never taken, and the run ends as if undisturbed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hepfm.training import checkpoint, saver
from hepfm.training.checkpoint import find_newest
from hepfm.training.worker import train

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings(
        "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
    ),
]

SAVE = """
import os, sys
from pathlib import Path
import torch
from hepfm.training.checkpoint import retain
from hepfm.training.ranks import Ranks
from hepfm.training.saver import Saver

saver = Saver(Path(sys.argv[1]), Ranks(rank=0, world=1, device=torch.device("cpu")))

for step in (1, 2, 3):
    files = {name: [os.urandom(100_000)] for name in ("engine/moments", "model")}
    saver.begin(step, files, lambda: {"val_loss": None})
    while saver.active:
        saver.advance()
    retain(Path(sys.argv[1]), keep=1, keep_best=0)
"""
POINTS = {
    "checkpoint-staged": 1,
    "checkpoint-begun": 1,
    "checkpoint-written": 1,
    "checkpoint-manifest": 1,
    "checkpoint-synced": 1,
    "checkpoint-renamed": 2,
    "checkpoint-removing": 3,
}
"""Failpoint to the step of the newest complete checkpoint, killed there the second time."""


def test_no_point_is_left_out():
    source = "".join(Path(module.__file__).read_text() for module in (checkpoint, saver))
    assert set(re.findall(r'failpoint\("([\w-]+)"\)', source)) == set(POINTS)


@pytest.mark.parametrize("point", POINTS)
def test_a_partial_checkpoint_is_never_taken(tmp_path, monkeypatch, point):
    monkeypatch.setenv("HEPFM_FAILPOINT", f"{point}:2:kill")
    killed = subprocess.run([sys.executable, "-c", SAVE, str(tmp_path)], check=False, timeout=120)
    assert killed.returncode == -9
    found, damaged = find_newest(tmp_path)
    assert damaged == []
    assert found == tmp_path / f"step-{POINTS[point]:08d}"
    monkeypatch.delenv("HEPFM_FAILPOINT")
    subprocess.run([sys.executable, "-c", SAVE, str(tmp_path)], check=True, timeout=120)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000003"]


@pytest.mark.parametrize("point", ["checkpoint-manifest", "checkpoint-renamed"])
def test_a_run_that_fails_there_goes_on_bitwise(make_run, figures, fail_at, point):
    golden, request = make_run()
    train(request)
    run, request = make_run()
    fail_at(f"{point}:2:raise")
    with pytest.raises(RuntimeError, match="failpoint"):
        train(request)
    fail_at()
    train(request)
    for name in ("train/loss", "grad_norm", "val/loss"):
        assert figures(run, name) == figures(golden, name)
    assert run.json()["weights_sha256"] == golden.json()["weights_sha256"]
