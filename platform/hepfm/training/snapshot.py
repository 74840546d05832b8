"""What a checkpoint of a run holds, and how a run is restored from it.

::

    step-00001000/
      manifest.json         step, validation loss and score, world size, and the hash of each file
      model.json            recipe, schemas, digests, versions: all that is needed to use the weights
      model.safetensors     float32 weights and buffers
      model_ema.safetensors the same with averaged weights, where the recipe asks for them
      engine/               for resume and fork alone: AdamW's moments by rank, the run's state, the marginals
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from hepfm import __version__
from hepfm.api import PartSchema
from hepfm.nn.ema import Ema
from hepfm.plugins import plugins
from hepfm.recipe.diff import Change, deciding, render
from hepfm.recipe.schema import Generated, Recipe
from hepfm.tracking.storage import StorageError, storing, with_patience
from hepfm.training import checkpoint
from hepfm.training.checkpoint import Buffer
from hepfm.training.model import Precision
from hepfm.training.session import Session
from hepfm.training.state import State
from hepfm.training.weights import read_weights, to_safetensors, weights_sha256

_log = logging.getLogger(__name__)

_MARGINALS = f"{checkpoint.ENGINE}/marginals.safetensors"
_STATE = f"{checkpoint.ENGINE}/state.json"


def describe(
    recipe: Recipe,
    schemas: Mapping[str, PartSchema],
    digests: Mapping[str, str],
    precision: str,
    *,
    before: Path | None = None,
    labels: bool = False,
) -> dict[str, Any]:
    """The content of ``model.json``, but for the step.

    Args:
        recipe: Resolved.
        schemas: Part name to its schema, with the units of its columns.
        digests: Of the data of each split.
        precision: Of matrix products.
        before: The checkpoint that the run goes on from; what its weights saw, these have seen, its events
            among it (``ancestors``). So have they what the checkpoint saw that the encoder began with.
        labels: Whether labels are learned from.
    """
    saw_truth = any(schemas[name].attributes.get("truth") for name in recipe.data.parts)
    ancestors: dict[str, Any] = {}
    for folder in (before, None if recipe.model.weights is None else Path(recipe.model.weights)):
        if folder is not None and (folder / "model.json").exists():
            theirs = checkpoint.read_json(folder / "model.json")
            told = theirs.get("pretrain", {})
            saw_truth |= bool(told.get("saw_truth"))
            labels |= bool(told.get("labels"))
            ancestors |= {each["digest"]: each for each in trained_on(theirs)}
    ancestors.pop(digests["train"], None)
    return {
        "hepfm": __version__,
        "recipe": recipe.model_dump(mode="json"),
        "parts": {name: asdict(schemas[name]) for name in recipe.data.parts},
        "data_digests": dict(digests),
        "plugins": plugins_of(recipe),
        "precision": precision,
        "pretrain": {"saw_truth": saw_truth, "labels": labels},
        "ancestors": list(ancestors.values()),
    }


def trained_on(about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the weights of a ``model.json`` were trained on, own and before: ``digest``, the recipe's ``data``
    and ``seed``.
    """
    recipe = about["recipe"]
    own = {"digest": about["data_digests"]["train"], "data": recipe["data"], "seed": recipe["seed"]}
    return [own, *about.get("ancestors", ())]


def plugins_of(recipe: Recipe) -> dict[str, dict[str, str]]:
    """Name, distribution and version of the plugins whose components the recipe names."""
    used = [("modalities", part.kind) for part in recipe.data.parts.values()]
    used += [("backbones", recipe.model.backbone.name), ("objectives", recipe.objective.name)]
    if isinstance(head := recipe.objective.options().get("head"), Mapping):
        used.append(("heads", head["name"]))
    made = [split for split in (recipe.data.train, recipe.data.val) if isinstance(split, Generated)]
    used += [("generators", split.generator) for split in made]
    if recipe.data.reader_name is not None:
        used.append(("readers", recipe.data.reader_name))
    providers = [plugins().provider(hook, name) for hook, name in used]
    return {info.name: {"distribution": info.distribution, "version": info.version} for info in providers}


def save(session: Session) -> None:
    """Begins a checkpoint of a run as it is now, when the one before is complete. All ranks call this.

    Training is held up by a copy of weights and moments in memory; `advance` and `finish` see to the rest.
    """
    finish(session)
    state, saver = replace(session.state), session.saver
    moments, about = session.engine.moments()
    files: dict[str, list[Buffer]] = {}
    if about:  # also without moments yet: no step was taken
        name = f"{checkpoint.ENGINE}/adamw-{session.ranks.rank:05d}.safetensors"
        files[name] = to_safetensors(saver.stage(name, moments), about)
    weights = saver.stage("model", session.engine.weights())
    averaged = saver.stage("model_ema", session.average())
    if session.ranks.rank == 0:
        files["model.safetensors"] = to_safetensors(weights)
        if averaged:
            files["model_ema.safetensors"] = to_safetensors(averaged)
        marginals = enumerate(session.engine.module.objective.marginals())
        files[_MARGINALS] = to_safetensors(saver.stage(_MARGINALS, ((str(i), m) for i, m in marginals)))
        files["model.json"] = [json.dumps({**session.about, "step": state.step}, indent=1).encode()]
        files[_STATE] = [state.to_json().encode()]
    facts = {
        "world": session.ranks.world,
        "zero_stage": session.engine.stage,
        "val_loss": state.val_loss if state.validated == state.step else None,
        "score": state.score if state.validated == state.step else None,
    }
    session.saved = state
    saver.begin(state.step, files, lambda: {**facts, "weights_sha256": weights_sha256(weights)})


def finish(session: Session) -> None:
    """Waits until the checkpoint that was begun, if any, is complete. All ranks call this."""
    while session.saver.active:
        advance(session)


def advance(session: Session) -> None:
    """Does what is next for a checkpoint that was begun, waiting for what is under way. All ranks call this.

    When it is complete, those that need not be kept are deleted, and ``run.json`` and the callbacks are told.
    """
    if not session.saver.active:
        return
    recipe, run, state = session.recipe, session.run, session.saved
    path = session.saver.advance()
    if path is None or state is None or session.ranks.rank > 0:
        return

    @storing("what follows a checkpoint", run.path)
    def follow() -> None:
        checkpoint.retain(run.checkpoints, keep=recipe.checkpoint.keep, keep_best=recipe.checkpoint.keep_best)
        tell(session, state, path)

    try:
        with_patience(follow)
    except StorageError as error:  # the checkpoint is there; a resume finds it, and the next one tells again
        _log.warning("%s", error)
    for callback in session.callbacks:
        callback.on_checkpoint(state.step, path)


def tell(session: Session, state: State, path: Path) -> None:
    """Says in ``run.json`` that this is the run's newest checkpoint, and where the run was; on rank 0."""
    share = session.effective_time()
    session.run.update(
        checkpoint=str(path),
        steps=state.step,
        train_loss=state.train_loss,
        val_loss=state.val_loss,
        val_loss_baseline=state.val_loss_baseline,
        best_step=state.best_step,
        weights_sha256=checkpoint.read_json(path / checkpoint.MANIFEST)["weights_sha256"],
        **({"effective_time": share["time/effective"]} if share else {}),
    )


def restore(session: Session, folder: Path) -> None:
    """Restores a run from a verified checkpoint, of any world size and ZeRO stage. All ranks call this.

    Raises:
        CheckpointError: It does not fit the model.
    """
    session.engine.load(folder / checkpoint.ENGINE, read_weights(folder / "model.safetensors"))
    session.state = State.read(folder / _STATE)
    saved = read_weights(folder / _MARGINALS)
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
    found = deciding(then, recipe)
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


def judged_otherwise(folder: Path, recipe: Recipe, digests: Mapping[str, str]) -> bool:
    """Whether scores of a checkpoint's run do not compare with those to come."""
    now = {"recipe": recipe.model_dump(mode="json"), "data_digests": digests}
    return checkpoint.judged_by(checkpoint.read_json(folder / "model.json")) != checkpoint.judged_by(now)
