"""``hepfm pretrain``: from a recipe to a trained run."""

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
    Runs,
    Set,
    Workers,
    cluster_overrides,
    connection,
    launch,
    new_run,
    warn,
)

if TYPE_CHECKING:
    from hepfm.recipe.load import Resolved
    from hepfm.recipe.schema import Recipe


def pretrain(
    recipe: Annotated[str, typer.Argument(help="A named recipe (hepfm recipe list) or a YAML file.")],
    overrides: Set = None,
    workers: Workers = None,
    in_process: InProcess = False,
    address: Address = None,
    out: Runs = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of the run; by default the recipe's.")] = None,
    as_json: Json = False,
) -> None:
    """Pretrain a model from a recipe.

    The run's folder, DIR/NAME-ID, holds the resolved recipe, the metrics, the log and the checkpoints; MLflow
    records it in DIR/mlflow.db unless MLFLOW_TRACKING_URI says otherwise.

    Under torchrun (torchrun --nproc-per-node 2 -m hepfm pretrain RECIPE) its processes are the workers.
    """
    from hepfm.recipe.load import load_recipe

    flags = cluster_overrides(workers=workers, in_process=in_process, address=address)
    if name is not None:
        flags.append(f"name={json.dumps(name)}")
    resolved = load_recipe(recipe, [*(overrides or []), *flags])
    train_new(resolved, out, as_json=as_json)


def train_new(resolved: Resolved, out: Path, *, parent: str | None = None, as_json: bool) -> None:
    """Makes a run of a recipe, and trains it; of several processes under torchrun, one makes it.

    Args:
        resolved: The recipe.
        out: Folder of runs.
        parent: The run that it stands below in MLflow.
        as_json: Whether it ends with a line of JSON.
    """
    from hepfm.plugins import plugins
    from hepfm.training.in_process import agree
    from hepfm.training.request import TrainRequest

    warn(resolved)

    def prepare() -> TrainRequest:
        look_at_data(resolved.recipe)
        stack.enter_context(connection(resolved.recipe))
        return TrainRequest(
            recipe=resolved.recipe.model_dump(mode="json"),
            run_dir=str(new_run(resolved, out, parent=parent).path),
            plugins=plugins().versions(),
        )

    with ExitStack() as stack:
        launch(agree(prepare), resolved.recipe, as_json=as_json)


def look_at_data(recipe: Recipe) -> None:
    """Opens the first file of each split, so that a wrong path is said before workers are started.

    A generator is asked whether it takes its options and makes the parts.
    """
    from hepfm.data.generated import GeneratorSource
    from hepfm.readers.sniff import open_reader, resolve_paths
    from hepfm.recipe.schema import Generated

    for split in (recipe.data.train, recipe.data.val):
        if isinstance(split, Generated):
            GeneratorSource(split, parts=recipe.data.parts)
        elif split is not None:
            data = recipe.data
            open_reader(resolve_paths(split)[0], data.reader_name, data.reader_options).close()
