"""Whether events may be used to judge a model: they fit it, have its labels, and were not trained on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from hepfm.api import PartSchema
from hepfm.data.alike import bare, unlike, unreadable
from hepfm.data.few import FewEvents, whole_of
from hepfm.data.source import EventSource, Source, check_apart, open_source
from hepfm.errors import DataError, HepfmError, RecipeError
from hepfm.nn.encoder import Encoder
from hepfm.objectives.task import Task
from hepfm.readers.writer import schema_differences
from hepfm.recipe.schema import Data
from hepfm.training.pretrained import Pretrained
from hepfm.training.snapshot import trained_on


def task_of(model: Pretrained, task: str | None = None) -> Task:
    """What a model was trained for.

    Args:
        model: Of a checkpoint.
        task: The head's name, where one is wanted.

    Raises:
        RecipeError: It was trained without a head, or with another one.
    """
    objective = model.module.objective
    if not isinstance(objective, Task):
        raise RecipeError(
            f"This run has no head: it was pretrained ('{model.recipe.objective.name}').",
            where=str(model.folder),
            fix="hepfm finetune teaches it a task; hepfm embed writes what it makes of events",
        )
    if task not in (None, objective.config.head.name):
        raise RecipeError(
            f"This run has no head '{task}': its task is '{objective.config.head.name}'.",
            where=str(model.folder),
            fix="leave --task out, or name another run",
        )
    return objective


def check_inputs(model: Pretrained, parts: Mapping[str, PartSchema], *, where: str) -> list[str]:
    """Makes sure that events have the columns that a model reads.

    Args:
        model: Of a checkpoint.
        parts: Part name to the schema of the events.
        where: Where they are from, for messages.

    Returns:
        Sentences on what differs besides, such as the size of a voxel: the model computes, but was not
        trained for it.

    Raises:
        DataError: A column is missing, or has another type, shape or unit.
    """
    if wrong := unreadable(model.parts, parts, model.modalities):
        raise DataError(
            "The events do not have the inputs that the model was trained with.",
            where=f"{where}; the training (there) and these events (here): {'; '.join(wrong[:3])}",
            fix="convert them as the training events were, or set the reader's options (--option)",
        )
    return [f"not as in training: {each}" for each in unlike(model.parts, parts)[:5]]


def check_labels(task: Task, encoder: Encoder, source: Source, *, where: str) -> None:
    """Makes sure that events have the labels of a head, and that these mean the same.

    Args:
        task: The head, made for the events that it learns from.
        encoder: That it reads.
        source: The other events.
        where: Where they are from, for messages.

    Raises:
        DataError: They are missing (which), or stand for something else.
    """
    try:
        with torch.random.fork_rng(devices=[]):  # a head as one would be made for these events
            head = Task(task.config, modalities=source.modalities, d_model=encoder.d_model).head
    except DataError as error:
        name = task.config.head.name
        raise DataError(
            f"The events cannot be compared with what the head '{name}' predicts. {error.what}",
            where="; ".join(filter(None, (where, error.where))),
            fix="name labelled events; without labels, hepfm predict writes the predictions",
        ) from error
    if different := schema_differences(bare(task.head.predictions), bare(head.predictions)):
        raise DataError(
            "The labels of the events mean something else than those that are learned from.",
            where=f"{where}; what is learned (there) and these events (here): {'; '.join(different[:3])}",
            fix="give the labels the names and values of the training events",
        )


def check_unseen(model: Pretrained, source: Source, *, where: str) -> list[str]:
    """Makes sure that a model, and those that its weights come from, were trained on none of these events.

    Events are told apart by their ids where the training data is still where it was, else by its digest.

    Returns:
        Sentences on what flatters, or could not be looked at.

    Raises:
        DataError: It was trained on some of them.
    """
    doubts = _of_validation(model, source)
    for each in trained_on(model.about):
        data = Data.model_validate(each["data"])
        refused = DataError(
            "The model was trained on these events, so figures would flatter.",
            where=f"{where}; checkpoint {model.folder}",
            fix="name events that it has not seen: hepfm data split makes files apart",
        )
        known = _as_drawn(whole_of(source), data, each["seed"])
        if known.digest == each["digest"] and np.isin(source.event_ids(), known.event_ids()).any():
            raise refused
        try:
            train = open_source(
                data.train, parts=data.parts, reader=data.reader_name, options=data.reader_options
            )
            train = _as_drawn(train, data, each["seed"])
        except HepfmError:
            doubts.append(
                f"the training events {data.train} are not here: the files are others, single events were "
                "not compared"
            )
            continue
        try:
            check_apart(train, source)
        except DataError as error:
            raise DataError(
                "The model was trained on some of these events, so figures would flatter.",
                where=error.where,
                fix=refused.fix,
            ) from error
    return doubts


def _of_validation(model: Pretrained, source: Source) -> list[str]:
    """A sentence where a run was validated on some of the events."""
    data = Data.model_validate(model.about["recipe"]["data"])
    if whole_of(source).digest == model.about["data_digests"].get("val"):
        return ["these are the run's validation events: settings chosen by them are flattered"]
    if data.val is None:
        return []
    try:
        val = open_source(data.val, parts=data.parts, reader=data.reader_name, options=data.reader_options)
    except HepfmError:  # they are not here: known by their digest alone
        return []
    try:
        check_apart(val, source)
    except DataError:
        return ["some are the run's validation events: settings chosen by them are flattered"]
    return []


def _as_drawn(source: Source, data: Data, seed: int) -> Source:
    """A source, or as many of its events as a training drew (`data.train_events`)."""
    few = data.train_events
    if few is None or not isinstance(source, EventSource) or few > len(source):
        return source
    return FewEvents(source, few, seed)
