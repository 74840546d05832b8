"""``hepfm fork``: a child run, from a run's checkpoint."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hepfm.cli.launch import (
    Address,
    InProcess,
    Json,
    Out,
    Set,
    Workers,
    cluster_overrides,
    connection,
    launch,
    new_run,
    warn,
)

if TYPE_CHECKING:
    from hepfm.tracking.runs import RunDir


def fork(
    run: Annotated[str, typer.Argument(help="The parent's folder, its id, or the beginning of its id.")],
    overrides: Set = None,
    workers: Workers = None,
    in_process: InProcess = False,
    address: Address = None,
    out: Out = Path("runs"),
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
    from hepfm.training.in_process import agree
    from hepfm.training.request import TrainRequest

    parent = find_run(run, out.resolve())
    flags = cluster_overrides(workers=workers, in_process=in_process, address=address)
    if name is not None:
        flags.append(f"name={json.dumps(name)}")
    resolved = load_recipe(str(parent.recipe_path), [*(overrides or []), *flags])
    warn(resolved)

    def prepare() -> TrainRequest:
        checkpoint = _checkpoint(parent, step)
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


def _checkpoint(parent: RunDir, step: int | None) -> Path:
    from hepfm.errors import CheckpointError
    from hepfm.training.checkpoint import find_newest, folder_name, verify

    if step is None:
        newest, damaged = find_newest(parent.checkpoints)
        if newest is not None:
            return newest
        found = "; ".join(str(error) for error in damaged) or "it has not saved one yet"
    else:
        chosen = parent.checkpoints / folder_name(step)
        if chosen.is_dir():
            verify(chosen)
            return chosen
        found = "it has " + (
            ", ".join(sorted(path.name for path in parent.checkpoints.glob("step-*"))) or "none"
        )
    wanted = "that is complete" if step is None else f"of step {step}"
    raise CheckpointError(
        f"Run {parent.name} has no checkpoint {wanted}: {found}.",
        where=str(parent.checkpoints),
        fix="choose another run or step, or resume the run until it saves one",
    )
