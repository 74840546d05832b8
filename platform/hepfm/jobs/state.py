"""How jobs do: what Ray knows of them, and what their runs' folders say where they are seen here."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hepfm.errors import RecipeError, Stopped, TrainingError, did_you_mean
from hepfm.jobs.checks import live
from hepfm.jobs.client import Dashboard, UnreachableError
from hepfm.tracking.runs import RunDir

_TAIL = 1 << 16
_POLL_S = 0.5
_PATIENCE_S = 20.0


class NotEndedError(TrainingError):
    """A job that goes on when the time to wait for it is over; its exit code is that of ``timeout``."""

    exit_code = 124


@dataclass(frozen=True)
class JobState:
    """A submitted run.

    Attributes:
        name: The run's name.
        job: Id of its newest job.
        status: Of the job, as Ray has it: PENDING, RUNNING, STOPPED, SUCCEEDED, FAILED.
        message: What Ray says of that.
        recipe: What was submitted.
        run_dir: The run's folder, on the cluster.
        started: When the job was submitted (seconds since 1970).
        ended: When it ended.
        run_status: Of the run, where its folder is seen here.
        reason: Why the run is so.
        step: Its newest step.
        steps: Its last one.
        val_loss: The newest validation loss.
        checkpoint: Name of its newest checkpoint.
        retries: How often its training was started again.
        restarts: How often workers of the run were, after the loss of some.
        exit_code: Of a job that ended.
    """

    name: str
    job: str
    status: str
    message: str
    recipe: str
    run_dir: str
    started: float
    ended: float | None
    run_status: str | None = None
    reason: str | None = None
    step: int | None = None
    steps: int | None = None
    val_loss: float | str | None = None
    checkpoint: str | None = None
    retries: int | None = None
    restarts: int | None = None
    exit_code: int | None = None

    @property
    def live(self) -> bool:
        """Whether the job waits or runs."""
        return live({"status": self.status})

    @property
    def run(self) -> RunDir | None:
        """The run's folder, where it is seen here."""
        run = RunDir(Path(self.run_dir))
        return run if (run.path / "run.json").is_file() else None


def states(dashboard: Dashboard) -> list[JobState]:
    """The runs that a cluster has jobs of, the newest job of each, in the order of submission."""
    newest: dict[str, dict[str, Any]] = {}
    for job in dashboard.jobs():
        if name := (job["metadata"] or {}).get("hepfm.run"):
            newest.pop(name, None)
            newest[name] = job
    return [_state(job) for job in newest.values()]


def find(dashboard: Dashboard, name: str) -> JobState:
    """The run of this name, or the one whose name begins so; `RecipeError` where there is not one."""
    known = {state.name: state for state in states(dashboard)}
    matches = [name] if name in known else [each for each in known if name and each.startswith(name)]
    if len(matches) == 1:
        return known[matches[0]]
    raise RecipeError(
        f"'{name}' could be {len(matches)} jobs." if matches else f"The cluster has no job '{name}'.",
        where=dashboard.address,
        fix=f"say which: {', '.join(matches)}"
        if matches
        else f"{did_you_mean(name, known)}; a cluster that was started anew has forgotten its jobs, and "
        "hepfm job resume NAME goes on with a run",
    )


def wait(dashboard: Dashboard, name: str, timeout_s: float | None = None) -> JobState:
    """Waits for the end of a job.

    Raises:
        NotEndedError: It has not ended in time.
        TrainingError: The cluster was lost.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while (state := patiently(dashboard, name)).live:
        if deadline is not None and time.monotonic() >= deadline:
            raise NotEndedError(
                f"The job {name} has not ended after {timeout_s:g} s; it goes on.",
                where=f"step {state.step} of {state.steps}" if state.step else state.status,
                fix=f"hepfm job wait {name}",
            )
        time.sleep(_POLL_S)
    return state


def patiently(dashboard: Dashboard, name: str) -> JobState:
    """The run's state; a dashboard that does not answer for some seconds is asked again.

    Raises:
        TrainingError: The cluster was lost.
    """
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return find(dashboard, name)
        except UnreachableError as error:
            if time.monotonic() > end:
                raise TrainingError(
                    f"The cluster was lost while the job {name} was on it. {error.what}",
                    where=dashboard.address,
                    fix=f"start it again (here: hepfm up); hepfm job resume {name} then goes on from its "
                    "newest checkpoint",
                ) from error
        time.sleep(_POLL_S)


def _state(job: dict[str, Any]) -> JobState:
    about = job["metadata"]
    state = JobState(
        name=about["hepfm.run"],
        job=job["submission_id"],
        status=job["status"],
        message=job["message"] or "",
        recipe=about.get("hepfm.recipe", ""),
        run_dir=about.get("hepfm.run_dir", ""),
        started=job["start_time"] / 1000,
        ended=job["end_time"] / 1000 if job["end_time"] else None,
    )
    code = job["driver_exit_code"]
    if not state.live and code is None:
        code = {"SUCCEEDED": 0, "STOPPED": Stopped.exit_code}.get(state.status, 1)
    seen: dict[str, Any] = {"exit_code": None if state.live else code}
    if run := state.run:
        with suppress(
            OSError, ValueError, KeyError, TypeError, yaml.YAMLError
        ):  # it may be written or removed at this moment
            seen |= _progress(run, state)
    return JobState(**(vars(state) | seen))


def _progress(run: RunDir, state: JobState) -> dict[str, Any]:
    content = run.json()
    job = content.get("job", {})
    seen = {
        "run_status": content["status"],
        "reason": content.get("reason"),
        "steps": yaml.safe_load(run.recipe_path.read_bytes())["train"]["steps"],
        "checkpoint": run.newest_checkpoint,
        "retries": job.get("retries"),
        "restarts": content.get("restarts"),
    }
    if not state.live:
        if content["status"] in {"created", "running"}:
            seen["run_status"] = "killed"
        if job.get("id") == state.job and job.get("exit_code") is not None:
            seen["exit_code"] = job["exit_code"]
    if run.metrics_path.exists():
        with run.metrics_path.open("rb") as file:
            file.seek(max(0, run.metrics_path.stat().st_size - _TAIL))
            lines = file.read().splitlines(keepends=True)
            if file.tell() > _TAIL:
                lines = lines[1:]  # a part of one, which may look like a whole one
        entries = [json.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}\n")]
        seen["step"] = max((entry["step"] for entry in entries), default=None)
        losses = [entry["metrics"]["val/loss"] for entry in entries if "val/loss" in entry["metrics"]]
        seen["val_loss"] = losses[-1] if losses else content.get("val_loss")
    return seen
