"""``hepfm job``: see, follow and stop what was submitted."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hepfm.cli.launch import Json, Runs, Workers
from hepfm.cli.submit import DashboardUrl, Env, Follow, MaxRetries, hand_in
from hepfm.cli.tables import console, table

if TYPE_CHECKING:
    from hepfm.jobs.client import Dashboard
    from hepfm.jobs.state import JobState

app = typer.Typer(no_args_is_help=True, help="See, follow, stop and resume submitted jobs.")

Job = Annotated[str, typer.Argument(metavar="JOB", help="The run's name, or the beginning of it.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, on one line.")]

_POLL_S = 1.0


@app.command("list")
def list_jobs(address: DashboardUrl = None, out: Runs = Path("runs"), as_json: AsJson = False) -> None:
    """List the jobs of a cluster, and how far their runs are."""
    from hepfm.jobs.state import states

    found = states(_dashboard(address, out))
    if as_json:
        typer.echo(json.dumps([_fields(state) for state in found]))
    elif not found:
        typer.echo("No jobs. hepfm submit RECIPE makes one.")
    else:
        _print_table([_row(state) for state in found])


@app.command()
def show(job: Job, address: DashboardUrl = None, out: Runs = Path("runs"), as_json: AsJson = False) -> None:
    """Show all that is known of a job."""
    from hepfm.jobs.state import find

    dashboard = _dashboard(address, out)
    state = find(dashboard, job)
    if as_json:
        typer.echo(json.dumps(_fields(state)))
        return
    fields = {key: value for key, value in _fields(state).items() if value is not None and value != ""}
    typer.echo("".join(f"{key.replace('_', ' '):<18}{value}\n" for key, value in fields.items()), nl=False)
    typer.echo(f"{'dashboard':<18}{dashboard.address}/#/jobs/{state.job}")


@app.command()
def logs(
    job: Job,
    address: DashboardUrl = None,
    out: Runs = Path("runs"),
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the job ends.")] = False,
) -> None:
    """Print what a job has said; the run's own log.txt has more."""
    from hepfm.jobs.state import find, patiently

    dashboard = _dashboard(address, out)
    state = find(dashboard, job)
    printed = 0
    while True:
        text = dashboard.logs(state.job)
        sys.stdout.write(text[printed:])
        sys.stdout.flush()
        printed = len(text)
        if not (follow and state.live):
            return
        time.sleep(_POLL_S)
        state = patiently(dashboard, state.name)  # before the text: nothing comes after its end


@app.command()
def stop(
    job: Job,
    address: DashboardUrl = None,
    out: Runs = Path("runs"),
    now: Annotated[bool, typer.Option("--now", help="Kill it, without a checkpoint.")] = False,
) -> None:
    """Have a job save a checkpoint and end."""
    from hepfm.errors import RecipeError
    from hepfm.jobs.state import find, wait
    from hepfm.tracking.runs import STOP_NOW

    dashboard = _dashboard(address, out)
    state = find(dashboard, job)
    if not state.live:
        typer.echo(f"{state.name} has ended already: {state.status.lower()}.")
        return
    if now:
        if state.run is None:
            raise RecipeError(
                "The run's folder is not seen here, and --now works through it.",
                where=state.run_dir,
                fix=f"hepfm job stop {state.name}, or the same command where the folder is",
            )
        state.run.ask_to_stop(STOP_NOW)
    dashboard.stop(state.job)
    typer.echo(f"Stopping {state.name} ...", err=True)
    ended = wait(dashboard, state.name)
    step = f" at step {ended.step} of {ended.steps}" if ended.step else ""
    saved = f"; saved: {ended.checkpoint}" if ended.checkpoint else "; no checkpoint was saved"
    typer.echo(f"{state.name} {ended.run_status or 'ended'}{step}{saved}.")
    if ended.run is not None and ended.run_status != "done":
        flags = "" if address is None else f" --address {address}"
        flags += "" if out == Path("runs") else f" --runs {out}"
        typer.echo(f"Go on: hepfm job resume {state.name}{flags}")


@app.command()
def resume(
    run: Annotated[str, typer.Argument(help="The run's folder, its id, or the beginning of its id.")],
    workers: Workers = None,
    address: DashboardUrl = None,
    out: Runs = Path("runs"),
    max_retries: MaxRetries = 3,
    env: Env = None,
    follow: Follow = False,
    as_json: Json = False,
) -> None:
    """Go on with a run as a job, from its newest checkpoint and with the recipe that it has."""
    from hepfm.tracking.runs import find_run

    folder = find_run(run, out.resolve())
    hand_in(
        str(folder.path),
        [],
        workers=workers,
        address=address,
        out=folder.path.parent,
        name=folder.name,
        max_retries=max_retries,
        env=env,
        follow=follow,
        as_json=as_json,
    )


@app.command()
def wait(
    job: Job,
    address: DashboardUrl = None,
    out: Runs = Path("runs"),
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds to wait at most.")] = None,
) -> None:
    """Wait for a job's end, and exit with the code of its run; with 124 if --timeout is over before."""
    from hepfm.jobs.state import find
    from hepfm.jobs.state import wait as wait_for

    dashboard = _dashboard(address, out)
    ended = wait_for(dashboard, find(dashboard, job).name, timeout)
    typer.echo(f"{ended.name}: {ended.run_status or ended.status.lower()}, exit code {ended.exit_code}")
    raise typer.Exit(ended.exit_code or 0)


def _dashboard(address: str | None, out: Path) -> Dashboard:
    from hepfm.jobs.checks import find_dashboard

    return find_dashboard(address, None, out.resolve())


def _fields(state: JobState) -> dict[str, Any]:
    times = {
        key: None if value is None else datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
        for key, value in (("started", state.started), ("ended", state.ended))
    }
    return vars(state) | times | {"age_s": round(time.time() - state.started)}


def _row(state: JobState) -> dict[str, str]:
    steps = "" if state.steps is None else f"{state.step or 0}/{state.steps}"
    loss = "" if state.val_loss is None else f"{float(state.val_loss):.4f}"
    return {
        "job": state.name,
        "status": state.status.lower(),
        "run": state.run_status or "",
        "steps": steps,
        "val loss": loss,
        "started": _ago(time.time() - state.started),
        "retries": str(state.retries or ""),
        "restarts": str(state.restarts or ""),
    }


def _ago(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit} ago"
    return f"{seconds:.0f}s ago"


def _print_table(rows: list[dict[str, str]]) -> None:
    from rich.table import Column

    told = [column for column in rows[0] if any(row[column] for row in rows)]
    made = table(*(Column(column, overflow="fold", no_wrap=column == "job") for column in told))
    for row in rows:
        made.add_row(*(row[column] for column in told))
    console().print(made)
