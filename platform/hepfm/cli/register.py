"""``hepfm register``: a run's model in MLflow's registry, with its card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hepfm.cli.launch import Runs, near
from hepfm.cli.opened import Run, Step, open_run
from hepfm.cli.shards import warn

if TYPE_CHECKING:
    from hepfm.tracking.runs import RunDir
    from hepfm.training.pretrained import Pretrained


def register(
    run: Run,
    name: Annotated[str, typer.Argument(help="Of the registered model; a new version of it is made.")],
    *,
    step: Step = None,
    out: Runs = Path("runs"),
) -> None:
    """Register a run's model in MLflow: weights, what is needed to use them, and its card.

    The card says data, recipe, figures of its evaluations with intervals, and limits; it is also in the run's
    folder. Registered again after another evaluation, the version's card is brought up to date.
    """
    found, model = open_run(run, out, step, "cpu")
    if message := register_model(found, model, name):
        warn(message)


def register_model(run: RunDir, model: Pretrained, name: str) -> str:
    """Registers a model, and says where its card is.

    Returns:
        An empty text, or a sentence on what MLflow did not take and how to send it.
    """
    from hepfm.evaluation.card import card
    from hepfm.tracking.evaluations import results_of
    from hepfm.tracking.probes import probes_of
    from hepfm.tracking.registry import CARD, version_of
    from hepfm.tracking.registry import register as put
    from hepfm.tracking.store import connect, why, without_secrets
    from hepfm.tracking.sync import store_of, sync
    from hepfm.training.pretrained import plain_weights, weights_file
    from hepfm.training.weights import to_safetensors

    weights: Path | bytes = weights_file(model.folder)
    if model.recipe.model.adapt.mode == "lora":  # as one needs them who knows nothing of it
        weights = b"".join(to_safetensors(plain_weights(model.folder)))
    tags = {
        "hepfm.run": run.name,
        "hepfm.checkpoint": model.folder.name,
        "hepfm.weights_sha256": model.manifest["weights_sha256"],
        "hepfm.data_digest": model.about["data_digests"]["train"],
        **{f"pretrain.{key}": str(said).lower() for key, said in model.about["pretrain"].items()},
    }
    files = {"model.safetensors": weights, "model.json": model.folder / "model.json"}
    told = card(model, name, run=run.name, results=results_of(run), probes=probes_of(run))
    folder = put(run, name, files, told, tags)
    typer.echo(f"Card: {near(folder / CARD)}", err=True)
    try:
        sync(run)
        client = connect(store_of(run))
        version = version_of(client, run.json()["run_id"], name, tags["hepfm.weights_sha256"])
    except Exception as error:  # noqa: BLE001 - whatever a store can do; the spool has it
        return (
            f"MLflow at {without_secrets(store_of(run))} did not take the model ({why(error)}). Nothing is "
            f"lost; send it: 'hepfm mlflow sync {near(run.path)}'."
        )
    if version is None:
        return (
            f"MLflow at {without_secrets(store_of(run))} refused the model: {near(run.log_path)} says why. "
            f"Its files are in {near(folder)}."
        )
    typer.echo(f"Registered: {name}, version {version} (models:/{name}/{version})", err=True)
    return ""
