# ruff: noqa: INP001
"""What pretraining is worth on the Geant4 sample: probes, few labels, all labels, particles.

Each step is a command that a user would give. Runs that are done stay, so it can be stopped and goes on.
Labels are of training events, settings were chosen on validation events, figures are of test events.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLASSES = ("shower", "track", "Michel", "delta", "LED")
PRETRAINING, SEMANTIC, PARTICLES = "image3d/masked-hour", "tasks/semantic-hour", "tasks/particles-hour"


@dataclass(frozen=True)
class Commands:
    """hepfm's commands, with what all of them are told.

    Attributes:
        sample: Folder of train, val and test.
        runs: Folder of runs.
        overrides: Of each training, ``key=value``.
    """

    sample: Path
    runs: Path
    overrides: Sequence[str]

    def __call__(self, command: str, *arguments: Any) -> dict[str, Any]:
        """What a command says as JSON, and the minutes of processor time that it took."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        line = [sys.executable, "-m", "hepfm", command, *map(str, arguments), "--json"]
        done = subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told | {"processor_minutes": round(used / 60, 2)}

    def train(self, name: str, command: str, *arguments: Any) -> dict[str, Any]:
        """A training under a name, unless it is done; ``run_dir`` is its folder."""
        noted = self.runs / f"{name}.json"
        if noted.exists():
            return dict(json.loads(noted.read_text(encoding="utf-8")))
        data = [f"data.train={self.sample / 'train'}", f"data.val={self.sample / 'val'}"]
        settings = [item for each in (*data, *self.overrides) for item in ("--set", each)]
        options = ("--in-process", "--name", name, "--out", self.runs, *settings)
        told = self(command, *arguments, *options)
        noted.write_text(json.dumps(told), encoding="utf-8")
        return told

    def test(self, run: str) -> dict[str, Any]:
        """Figures of a run's task on the test events: name to value and ends of the interval."""
        told = self("evaluate", run, "--data", self.sample / "test", "--name", "results", "--out", self.runs)
        return {name: between(figure) for name, figure in told["figures"].items()}


def between(figure: Mapping[str, float]) -> list[float]:
    """Value, low and high."""
    return [round(figure[end], 4) for end in ("value", "low", "high") if end in figure]


def main(
    data: Path, out: Path, overrides: list[str], *, few: Sequence[int] = (10, 30, 100, 300, 1000)
) -> dict[str, Any]:
    """Pretrains, probes, fine-tunes with few labels and all of them, and groups voxels to particles."""
    commands = Commands(data / "geant4_lartpc", out / "runs", overrides)
    commands.runs.mkdir(parents=True, exist_ok=True)
    splits = [item for name in ("train", "val", "test") for item in (f"--{name}", commands.sample / name)]
    pretrained = commands.train("geant4", "pretrain", PRETRAINING)
    run = pretrained["run_dir"]
    probed = commands(
        "probe", run, "--task", "semantic", "--untrained", "--events", min(150, max(few)), *splits
    )
    settings = [item for each in overrides if not each.startswith("train.steps") for item in ("--set", each)]
    steps = [each.split("=")[1] for each in overrides if each.startswith("train.steps")]
    curve = commands(
        "fewshot", run, "--task", "semantic", "--recipe", SEMANTIC, "--in-process", "--no-probe",
        "--events", ",".join(map(str, few)), "--seeds", "1", *splits, "--out", commands.runs,
        *(["--updates", steps[0]] if steps else []), *settings,
    )  # fmt: skip
    grouped = commands.train("geant4-particles", "finetune", run, "--recipe", PARTICLES)
    return {
        "recipe": PRETRAINING,
        "steps": pretrained["steps"],
        "pretraining_minutes": pretrained["processor_minutes"],
        "probe": {
            arm: {name: between(figure) for name, figure in probed["figures"][arm].items()}
            for arm in ("untrained", "pretrained")
        },
        "curves": {
            name: {
                str(point["events"]): {key: between(value) for key, value in point["figures"].items()}
                for point in points
            }
            for name, points in (
                *curve["curves"].items(),
                *((f"gain-{k}", v) for k, v in curve["gain"].items()),
            )
        },
        "curve_minutes": curve["processor_minutes"],
        "particles": commands.test(grouped["run_dir"]),
        "particles_steps": grouped["steps"],
        "particles_minutes": grouped["processor_minutes"],
    }
