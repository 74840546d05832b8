"""What a checkpoint of a run holds, and how a run is restored from it.

::

    step-00001000/
      manifest.json         step, validation loss, world size, and the hash of each file
      model.json            recipe, schemas, digests, versions: all that is needed to use the weights
      model.safetensors     float32 weights and buffers
      model_ema.safetensors the same with averaged weights, where the recipe asks for them
      engine/               for resume and fork alone: AdamW's moments by rank, the run's state, the marginals
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from hepfm import __version__
from hepfm.api import PartSchema
from hepfm.nn.ema import Ema
from hepfm.plugins import plugins
from hepfm.recipe.diff import Change, diff, render
from hepfm.recipe.load import NOT_HASHED
from hepfm.recipe.schema import Checkpoint, Recipe
from hepfm.tracking.storage import StorageError, storing, with_patience
from hepfm.training import checkpoint
from hepfm.training.model import Precision
from hepfm.training.session import Session
from hepfm.training.state import State
from hepfm.training.weights import read_weights, weights_sha256, write_weights

_log = logging.getLogger(__name__)

_FREE = {"data.train", "data.val", "train.time_limit_minutes"} | {
    f"checkpoint.{name}" for name in Checkpoint.model_fields
}
"""What may change beside: where data lies (what it holds is compared by digest), when to save and stop."""


def describe(
    recipe: Recipe, schemas: Mapping[str, PartSchema], digests: Mapping[str, str], precision: str
) -> dict[str, Any]:
    """The content of ``model.json``, but for the step.

    Args:
        recipe: Resolved.
        schemas: Part name to its schema, with the units of its columns.
        digests: Of the data of each split.
        precision: Of matrix products.
    """
    return {
        "hepfm": __version__,
        "recipe": recipe.model_dump(mode="json"),
        "parts": {name: asdict(schemas[name]) for name in recipe.data.parts},
        "data_digests": dict(digests),
        "plugins": plugins_of(recipe),
        "precision": precision,
    }


def plugins_of(recipe: Recipe) -> dict[str, dict[str, str]]:
    """Name, distribution and version of the plugins whose components the recipe names."""
    used = [("modalities", part.kind) for part in recipe.data.parts.values()]
    used += [("backbones", recipe.model.backbone.name), ("objectives", recipe.objective.name)]
    if recipe.data.reader is not None:
        used.append(("readers", recipe.data.reader))
    providers = [plugins().provider(hook, name) for hook, name in used]
    return {info.name: {"distribution": info.distribution, "version": info.version} for info in providers}


def save(session: Session) -> None:
    """Makes a checkpoint of a run, and deletes those that need not be kept. All ranks call this."""
    recipe, run, state = session.recipe, session.run, session.state
    weights = session.engine.weights()
    averaged: dict[str, torch.Tensor] = {}
    if session.ema is not None:
        with session.averaged_weights():
            averaged = session.engine.weights()
    facts = {
        "world": session.ranks.world,
        "zero_stage": session.engine.stage,
        "val_loss": state.val_loss if state.validated == state.step else None,
        "weights_sha256": weights_sha256(weights) if weights else None,
    }
    path = checkpoint.save(
        run.checkpoints,
        state.step,
        lambda folder: _write(session, weights, averaged, folder),
        facts,
        session.ranks,
    )
    session.saved_at = state.step
    if session.ranks.rank > 0:
        return

    @storing("what follows a checkpoint", run.path)
    def follow() -> None:
        checkpoint.retain(run.checkpoints, keep=recipe.checkpoint.keep, keep_best=recipe.checkpoint.keep_best)
        tell(session, path)

    try:
        with_patience(follow)
    except StorageError as error:  # the checkpoint is there; a resume finds it, and the next one tells again
        _log.warning("%s", error)
    for callback in session.callbacks:
        callback.on_checkpoint(state.step, path)


def tell(session: Session, path: Path) -> None:
    """Says in ``run.json`` that this is the run's newest checkpoint; on rank 0."""
    state = session.state
    share = session.effective_time()
    session.run.update(
        checkpoint=str(path),
        steps=state.step,
        train_loss=state.train_loss,
        val_loss=state.val_loss,
        val_loss_baseline=state.val_loss_baseline,
        weights_sha256=checkpoint.read_json(path / checkpoint.MANIFEST)["weights_sha256"],
        **({"effective_time": share["time/effective"]} if share else {}),
    )


def _write(
    session: Session,
    weights: Mapping[str, torch.Tensor],
    averaged: Mapping[str, torch.Tensor],
    folder: Path,
) -> None:
    """Writes this rank's files."""
    session.engine.save(folder / "engine")
    if session.ranks.rank > 0:
        return
    write_weights(weights, folder / "model.safetensors")
    if averaged:
        write_weights(averaged, folder / "model_ema.safetensors")
    content = {**session.about, "step": session.state.step}
    (folder / "model.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    session.state.write(folder / "engine" / "state.json")
    marginals = session.engine.module.objective.marginals()
    write_weights({str(i): m.detach().cpu() for i, m in enumerate(marginals)}, _marginals(folder))


def restore(session: Session, folder: Path) -> None:
    """Restores a run from a verified checkpoint, of any world size and ZeRO stage. All ranks call this.

    Raises:
        CheckpointError: It does not fit the model.
    """
    session.engine.load(folder / "engine", read_weights(folder / "model.safetensors"))
    session.state = State.read(folder / "engine" / "state.json")
    saved = read_weights(_marginals(folder))
    with torch.no_grad():
        for i, buffer in enumerate(session.engine.module.objective.marginals()):
            buffer.copy_(saved[str(i)])
        if session.ema is None:
            return
        if (folder / "model_ema.safetensors").exists():
            averaged = read_weights(folder / "model_ema.safetensors")
            local = {
                name: session.engine.local_part(name, averaged[name])
                for name, _ in session.engine.local_parameters()
            }
            session.ema.load_state_dict({"updates": session.state.averaged, "average": local})
        else:  # a fork that begins to average does so at these weights, not at initial ones
            session.ema = Ema(session.engine.local_parameters(), session.ema.decay)


def changes(folder: Path, recipe: Recipe, digests: Mapping[str, str]) -> list[str]:
    """What differs between a checkpoint's run and this one, of all that changes numbers; one line each."""
    about = checkpoint.read_json(folder / "model.json")
    then = Recipe.model_validate(about["recipe"])
    found = [
        change
        for change in diff(then, recipe)
        if change.key.split(".")[0] not in NOT_HASHED and change.key not in _FREE
    ]
    now = plugins_of(recipe)
    for kind, before, after in (("data", about["data_digests"], digests), ("plugin", about["plugins"], now)):
        found += [
            Change(f"({kind} {name})", before.get(name), after.get(name))
            for name in sorted({*before, *after})
            if before.get(name) != after.get(name)
        ]
    return render(found).splitlines()


def precision_of(folder: Path) -> Precision:
    """What a checkpoint's run computes matrix products in."""
    precision: Precision = checkpoint.read_json(folder / "model.json")["precision"]
    return precision


def data_differs(folder: Path, digests: Mapping[str, str]) -> bool:
    """Whether a checkpoint's run trained on other events."""
    about = checkpoint.read_json(folder / "model.json")
    return bool(about["data_digests"]["train"] != digests["train"])


def _marginals(folder: Path) -> Path:
    return folder / "engine" / "marginals.safetensors"
