"""``hepfm mlflow``: open the record of runs, and complete it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from hepfm.cli.launch import Out
from hepfm.errors import HepfmError

app = typer.Typer(no_args_is_help=True, help="Open the record of runs, and complete it.")


@app.command()
def ui(
    *,
    out: Out = Path("runs"),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 5000,
    host: Annotated[
        str, typer.Option(help="Interface to listen on; 0.0.0.0 opens it to the network.")
    ] = "127.0.0.1",
) -> None:
    """Serve MLflow's pages for the runs in a folder, until Ctrl-C.

    Where MLFLOW_TRACKING_URI names a server, says where it is instead.
    """
    from hepfm.tracking.server import mlflow_server
    from hepfm.tracking.store import store_uri, without_secrets

    uri = store_uri(out)
    if uri.startswith(("http://", "https://")):
        typer.echo(
            f"The runs are recorded at {without_secrets(uri)} (MLFLOW_TRACKING_URI): open it in a browser."
        )
        return
    # Also where a shell or a service manager started us with interrupts ignored.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    try:
        typer.echo(f"Starting MLflow for {without_secrets(uri)} ...", err=True)
        with mlflow_server(uri, host=host, port=port) as (address, server):
            # MLflow 3 opens on its pages for language models unless told otherwise.
            typer.echo(f"MLflow: {address}/#/experiments?workflowType=machine_learning  (Ctrl-C ends it)")
            if host not in {"127.0.0.1", "localhost", "::1"}:
                typer.echo(f"Whoever reaches port {port} of this machine can read and delete runs.", err=True)
            code = server.wait()
        raise HepfmError(f"MLflow's server ended by itself, with code {code}", fix="start it again")
    except KeyboardInterrupt:
        typer.echo("MLflow ended.", err=True)


@app.command()
def replay(
    run: Annotated[str, typer.Argument(help="The run's folder, its id, or the beginning of its id.")],
    *,
    out: Out = Path("runs"),
) -> None:
    """Send to MLflow what it missed of a run, with its own times; nothing is recorded twice."""
    import yaml

    from hepfm.tracking.recorder import replay as send
    from hepfm.tracking.runs import find_run
    from hepfm.tracking.store import store_uri, without_secrets

    found = find_run(run, out)
    recipe = yaml.safe_load(found.recipe_path.read_text(encoding="utf-8")) or {}
    uri = recipe.get("tracking", {}).get("uri") or store_uri(found.path.parent)
    try:
        entries = send(found, uri)
    except Exception as error:
        raise HepfmError(
            f"MLflow does not take the record of {found.name}: {error}",
            where=without_secrets(uri),
            fix="see that the server runs and MLFLOW_TRACKING_URI is right, then try again",
        ) from error
    typer.echo(f"{found.name}: {entries} entries sent to {without_secrets(uri)}")
