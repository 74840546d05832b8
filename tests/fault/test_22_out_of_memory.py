"""Memory that runs out: the error names rank, memory and batch, and what to lower."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from hepfm.training.checkpoint import verify

SCRIPT = """
import json, resource, sys
from pathlib import Path
import psutil, torch
from hepfm.errors import HepfmError
from hepfm.training import loop
from hepfm.training.request import TrainRequest
from hepfm.training.worker import train

torch.set_num_threads(1)
step = loop.train_step

def in_little_memory(*args, **options):
    # From the first step with a checkpoint on, this process may have no more memory than it has.
    if list(checkpoints.glob("step-*")):
        now = psutil.Process().memory_info().vms
        resource.setrlimit(resource.RLIMIT_AS, (now + (1 << 20), resource.RLIM_INFINITY))
        torch.zeros(1 << 28) if sys.argv[2] == "torch" else bytearray(1 << 30)
    return step(*args, **options)

request = TrainRequest.from_json(json.loads(Path(sys.argv[1]).read_text()))
checkpoints = Path(request.run_dir) / "checkpoints"
loop.train_step = in_little_memory
try:
    train(request)
except HepfmError as error:
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(f"{type(error).__name__}: {error}", flush=True)
"""


def check(make_run, tmp_path: Path, what: str) -> None:
    run, request = make_run(train__steps=50, checkpoint__every=2)
    path = tmp_path / "request.json"
    path.write_text(json.dumps(request.to_json()))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path), what],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert re.search(r"TrainingError: Rank 0 ran out of memory in step \d+\.", done.stdout), (
        done.stdout + done.stderr
    )
    assert "this process holds" in done.stdout
    assert "GiB are free; batch of" in done.stdout
    assert "in micro-batches of up to" in done.stdout
    assert "lower data.micro_batch_cost (now 2500)" in done.stdout
    assert run.json()["status"] == "failed"
    assert "ran out of memory" in run.json()["reason"]
    verify(Path(run.json()["checkpoint"]))  # one that was begun before is completed, or not there


def test_of_torch(make_run, tmp_path):
    check(make_run, tmp_path, "torch")


def test_of_python(make_run, tmp_path):
    check(make_run, tmp_path, "python")
