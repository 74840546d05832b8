"""``hepfm mlflow``: open the record of runs, and complete it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from hepfm.cli.launch import Runs, pages
from hepfm.errors import HepfmError, RecipeError, TrainingError

if TYPE_CHECKING:
    from hepfm.tracking.runs import RunDir

_PORT = 5000

app = typer.Typer(no_args_is_help=True, help="Open the record of runs, and complete it.")


@app.command()
def ui(
    *,
    out: Runs = Path("runs"),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = _PORT,
    host: Annotated[
        str, typer.Option(help="Interface to listen on; 0.0.0.0 opens it to the network.")
    ] = "127.0.0.1",
) -> None:
    """Serve MLflow's pages for the runs in a folder, until Ctrl-C.

    Where MLFLOW_TRACKING_URI names a server, or hepfm up serves the folder already, says where instead.
    """
    from hepfm.jobs.checks import served
    from hepfm.tracking.server import mlflow_server
    from hepfm.tracking.store import store_uri, without_secrets

    uri = store_uri(out)
    if uri.startswith(("http://", "https://")):
        typer.echo(
            f"The runs are recorded at {without_secrets(uri)} (MLFLOW_TRACKING_URI): open it in a browser."
        )
        return
    # On another port than that of `hepfm up`, one of its own is wanted.
    if (url := served(out)) and port in {_PORT, urlsplit(url).port}:
        typer.echo(f"hepfm up serves these runs already: {pages(url)}")
        return
    # Also where a shell or a service manager started us with interrupts ignored.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    try:
        typer.echo(f"Starting MLflow for {without_secrets(uri)} ...", err=True)
        with mlflow_server(uri, host=host, port=port) as (address, server):
            typer.echo(f"MLflow: {pages(address)}  (Ctrl-C ends it)")
            if host not in {"127.0.0.1", "localhost", "::1"}:
                typer.echo(f"Whoever reaches port {port} of this machine can read and delete runs.", err=True)
            code = server.wait()
        raise HepfmError(f"MLflow's server ended by itself, with code {code}", fix="start it again")
    except KeyboardInterrupt:
        typer.echo("MLflow ended.", err=True)


@app.command()
def sync(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUNS_DIR|RUN", help="Folders of runs, or runs; by default all of --runs."),
    ] = None,
    *,
    to: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Another store than the one that the runs were meant for."),
    ] = None,
    out: Runs = Path("runs"),
) -> None:
    """Send to MLflow what it missed of runs, with its own times; nothing is recorded twice."""
    from hepfm.tracking.store import why

    found = _runs(runs or [str(out)], out)
    width = max(len(run.name) for run in found)
    failed = []
    dead: set[str] = set()
    for run in found:
        try:
            said = _sync(run, to, dead)
        except HepfmError as error:
            failed.append(run.name)
            said = f"failed: {error.what}"
        except Exception as error:  # noqa: BLE001 - of a damaged run: the others go on
            failed.append(run.name)
            said = f"failed: {why(error)}"
        typer.echo(f"{run.name:<{width}}  {said}")
    if failed:
        raise HepfmError(
            f"MLflow did not take the record of {len(failed)} of {len(found)} runs",
            where=", ".join(failed),
            fix="see that the server runs and MLFLOW_TRACKING_URI is right, then try again",
        )


def _runs(named: list[str], out: Path) -> list[RunDir]:
    """Runs that the command line means, each once."""
    from hepfm.tracking.runs import find_run
    from hepfm.tracking.sync import evaluations_of, runs_in

    found: dict[Path, RunDir] = {}
    for name in named:
        folder = Path(name)
        whole = folder.is_dir() and not (folder / "run.json").exists()
        if whole:
            found |= {run.path: run for run in runs_in(folder)}
        else:
            run = find_run(name, out)
            found |= {each.path: each for each in (run, *evaluations_of(run))}
    if not found:
        raise RecipeError(
            "there are no runs here",
            where=", ".join(named),
            fix="name a folder of runs, as it was given to --runs, or a run",
        )
    return list(found.values())


def _sync(run: RunDir, to: str | None, dead: set[str]) -> str:
    """Sends what MLflow missed of a run, and says so; remembers a store that does not answer at all."""
    from hepfm.tracking.store import why, without_secrets
    from hepfm.tracking.sync import all_sent, answers, store_of
    from hepfm.tracking.sync import sync as send

    try:
        with run.lock():
            pass
    except TrainingError:
        return "is being trained, and sends its record itself"
    uri = to or store_of(run)
    if to is None and all_sent(run, uri):
        return "nothing to send"
    if uri in dead:
        raise HepfmError(f"{without_secrets(uri)} was not tried again")
    try:
        entries = send(run, uri)
    except Exception as error:
        if not answers(uri):
            dead.add(uri)
        raise HepfmError(f"{without_secrets(uri)}: {why(error)}") from error
    return f"{entries} entries sent to {without_secrets(uri)}" if entries else "nothing to send"
