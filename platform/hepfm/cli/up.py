"""``hepfm up``: start the local services of a folder of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hepfm.cli.launch import Runs, pages


def up(
    *,
    out: Runs = Path("runs"),
    cpus: Annotated[int | None, typer.Option(min=1, help="Cores that Ray offers; by default all.")] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="GPUs that Ray offers; by default all.")] = None,
    ray_port: Annotated[int, typer.Option(min=1024, max=65535, help="Where Ray takes programs.")] = 6379,
    dashboard_port: Annotated[
        int, typer.Option(min=1024, max=65535, help="Where Ray's dashboard is, which takes jobs.")
    ] = 8265,
    mlflow_port: Annotated[int, typer.Option(min=1024, max=65535, help="Where MLflow is.")] = 5000,
) -> None:
    """Start a Ray that takes jobs, and MLflow's server for the same folder of runs.

    Both listen on this machine alone, and go on when the shell ends. What runs already is left as it is.
    """
    from hepfm.data.local_ray import token_file
    from hepfm.jobs.services import recorded, start

    known = recorded(out)
    before = set(known.services) if known else set()
    services = start(
        out,
        cpus=cpus,
        gpus=gpus,
        ray_port=ray_port,
        dashboard_port=dashboard_port,
        mlflow_port=mlflow_port,
        say=lambda sentence: typer.echo(sentence, err=True),
    )
    if before >= set(services.services):
        typer.echo("The services are up already.", err=True)
    option = "" if out == Path("runs") else f" --runs {out}"
    shown = {
        "Ray": services.ray_dashboard,
        "": f"its token, for the browser: {token_file()}",
        "MLflow": pages(services.mlflow),
        "Train": f"hepfm submit image3d/masked-tiny --follow{option}",
        "Look": f"hepfm status{option}",
        "End": f"hepfm down{option}",
    }
    typer.echo("".join(f"{name:<8}{value}\n" for name, value in shown.items()), nl=False)
