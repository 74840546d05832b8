"""``hepfm fork``: a child run, from a run's checkpoint."""

from __future__ import annotations

import json
from contextlib import ExitStack
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
    connection,
    launch,
    new_run,
    refuse_weights,
    warn,
)


def fork(
    run: Annotated[str, typer.Argument(help="The parent's folder, its id, or the beginning of its id.")],
    overrides: Set = None,
    workers: Workers = None,
    in_process: InProcess = False,
    address: Address = None,
    out: Runs = Path("runs"),
    step: Annotated[
        int | None, typer.Option(min=1, help="Step of the parent's checkpoint; by default the newest.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the child; by default the parent's.")] = None,
    as_json: Json = False,
) -> None:
    """Start a child run from a run's checkpoint, with another recipe.

    Weights, optimiser and step are the parent's; the recipe is the parent's with the overrides; the parent
    stays as it is. In MLflow the child stands below its parent.
    """
    from hepfm.plugins import plugins
    from hepfm.recipe.load import load_recipe
    from hepfm.tracking.runs import find_run
    from hepfm.training.checkpoint import choose
    from hepfm.training.in_process import agree
    from hepfm.training.request import TrainRequest

    parent = find_run(run, out.resolve())
    flags = cluster_overrides(workers=workers, in_process=in_process, address=address)
    if name is not None:
        flags.append(f"name={json.dumps(name)}")
    resolved = load_recipe(str(parent.recipe_path), [*(overrides or []), *flags])
    warn(resolved)
    refuse_weights(resolved, load_recipe(str(parent.recipe_path)))

    def prepare() -> TrainRequest:
        checkpoint = choose(parent.checkpoints, step)
        stack.enter_context(connection(resolved.recipe))
        child = new_run(resolved, out, parent=parent.name)
        child.update(parent_checkpoint=str(checkpoint))  # for a resume before it has one of its own
        return TrainRequest(
            recipe=resolved.recipe.model_dump(mode="json"),
            run_dir=str(child.path),
            resume_from=str(checkpoint),
            allow_change=True,
            plugins=plugins().versions(),
        )

    with ExitStack() as stack:
        launch(agree(prepare), resolved.recipe, as_json=as_json)
