"""Putting a run together: data, model, engine, and the checkpoint that it goes on from."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hepfm.api import Callback, Labelled, Taught
from hepfm.data.alike import bare, unlike, unreadable
from hepfm.data.few import FewEvents
from hepfm.data.generated import GeneratorSource
from hepfm.data.order import Cursor
from hepfm.data.source import EventSource, Source, check_apart, doubts, open_source
from hepfm.errors import CheckpointError, DataError, RecipeError, did_you_mean
from hepfm.nn.ema import Ema
from hepfm.objectives.task import Task
from hepfm.plugins import plugins
from hepfm.readers.layout import half
from hepfm.readers.writer import schema_differences
from hepfm.recipe.load import Resolved
from hepfm.recipe.schema import Generated, Recipe
from hepfm.tracking.recorder import Recorder
from hepfm.tracking.runs import RunDir
from hepfm.tracking.versions import code_version
from hepfm.training import checkpoint, snapshot
from hepfm.training.adapt import adapt
from hepfm.training.engine import Engine
from hepfm.training.labels import look_for_labels
from hepfm.training.loop import observe_marginals
from hepfm.training.model import Precision, PretrainModule, build, resolve_precision
from hepfm.training.pretrained import load_encoder
from hepfm.training.ranks import Ranks
from hepfm.training.request import TrainRequest
from hepfm.training.saver import Saver
from hepfm.training.session import Session

_log = logging.getLogger(__name__)


def start(request: TrainRequest, resolved: Resolved, run: RunDir, ranks: Ranks) -> Session:
    """A run, ready for its next step. All ranks call this.

    Raises:
        HepfmError: What a user can do something about.
    """
    recipe = resolved.recipe
    train, val = _open_data(recipe)
    digests = {"train": train.digest} | ({"val": _of_any_number(val)} if val is not None else {})
    folder = ranks.on_first(lambda: _starting_point(request, run, recipe, digests))
    precision = ranks.on_first(lambda: _precision(recipe, folder, ranks))
    module = build(recipe, train.modalities, precision)
    _check_alike(train, val, module)
    labelled = {"data.train": train} | ({} if val is None else {"data.val": val})
    look_for_labels(module.objective, labelled, recipe, ranks)
    if recipe.data.augment and module.encoder.frame.axes:
        _log.warning(
            "parts share axes, and each is augmented by itself: set data.augment=false, or switch off what "
            "turns or moves them"
        )
    if folder is None and recipe.model.weights is not None:
        load_encoder(module.encoder, Path(recipe.model.weights))
        if isinstance(module.objective, Taught):
            module.objective.begin(module.encoder)
    adapt(module, recipe)
    _refuse_unknown_figure(module.objective, recipe.train.best_by)
    engine = Engine(module, recipe, ranks)
    limit = recipe.train.time_limit_minutes
    session = Session(
        recipe=recipe,
        run=run,
        ranks=ranks,
        engine=engine,
        ema=Ema(engine.local_parameters(), recipe.train.ema_decay) if recipe.train.ema_decay else None,
        train=train,
        val=val,
        about=snapshot.describe(
            recipe,
            train.parts,
            digests,
            precision,
            before=folder,
            labels=isinstance(module.objective, Labelled),
        ),
        saver=Saver(run.checkpoints, ranks),
        deadline=None if limit is None else time.monotonic() + 60 * limit,
    )
    if folder is not None:
        _log.info("going on from %s", folder)
        snapshot.restore(session, folder)
    other_data = folder is not None and snapshot.data_differs(folder, digests)
    if other_data:  # events that the run has not seen: from the beginning of an epoch of their own
        session.state.cursor = Cursor(session.state.cursor.epoch + 1, 0)
    if own := folder is not None and folder.parent == run.checkpoints:
        session.saved = replace(session.state)
        if ranks.rank == 0:  # a kill may have come before run.json was told of it
            snapshot.tell(session, session.state, folder)
    else:
        session.state.effective_s = 0.0
    if other_data or not own:
        observe_marginals(session)
    _forget_validations(session, folder, digests, anew=other_data or not own)
    if ranks.rank == 0:
        _describe_run(session)
        session.callbacks = _callbacks()
        session.recorder = _recorder(session, resolved, None if folder is None else session.state.step)
    return session


def _forget_validations(
    session: Session, folder: Path | None, digests: Mapping[str, str], *, anew: bool
) -> None:
    """Where the scores of a checkpoint's run do not compare with those to come."""
    if anew or (folder is not None and snapshot.judged_otherwise(folder, session.recipe, digests)):
        session.state.forget_validations()


def _refuse_unknown_figure(objective: object, best_by: str | None) -> None:
    """`RecipeError` where checkpoints are to be judged by a figure that validations will not have."""
    if best_by is None:
        return
    figure = best_by.removeprefix("-")
    known = objective.figure_names() if isinstance(objective, Task) else []
    if figure not in known:
        raise RecipeError(
            f"Validations tell no figure '{figure}'.",
            where="train.best_by",
            fix=did_you_mean(figure, known) if known else "leave it out: only tasks have figures",
        )


def _of_any_number(val: Source) -> str:
    """The digest of validation events; of a generator's, however many: seed and first stand in the recipe."""
    return val.events.digest if isinstance(val, GeneratorSource) else val.digest


def _effective(session: Session) -> dict[str, Any]:
    """With what the run computes, whatever the recipe left open."""
    return {
        "world": session.ranks.world,
        "device": str(session.ranks.device),
        "threads": torch.get_num_threads(),
        "precision": session.engine.module.precision,
        "zero_stage": session.engine.stage,
        "parameters": session.engine.n_parameters,
        "train_events": len(session.train),
        "val_events": 0 if session.val is None else len(session.val),
    }


def _describe_run(session: Session) -> None:
    """Says so in ``run.json`` and in the log."""
    effective = _effective(session)
    session.run.update(
        effective=effective,
        data_digest=session.train.digest,
        plugins=session.about["plugins"],
        pretrain=session.about["pretrain"],
        code=code_version(),
    )
    _log.info(
        "step %d; %s", session.state.step, ", ".join(f"{key} {value}" for key, value in effective.items())
    )


def _open_data(recipe: Recipe) -> tuple[Source, Source | None]:
    """Training and validation events, which must be apart."""
    open_split = partial(
        open_source,
        parts=recipe.data.parts,
        reader=recipe.data.reader_name,
        options=recipe.data.reader_options,
        max_event_cost=recipe.data.max_event_cost,
    )
    train = open_split(recipe.data.train)
    if recipe.data.train_events is not None:
        assert isinstance(train, EventSource)  # the recipe was checked
        train = FewEvents(train, recipe.data.train_events, recipe.seed)
    val = None if recipe.data.val is None else open_split(recipe.data.val)
    for doubt in doubts(train, val):
        _log.warning("%s", doubt)
    if val is not None:
        check_apart(train, val)
    return train, val


def _check_alike(train: Source, val: Source | None, module: PretrainModule) -> None:
    """Makes sure that the model can be validated on other events: it can read them, and their labels."""
    if val is None:
        return
    wrong = unreadable(train.parts, val.parts, train.modalities)
    if not wrong and isinstance(module.objective, Labelled):
        labels = ({part: half(each, label=True) for part, each in s.parts.items()} for s in (train, val))
        wrong = schema_differences(*map(bare, labels))
    if wrong:
        raise DataError(
            "Training and validation data describe a part differently.",
            where=f"data.train (there) and data.val (here): {'; '.join(wrong)}",
            fix="use files of one kind, or convert them alike with hepfm data convert",
        )
    if differing := unlike(train.parts, val.parts):
        _log.warning("data.train (there) and data.val (here): %s", "; ".join(differing))


def _starting_point(
    request: TrainRequest, run: RunDir, recipe: Recipe, digests: Mapping[str, str]
) -> Path | None:
    """The checkpoint to go on from: the run's newest complete one, else the one asked for."""
    found, damaged = checkpoint.find_newest(run.checkpoints)
    for error in damaged:
        _log.warning("%s", error)
    run.update(damaged_checkpoints=[str(error) for error in damaged])
    if found is not None:
        changed = snapshot.changes(found, recipe, digests)
        if changed and not request.allow_change:
            raise CheckpointError(
                "What is computed has changed since the checkpoint:\n    " + "\n    ".join(changed),
                where=str(found),
                fix=f"'hepfm fork {run.name} --set ...' starts a child run; or allow it with --allow-change",
            )
        return found
    if damaged:
        raise CheckpointError(
            f"The run has no complete checkpoint. {damaged[0].what}",
            where=damaged[0].where,
            fix="restore the file, or begin again: hepfm pretrain with the run's recipe.yaml",
        )
    if request.resume_from in (None, "newest"):
        return None
    elsewhere = Path(request.resume_from)
    checkpoint.verify(elsewhere)
    return elsewhere


def _precision(recipe: Recipe, folder: Path | None, ranks: Ranks) -> Precision:
    """Of rank 0's processor; a run that goes on keeps its own, wherever it goes on."""
    if folder is not None and recipe.train.precision == "auto":
        return snapshot.precision_of(folder)
    return resolve_precision(recipe.train.precision, ranks.device)


def _recorder(session: Session, resolved: Resolved, resume_step: int | None) -> Recorder:
    recipe = resolved.recipe
    source = recipe.data.train
    batch = "batch_events" if isinstance(source, Generated) else "batch_cost"
    headlines = {
        "seed": recipe.seed,
        "backbone": recipe.model.backbone.name,
        "objective": recipe.objective.name,
        "parts": ", ".join(f"{name}: {part.kind}" for name, part in recipe.data.parts.items()),
        **{f"adapt.{key}": value for key, value in recipe.model.adapt.model_dump(mode="json").items()},
        **_effective(session),
        **{f"data.{key}": getattr(recipe.data, key) for key in (batch, "micro_batch_cost", "augment")},
        **{f"train.{key}": value for key, value in recipe.train.model_dump(mode="json").items()},
    }
    return Recorder(
        session.run,
        uri=recipe.tracking.uri,
        experiment=recipe.tracking.experiment,
        params=headlines,
        tags={"hepfm.recipe_hash": resolved.hash},
        dataset={
            "name": recipe.name,
            "digest": session.train.digest,
            "source": _named(source),
        },
        resume_step=resume_step,
    )


def _named(source: str | list[str] | Generated) -> str:
    if isinstance(source, Generated):
        return f"generator {source.generator}, seed {source.seed}, {source.events} events from {source.first}"
    return source if isinstance(source, str) else ", ".join(source)


def _callbacks() -> list[Callback]:
    return [plugins().load("callbacks", spec.name)() for spec in plugins().specs("callbacks")]
