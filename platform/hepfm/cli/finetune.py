"""``hepfm finetune``: a task, learned on what a run was pretrained for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hepfm.cli.launch import (
    Address,
    InProcess,
    Json,
    Runs,
    Set,
    Workers,
    cluster_overrides,
)
from hepfm.cli.pretrain import train_new

if TYPE_CHECKING:
    from hepfm.recipe.load import Resolved
    from hepfm.tracking.runs import RunDir


def finetune(
    run: Annotated[str, typer.Argument(help="The pretrained run's folder, its id, or the beginning of it.")],
    recipe: Annotated[
        str, typer.Option("--recipe", help="A recipe of a task (hepfm recipe list) or a YAML file.")
    ],
    overrides: Set = None,
    workers: Workers = None,
    in_process: InProcess = False,
    address: Address = None,
    out: Runs = Path("runs"),
    step: Annotated[
        int | None, typer.Option(min=1, help="Step of the run's checkpoint; by default the newest.")
    ] = None,
    adapt: Annotated[
        Literal["full", "lora", "frozen"] | None,
        typer.Option(help="What of the encoder is trained (model.adapt.mode); by default the recipe says."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the new run; by default the recipe's.")] = None,
    as_json: Json = False,
) -> None:
    """Train a pretrained model on a task, with labels.

    The recipe says the task, the data and the optimisation. Parts and backbone are the run's, and its encoder
    is where training begins; the pretrained run stays as it is. In MLflow the new run stands below it.
    """
    from hepfm.tracking.runs import find_run
    from hepfm.training.checkpoint import choose

    parent = find_run(run, out.resolve())
    flags = cluster_overrides(workers=workers, in_process=in_process, address=address)
    if name is not None:
        flags.append(f"name={json.dumps(name)}")
    if adapt is not None:
        flags.append(f"model.adapt.mode={adapt}")
    weights = choose(parent.checkpoints, step)
    resolved = task_on(parent, weights, recipe, [*(overrides or []), *flags])
    train_new(resolved, out, parent=parent.name, as_json=as_json)


def task_on(parent: RunDir, weights: Path, recipe: str, overrides: list[str]) -> Resolved:
    """A task's recipe with parts and backbone of a run, whose checkpoint ``weights`` it begins with.

    Options that the recipe gives a part win over the run's; of a run with several parts, those that the
    recipe names are used, or all where it names none.

    Raises:
        RecipeError: The recipe is wrong, or learns no task.
    """
    from hepfm.errors import RecipeError
    from hepfm.recipe.layers import Layer
    from hepfm.recipe.load import as_written, load_recipe
    from hepfm.training.checkpoint import read_json

    trained = read_json(weights / "model.json")["recipe"]
    asked = as_written(recipe, overrides)[0].get("data", {}).get("parts") or trained["data"]["parts"]
    parts = {part: options for part, options in trained["data"]["parts"].items() if part in asked}
    model = {"backbone": trained["model"]["backbone"], "weights": str(weights)}
    resolved = load_recipe(
        recipe,
        overrides,
        below=[Layer(parent.name, {"data": {"parts": parts}})],
        above=[Layer(parent.name, {"model": model})],
    )
    if "head" not in resolved.recipe.objective.options():
        raise RecipeError(
            f"The recipe '{recipe}' learns no task: its objective is '{resolved.recipe.objective.name}'.",
            where="objective.name",
            fix="name a recipe with `objective: {name: task, head: {name: ...}}`, such as tasks/semantic",
        )
    return resolved
