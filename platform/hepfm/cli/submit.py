"""``hepfm submit``: a recipe to a running Ray cluster."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hepfm.cli.launch import Json, Runs, Set, Workers, report, warn, workers_setting

if TYPE_CHECKING:
    from hepfm.jobs.client import Dashboard
    from hepfm.jobs.submit import Submitted

_POLL_S = 0.5

DashboardUrl = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="URL",
        help="The cluster's dashboard; by default the recipe's cluster.address, RAY_API_SERVER_ADDRESS or "
        "RAY_ADDRESS, where it is a URL, else the one of hepfm up.",
    ),
]


MaxRetries = Annotated[
    int, typer.Option(min=0, help="How often training that died is started again, from its checkpoint.")
]
Env = Annotated[
    list[str] | None,
    typer.Option("--env", metavar="KEY=VALUE", help="A variable of the job, no secret; may be repeated."),
]
Follow = Annotated[bool, typer.Option("--follow", help="Show how it goes, until its end.")]


def submit(
    recipe: Annotated[str, typer.Argument(help="A named recipe (hepfm recipe list) or a YAML file.")],
    overrides: Set = None,
    workers: Workers = None,
    address: DashboardUrl = None,
    out: Runs = Path("runs"),
    name: Annotated[
        str | None, typer.Option(help="Name of the run and its folder; an unfinished run of it goes on.")
    ] = None,
    max_retries: MaxRetries = 3,
    env: Env = None,
    follow: Follow = False,
    as_json: Json = False,
) -> None:
    """Hand a recipe to a running Ray cluster, as a job.

    The recipe is completed and checked here. The folder of runs and the data lie at the same path on the
    cluster. The working directory travels with the job, without runs, data and what git ignores; so do
    plugins that are installed from a local folder.

    The token comes from the file that RAY_AUTH_TOKEN_PATH names; for a cluster of hepfm up, from its own.
    """
    flags = [] if name is None else [f"name={json.dumps(name)}"]
    hand_in(
        recipe,
        [*(overrides or []), *flags],
        workers=workers,
        address=address,
        out=out,
        name=name,
        max_retries=max_retries,
        env=env,
        follow=follow,
        as_json=as_json,
    )


def hand_in(
    recipe: str,
    overrides: list[str],
    *,
    workers: str | None,
    address: str | None,
    out: Path,
    name: str | None,
    max_retries: int,
    env: list[str] | None,
    follow: bool,
    as_json: bool,
) -> None:
    """Submits a recipe, and says so; what `submit` and `hepfm job resume` share, with the options of both."""
    from hepfm.cli.pretrain import look_at_data
    from hepfm.jobs.checks import find_dashboard, mlflow_beside
    from hepfm.jobs.submit import submit as hand_over
    from hepfm.recipe.load import load_recipe

    out = out.resolve()
    overrides = [*overrides, "cluster.launcher=ray"]
    overrides += [] if workers is None else [f"cluster.workers={workers_setting(workers)}"]
    resolved = load_recipe(recipe, overrides)
    dashboard = find_dashboard(address, resolved.recipe.cluster.address, out)
    if resolved.recipe.cluster.address is not None:  # of this submission, not of the run
        resolved = load_recipe(recipe, [*overrides, "cluster.address=null"])
    warn(resolved)
    look_at_data(resolved.recipe)
    ours = mlflow_beside(dashboard, out)
    mlflow = os.environ.get("MLFLOW_TRACKING_URI") or ours
    done = hand_over(
        resolved,
        dashboard,
        recipe=recipe,
        out=out,
        name=name,
        max_retries=max_retries,
        env=env or (),
        mlflow=mlflow,
    )
    for warning in done.warnings:
        typer.secho(f"Warning: {warning}", fg="yellow", err=True)
    about = _about(done, dashboard, resolved.recipe.tracking.uri or mlflow, to="" if ours else address)
    if not as_json:
        typer.echo("".join(f"{key:<18}{value}\n" for key, value in about.items()), nl=False, err=follow)
    elif not follow:
        typer.echo(
            json.dumps({"job": done.job, "run_dir": str(done.run.path), "dashboard": dashboard.address})
        )
    if follow:
        _follow(done, dashboard, resolved.recipe.train.steps, as_json=as_json)


def _about(done: Submitted, dashboard: Dashboard, mlflow: str | None, to: str | None) -> dict[str, str]:
    from hepfm.cli.launch import near
    from hepfm.tracking.store import without_secrets

    flag = f" --address {to}" if to else ""
    ui = f"hepfm mlflow ui --runs {near(done.run.path.parent)}"
    going_on = f", going on from {done.run.newest_checkpoint or 'the beginning'}" if done.resumed else ""
    return {
        "Job": f"{done.job} on {dashboard.address}{going_on}",
        "Run": str(near(done.run.path)),
        "Follow": f"hepfm job logs {done.run.name} --follow{flag}",
        "Stop": f"hepfm job stop {done.run.name}{flag}",
        "Dashboard": f"{dashboard.address}/#/jobs/{done.job}",
        "MLflow": without_secrets(mlflow) if mlflow else ui,
    }


def _follow(done: Submitted, dashboard: Dashboard, steps: int, *, as_json: bool) -> None:
    """Shows progress until the job's end; exits with the run's code."""
    from rich.console import Console

    from hepfm.cli.progress import Follower
    from hepfm.jobs.state import patiently

    run = done.run
    console = Console(stderr=True)
    begin = "waiting for the cluster"
    retries = 0
    try:
        with Follower(run.metrics_path, name=run.name, steps=steps, console=console, begin=begin):
            while (state := patiently(dashboard, run.name)).live:
                if (state.retries or 0) > retries:
                    retries = state.retries or 0
                    at = state.checkpoint or "the beginning"
                    text = f"Training died, and goes on from {at}; hepfm job logs {run.name} says why."
                    console.print(text, highlight=False, soft_wrap=True)
                time.sleep(_POLL_S)
    except KeyboardInterrupt:
        console.print(
            f"The job goes on: hepfm job logs {run.name} --follow, or hepfm job stop {run.name}.",
            highlight=False,
            soft_wrap=True,
        )
        raise
    if state.exit_code == 0:
        report(run, sys.stdout, as_json=as_json)
        return
    if as_json:
        typer.echo(json.dumps(run.json()))
    said = _last_words(dashboard.logs(state.job)) or state.message
    typer.secho(said, fg="red", err=True)
    raise typer.Exit(state.exit_code or 1)


def _last_words(log: str) -> str:
    """From the last error on, else the last lines."""
    lines = log.rstrip().splitlines()
    errors = [number for number, line in enumerate(lines) if line.startswith("Error:")]
    return "\n".join(lines[errors[-1] :] if errors else lines[-5:])
