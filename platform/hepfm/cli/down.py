"""``hepfm down``: end the local services of a folder of runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hepfm.cli.launch import Runs
from hepfm.errors import HepfmError

if TYPE_CHECKING:
    from hepfm.jobs.client import Dashboard

_CHECKPOINT_S = 120.0
_POLL_S = 0.5


def down(
    *,
    out: Runs = Path("runs"),
    force: Annotated[
        bool, typer.Option("--force", help="Also where jobs run: they save a checkpoint and end.")
    ] = False,
) -> None:
    """End what `hepfm up` started for a folder of runs, and nothing else."""
    from hepfm.jobs.client import OWN, Dashboard
    from hepfm.jobs.services import recorded, running, stop

    if recorded(out) is None:
        typer.echo(f"No services run for {out.resolve()}.", err=True)
        if not (out / "services.json").exists():  # else of before the machine's boot: removed below
            return
    elif services := running(out):
        _end_jobs(Dashboard(services.ray_dashboard, OWN, answer_s=5.0), force=force)
    stop(out, say=_say)


def _end_jobs(dashboard: Dashboard, *, force: bool) -> None:
    """Has jobs save a checkpoint and end; `HepfmError` where some run, and that is not wanted."""
    from hepfm.tracking.runs import RunDir

    try:
        live, programs = _live(dashboard), dashboard.drivers()
    except HepfmError as error:
        if force:
            return
        raise HepfmError(
            "Ray does not say whether jobs run",
            where=error.where,
            fix="try again; or end it all the same: hepfm down --force",
        ) from error
    if (live or programs) and not force:
        counts = {"job": len(live), "program": len(programs)}
        what = [f"{count} {kind}{'s' * (count != 1)}" for kind, count in counts.items() if count]
        raise HepfmError(
            f"{' and '.join(what)} would end",
            where="; ".join(
                [*(f"{name} ({job['status'].lower()})" for name, job in live.items()), *programs]
            ),
            fix="wait for their end (hepfm job wait JOB); or hepfm down --force: jobs save a checkpoint "
            "first, programs that were started by hand lose their Ray",
        )
    late = live
    try:
        for name, job in live.items():
            _say(f"Stopping {name} ...")
            dashboard.stop(job["submission_id"])
        end = time.monotonic() + _CHECKPOINT_S
        while (late := _live(dashboard)) and time.monotonic() < end:
            time.sleep(_POLL_S)
    except HepfmError as error:  # Ray ends all the same
        _say(f"Ray does not answer any more: {error.what}")
    for name, job in live.items():
        folder = job["metadata"].get("hepfm.run_dir")
        saved = RunDir(Path(folder)).newest_checkpoint if folder else None
        how = "did not end in time" if name in late else "ended"
        _say(f"{name} {how}" + (f"; saved: {saved}" if saved else ""))


def _live(dashboard: Dashboard) -> dict[str, dict[str, Any]]:
    """The jobs that wait or run, by the name of their run, else by their id."""
    from hepfm.jobs.checks import live

    jobs = [job | {"metadata": job["metadata"] or {}} for job in dashboard.jobs() if live(job)]
    return {job["metadata"].get("hepfm.run", job["submission_id"]): job for job in jobs}


def _say(sentence: str) -> None:
    typer.echo(sentence, err=True)
