"""``hepfm resume``: go on with a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hepfm.cli.launch import (
    Address,
    InProcess,
    Json,
    Runs,
    Set,
    Workers,
    cluster_overrides,
    launch,
    refuse_weights,
    warn,
)


def resume(
    run: Annotated[str, typer.Argument(help="The run's folder, its id, or the beginning of its id.")],
    overrides: Set = None,
    workers: Workers = None,
    in_process: InProcess = False,
    address: Address = None,
    out: Runs = Path("runs"),
    allow_change: Annotated[
        bool, typer.Option("--allow-change", help="Go on although the recipe, the data or a plugin changed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Go on with a run from its newest complete checkpoint, in the same folder and the same MLflow run.

    The numbers are those of a run that was never stopped. A recipe that changed what is computed is refused
    with what differs; hepfm fork starts a child run instead.
    """
    from hepfm.plugins import plugins
    from hepfm.recipe.load import load_recipe
    from hepfm.tracking.runs import find_run
    from hepfm.training.in_process import agree
    from hepfm.training.request import TrainRequest

    folder = find_run(run, out.resolve())
    flags = cluster_overrides(workers=workers, in_process=in_process, address=address)
    resolved = load_recipe(str(folder.recipe_path), [*(overrides or []), *flags])
    warn(resolved)
    refuse_weights(resolved, load_recipe(str(folder.recipe_path)))

    def prepare() -> TrainRequest:
        return TrainRequest(
            recipe=resolved.recipe.model_dump(mode="json"),
            run_dir=str(folder.path),
            resume_from=folder.json().get("parent_checkpoint", "newest"),
            allow_change=allow_change,
            plugins=plugins().versions(),
        )

    launch(agree(prepare), resolved.recipe, as_json=as_json)
