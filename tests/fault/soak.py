"""Kills a small real training at random moments, resumes it each time, and compares it with an undisturbed one.

From the repository's root: ``python -m tests.fault.soak --kills 100 [--seed S] [--workers 1|2] [--report FILE]``.

Every attempt is a process of its own, as a user's, and gets a kill -9 (one in six: a SIGTERM) at a moment that
the seed draws: in start-up, between steps, in a step, in a validation, in the writing of a checkpoint. When a
run comes to its end, the next one begins, until there were as many kills as asked for. Counted as bad:

- an attempt that ends in another way than the kill, exit code 0, or 75 after SIGTERM;
- one that does not go on from the newest complete checkpoint, or of which 2 K steps were lost or more: K to the
  next checkpoint, and less than K while that one was being written;
- a run whose losses, weights, position in the data or record in MLflow differ from golden in a single bit.
"""

# ruff: noqa: T201  a report is printed

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

STEPS = 120
EVERY = 6
"""K: a checkpoint each so many steps."""
SETS = (
    "model.backbone.d_model=32",
    "model.backbone.n_layers=1",
    "model.backbone.n_heads=2",
    "objective.decoder_layers=1",
    "objective.decoder_heads=2",
    "data.batch_cost=6000",
    "data.micro_batch_cost=3000",
    f"train.steps={STEPS}",
    "train.warmup_steps=5",
    "train.ema_decay=0.9",
    "train.validate_every=20",
    "train.validate_events=8",
    "train.marginal_events=16",
    f"checkpoint.every={EVERY}",
    "tracking.displays=0",
)
COMPARED = ("train/loss", "grad_norm", "lr", "val/loss", "val/loss_baseline", "train/bad_steps")


@dataclass
class Report:
    """What happened, and what should not have."""

    kills: int = 0
    moments: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    bad: list[str] = field(default_factory=list)
    lost_steps: list[int] = field(default_factory=list)
    first_step_s: list[float] = field(default_factory=list)
    rss_mib: list[float] = field(default_factory=list)
    open_files: list[int] = field(default_factory=list)
    effective: list[float] = field(default_factory=list)


class Soak:
    """Runs in a folder, all of one recipe."""

    def __init__(self, folder: Path, seed: int, workers: int) -> None:
        self.folder, self.workers = folder, workers
        self.draw = random.Random(seed)
        self.report = Report()
        self.golden: dict[str, object] = {}
        self.startup_s = self.steps_s = 0.0
        self.expected = (folder, 0, 0)

    # One attempt ---------------------------------------------------------------------------------------

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """``hepfm`` with this command, as one process or under torchrun."""
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={self.workers}"]
        how = torchrun if self.workers > 1 else []
        where = [] if self.workers > 1 else ["--in-process"]
        with (self.folder / "said.txt").open("ab") as said:
            return subprocess.Popen(
                [sys.executable, *how, "-m", "hepfm", *command, *where],
                cwd=self.folder,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def begin(self, name: str) -> tuple[subprocess.Popen[bytes], Path]:
        """A new run."""
        sets = [flag for value in SETS for flag in ("--set", value)]
        before = set(self.folder.glob("runs/*/"))
        process = self.start("pretrain", "image3d/masked-tiny", "--name", name, *sets)
        while not (new := set(self.folder.glob("runs/*/run.json")) - {run / "run.json" for run in before}):
            if process.poll() is not None:
                raise SystemExit(f"it does not start: {(self.folder / 'said.txt').read_text()[-2000:]}")
            time.sleep(0.02)
        return process, new.pop().parent

    def disturb(self, process: subprocess.Popen[bytes], run: Path, after: int) -> str | None:
        """Kills the process at a random moment; returns with what, or None where it ended before."""
        name = "SIGTERM" if self.draw.random() < 1 / 6 else "SIGKILL"
        moment = self.draw.random() * self.startup_s
        if self.draw.random() > 1 / 4:
            moment = self.startup_s + self.draw.random() * 0.7 * self.steps_s
        began, first = time.monotonic(), None
        while time.monotonic() - began < moment and process.poll() is None:
            time.sleep(0.01)
            if first is None and last_step(run) > after:
                first = time.monotonic() - began
                self.report.first_step_s.append(first)
        if process.poll() is not None:
            return None
        with contextlib.suppress(psutil.Error):
            look = psutil.Process(process.pid)
            if first is not None and self.workers == 1:
                self.report.rss_mib.append(look.memory_info().rss / 2**20)
                self.report.open_files.append(look.num_fds())
        if name == "SIGTERM":
            process.terminate()
        elif self.workers > 1 and self.draw.random() < 0.5:  # one rank alone; torchrun ends the others
            with contextlib.suppress(psutil.Error, IndexError):
                psutil.Process(process.pid).children()[-1].kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        return name

    def wait(self, process: subprocess.Popen[bytes]) -> int:
        """The exit code; nothing of the attempt is left afterwards."""
        code = process.wait(timeout=600)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        return code

    # One run -------------------------------------------------------------------------------------------

    def whole(self) -> None:
        """The run that nothing disturbs; how long its parts take, too."""
        began = time.monotonic()
        process, run = self.begin("golden")
        while last_step(run) < 1 and process.poll() is None:
            time.sleep(0.02)
        self.startup_s = time.monotonic() - began
        if self.wait(process):
            raise SystemExit(f"golden failed: {(self.folder / 'said.txt').read_text()[-2000:]}")
        self.steps_s = time.monotonic() - began - self.startup_s
        self.golden = outcome(run)

    def disturbed(self, number: int, kills: int) -> None:
        """A run that is killed and resumed until it is done."""
        process, run = self.begin(f"soak-{number}")
        bad, resumed_from = self.report.bad, 0
        while True:
            how = self.disturb(process, run, last_step(run)) if self.report.kills < kills else None
            code = self.wait(process)
            if how is None or code == 0:
                if code:
                    bad.append(f"{run.name}: exit code {code} without a kill")
                break
            self.report.kills += 1
            if code not in {-signal.SIGKILL, -signal.SIGTERM, 75} and self.workers == 1:
                bad.append(f"{run.name}: exit code {code} after {how}")
            reached, newest = last_step(run), newest_complete(run)
            self.report.moments[f"{how} {moment(run, reached > resumed_from)}"] += 1
            self.report.lost_steps.append(reached - newest)
            if reached - newest >= (2 * EVERY if how == "SIGKILL" else 1) and code != -signal.SIGTERM:
                bad.append(f"{run.name}: {reached - newest} steps lost to {how}")
            self.check_start(run)
            self.expected = (
                run,
                (run / "log.txt").stat().st_size if (run / "log.txt").exists() else 0,
                newest,
            )
            process = self.start("resume", run.name)
            resumed_from = reached
        self.check_start(run)
        if outcome(run) != self.golden:
            wrong = [key for key, value in outcome(run).items() if self.golden[key] != value]
            bad.append(f"{run.name}: {', '.join(wrong)} differ from golden")
        self.report.runs += 1
        self.report.effective.append(json.loads((run / "run.json").read_text())["effective_time"])

    def check_start(self, run: Path) -> None:
        """Compares what an attempt said that it goes on from, if it lived so long, with what it should."""
        resumed, size, newest = self.expected
        if resumed != run:
            return  # the first attempt
        with (run / "log.txt").open("rb") as log:
            log.seek(size)
            lines = log.read().decode(errors="replace").splitlines()
        said = [line for line in lines if "going on from" in line]
        if said and f"step-{newest:08d}" not in said[0]:
            self.report.bad.append(f"{run.name}: {said[0]}; the newest complete one is of step {newest}")


def last_step(run: Path) -> int:
    """Of the metrics."""
    path = run / "metrics.jsonl"
    if not path.exists():
        return 0
    for line in reversed(path.read_bytes().splitlines(keepends=True)):
        if line.endswith(b"\n"):
            return int(json.loads(line)["step"])
    return 0


def newest_complete(run: Path) -> int:
    """Step of the newest checkpoint whose files all have the sizes of their manifest; by this module's own look."""
    for folder in sorted((run / "checkpoints").glob("step-*"), reverse=True):
        files = json.loads((folder / "manifest.json").read_text())["files"]
        if all((folder / name).stat().st_size == entry["bytes"] for name, entry in files.items()):
            return int(folder.name.removeprefix("step-"))
    return 0


def moment(run: Path, stepped: bool) -> str:
    """What was cut short."""
    if list((run / "checkpoints").glob(".step-*")):
        return "writing a checkpoint"
    return "between steps" if stepped else "starting"


def outcome(run: Path) -> dict[str, object]:
    """All that must be the same, bit for bit."""
    from mlflow import MlflowClient

    figures: dict[str, dict[int, float]] = {name: {} for name in COMPARED}
    doubled = []
    for line in (run / "metrics.jsonl").read_bytes().splitlines():
        entry = json.loads(line)
        for name in figures.keys() & entry["metrics"].keys():
            if entry["step"] in figures[name]:
                doubled.append((name, entry["step"]))
            figures[name][entry["step"]] = entry["metrics"][name]
    content = json.loads((run / "run.json").read_text())
    state = json.loads((Path(content["checkpoint"]) / "engine" / "state.json").read_text())
    client = MlflowClient(f"sqlite:///{run.parent / 'mlflow.db'}")
    history = [(m.step, m.value) for m in client.get_metric_history(content["run_id"], "train/loss")]
    return {
        "figures": figures,
        "lines that stand twice": doubled,
        "weights": content["weights_sha256"],
        "status": content["status"],
        "position in the data": state["cursor"],
        "record in MLflow": sorted(history),
    }


def quarters(values: list[float]) -> tuple[float, float]:
    """The median of the first and of the last quarter: what grows differs."""
    part = max(1, len(values) // 4)
    return (statistics.median(values[:part]), statistics.median(values[-part:])) if values else (0.0, 0.0)


def main(arguments: list[str] | None = None) -> int:
    """Soaks, prints a table, and returns 1 where anything was bad."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, choices=(1, 2), default=1)
    parser.add_argument("--report", type=Path, help="JSON")
    given = parser.parse_args(arguments)
    began = time.time()
    folder = Path(tempfile.mkdtemp(prefix="hepfm-soak-"))
    soak = Soak(folder, given.seed, given.workers)
    soak.whole()
    print(f"golden: {STEPS} steps in {soak.startup_s:.1f} + {soak.steps_s:.1f} s", flush=True)
    while soak.report.kills < given.kills:
        soak.disturbed(soak.report.runs + 1, given.kills)
        print(
            f"{soak.report.kills} kills, {soak.report.runs} runs, {len(soak.report.bad)} bad",
            flush=True,
        )
    found = soak.report
    rss, files = quarters(found.rss_mib), quarters([float(n) for n in found.open_files])
    result = {
        "kills": found.kills,
        "runs": found.runs,
        "bad": found.bad,
        "moments": dict(sorted(found.moments.items())),
        "checkpoint_every": EVERY,
        "lost_steps_most": max(found.lost_steps, default=0),
        "lost_steps_mean": round(statistics.mean(found.lost_steps or [0]), 2),
        "restart_to_step_s_median": round(statistics.median(found.first_step_s or [0.0]), 1),
        "rss_mib_first_and_last_quarter": [round(value) for value in rss],
        "open_files_first_and_last_quarter": [round(value) for value in files],
        "effective_time_median": round(statistics.median(found.effective or [0.0]), 3),
        "seed": given.seed,
        "workers": given.workers,
        "minutes": round((time.time() - began) / 60, 1),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
    }
    for key, value in result.items():
        print(f"{key.replace('_', ' '):<36}{value}")
    if given.report:
        given.report.write_text(json.dumps(result, indent=2) + "\n")
    if found.bad:
        print(f"what is bad is kept in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
