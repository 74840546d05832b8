"""The command line as a user runs it, in an empty folder, on a model that is small enough to run often."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SMALL = (
    "model.backbone.d_model=32",
    "model.backbone.n_layers=2",
    "model.backbone.n_heads=2",
    "objective.decoder_layers=1",
    "objective.decoder_heads=2",
    "data.batch_cost=12000",
    "data.micro_batch_cost=3000",
    "train.warmup_steps=2",
    "train.validate_every=4",
    "train.validate_events=8",
    "train.marginal_events=16",
    "checkpoint.every=3",
    "tracking.displays=0",
)


@dataclass(frozen=True)
class Hepfm:
    """Runs ``hepfm`` in a folder of its own."""

    folder: Path

    def start(self, *args: str, sets: tuple[str, ...] = (), **env: str) -> subprocess.Popen[str]:
        flags = [flag for value in sets for flag in ("--set", value)]
        return subprocess.Popen(
            [sys.executable, "-m", "hepfm", *args, *flags],
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(
        self, *args: str, sets: tuple[str, ...] = (), **env: str
    ) -> subprocess.CompletedProcess[str]:
        with self.start(*args, sets=sets, **env) as process:
            out, err = process.communicate(timeout=600)
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def pretrain(self, *args: str, sets: tuple[str, ...] = (), **env: str) -> dict[str, Any]:
        """A small run to its end; what it printed as JSON."""
        return self.result(self("pretrain", "image3d/masked-tiny", "--json", *args, sets=SMALL + sets, **env))

    def result(self, done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
        """The JSON on the last line of standard output."""
        assert done.returncode == 0, done.stdout + done.stderr
        content: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return content

    @property
    def runs(self) -> list[Path]:
        """All runs' folders, oldest first."""
        return sorted((path.parent for path in self.folder.glob("runs/*/run.json")), key=os.path.getctime)


def losses(run_dir: str | Path) -> dict[int, dict[str, float]]:
    """Step to the figures that may not depend on how a run went: losses, gradient norm, learning rate."""
    figures: dict[int, dict[str, float]] = {}
    for line in (Path(run_dir) / "metrics.jsonl").read_text().splitlines():
        entry = json.loads(line)
        kept = {k: v for k, v in entry["metrics"].items() if k.startswith(("train/", "val/", "lr", "grad"))}
        step = figures.setdefault(entry["step"], {})
        assert not step.keys() & kept.keys(), f"step {entry['step']} stands twice"
        step.update(kept)
    return figures


@pytest.fixture
def hepfm(tmp_path: Path) -> Hepfm:
    return Hepfm(tmp_path)


@pytest.fixture(name="losses")
def losses_() -> Any:
    return losses


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """Overrides of image3d/masked-tiny: seconds a run, with several micro-batches in a step."""
    return SMALL
