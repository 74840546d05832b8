"""``hepfm down``: end the local services of a folder of runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hepfm.cli.launch import Out
from hepfm.errors import HepfmError

if TYPE_CHECKING:
    from hepfm.jobs.client import Dashboard

_CHECKPOINT_S = 120.0
_POLL_S = 0.5


def down(
    *,
    out: Out = Path("runs"),
    force: Annotated[
        bool, typer.Option("--force", help="Also where jobs run: they save a checkpoint and end.")
    ] = False,
) -> None:
    """End what `hepfm up` started for a folder of runs, and nothing else."""
    from hepfm.jobs.client import Dashboard
    from hepfm.jobs.services import recorded, running, stop

    if recorded(out) is None:
        typer.echo(f"No services run for {out.resolve()}.", err=True)
    elif services := running(out):
        _end_jobs(Dashboard(services.ray_dashboard, "hepfm up", answer_s=5.0), force=force)
    stop(out, say=_say)


def _end_jobs(dashboard: Dashboard, *, force: bool) -> None:
    """Has jobs save a checkpoint and end; `HepfmError` where some run, and that is not wanted."""
    from hepfm.jobs.state import states

    try:
        live = [state for state in states(dashboard) if state.live]
        programs = dashboard.drivers()
    except HepfmError as error:
        if force:
            return
        raise HepfmError(
            "Ray does not say whether jobs run",
            where=error.where,
            fix="try again; or end it all the same: hepfm down --force",
        ) from error
    if (live or programs) and not force:
        names = [*(f"{state.name} ({state.status.lower()})" for state in live), *programs]
        raise HepfmError(
            f"{len(names)} job{'s' * (len(names) != 1)} would end",
            where="; ".join(names),
            fix="hepfm job wait JOB; or hepfm down --force, which has them save a checkpoint first",
        )
    for state in live:
        _say(f"Stopping {state.name} ...")
        dashboard.stop(state.job)
    end = time.monotonic() + _CHECKPOINT_S
    while any(state.live for state in states(dashboard)) and time.monotonic() < end:
        time.sleep(_POLL_S)
    for state in states(dashboard):
        if state.job in {each.job for each in live}:
            _say(
                f"{state.name} {'did not end in time' if state.live else 'ended'}; saved: {state.checkpoint}"
            )


def _say(sentence: str) -> None:
    typer.echo(sentence, err=True)
