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

VALIDATED = ("train.validate_every=200", "train.validate_events=60", "train.patience=5")
LONGER = 12_000
"""Steps of a second pretraining: three times those of the recipe."""
CURVES = {
    "few": (100, ["--updates", "1000", "--converge", "3000"]),
    "fewer": (30, ["--updates", "1000"]),
    "all": (1000, ["--updates", "2500"]),
}
"""Few-shot curves: labelled events, and how long is trained."""
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
        options = ("--in-process", "--name", name, "--runs", self.runs, *self.settings(*data))
        told = self(command, *arguments, *options)
        noted.write_text(json.dumps(told), encoding="utf-8")
        return told

    def settings(self, *more: str) -> list[str]:
        """Options that set values of a recipe."""
        return [item for each in (*more, *self.overrides) for item in ("--set", each)]

    @property
    def splits(self) -> list[str]:
        """Options that name the events."""
        return [item for name in ("train", "val", "test") for item in (f"--{name}", str(self.sample / name))]

    def probe(self, run: str, labelled: int, *options: str) -> dict[str, Any]:
        """Figures of a linear probe of voxels' classes, for each of its arms."""
        asked = ("--task", "semantic", "--events", labelled, *options, "--runs", self.runs, *self.splits)
        told = self("probe", run, *asked)
        return {arm: betweens(figures) for arm, figures in told["figures"].items()}

    def curve(self, run: str, name: str) -> dict[str, Any]:
        """Figures of one of `CURVES`: of a run fine-tuned and of one from scratch."""
        events, updates = CURVES[name]
        if any(each.startswith("train.steps=") for each in self.overrides):
            events, updates = 4, ["--updates", "2"]
        told = self(
            "fewshot", run, "--task", "semantic", "--recipe", SEMANTIC, "--name", f"fewshot-{name}",
            "--events", events, *updates, "--seeds", 1, "--no-probe", "--in-process", "--runs", self.runs,
            *self.splits, *self.settings(*VALIDATED),
        )  # fmt: skip
        return of_curve(told)

    def test(self, run: str) -> dict[str, Any]:
        """Figures of a run's task on the test events: name to value and ends of the interval."""
        told = self("evaluate", run, "--data", self.sample / "test", "--name", "results", "--runs", self.runs)
        return betweens(told["figures"])


def main(
    data: Path, out: Path, overrides: list[str], *, labelled: int = 150
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Pretrains, probes, fine-tunes with few labels and with all of them, and groups voxels to particles.

    Gives figures, and nothing for a picture: those are of hepfm's commands, in the runs.

    Args:
        data: Folder of real data.
        out: Folder of runs.
        overrides: Further ``key=value`` of each training.
        labelled: Events that the probe is fitted to.
    """
    commands = Commands(data / "geant4_lartpc", out, overrides)
    pretrained = commands.train("geant4", "pretrain", PRETRAINING)
    longer = commands.train("geant4-longer", "pretrain", PRETRAINING, "--set", f"train.steps={LONGER}")
    run = pretrained["run_dir"]
    grouped = commands.train("geant4-particles", "finetune", run, "--recipe", PARTICLES)
    figures = {
        **of_pretraining(pretrained),
        "probe": commands.probe(run, labelled, "--untrained"),
        **{name: commands.curve(run, name) for name in CURVES},
        "particles": commands.test(grouped["run_dir"]),
        "particles_minutes": grouped["processor_minutes"],
        "longer": {
            **of_pretraining(longer),
            "probe": commands.probe(longer["run_dir"], labelled),
            **{name: commands.curve(longer["run_dir"], name) for name in ("few", "fewer")},
        },
    }
    return figures, {}


def of_pretraining(told: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says of a pretraining."""
    return {
        "recipe": PRETRAINING,
        "steps": told["steps"],
        "validation_loss": round(float(told["val_loss"]), 4),
        "validation_loss_without_learning": round(float(told["val_loss_baseline"]), 4),
        "training_events": told["effective"]["train_events"],
        "held_out_events": told["effective"]["val_events"],
        "processor_minutes": told["processor_minutes"],
    }


def of_curve(told: Mapping[str, Any]) -> dict[str, Any]:
    """Curve to figures, of a few-shot curve at one number of events."""
    named = {**told["curves"], **{f"gain-{count}": points for count, points in told["gain"].items()}}
    return {name: betweens(points[0]["figures"]) for name, points in named.items()}


def betweens(figures: Mapping[str, Mapping[str, float]]) -> dict[str, list[float]]:
    """Name to value, low and high."""
    return {
        name: [round(figure[end], 4) for end in ("value", "low", "high") if end in figure]
        for name, figure in figures.items()
    }
