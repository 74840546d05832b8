"""Pictures of a few events: what was visible, hidden and predicted; of a task, truth beside prediction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from hepfm.api import Batch, Labelled, PartSchema
from hepfm.data.tensors import to_device, to_numpy, to_torch
from hepfm.display.answers import answer_panels
from hepfm.display.event import RECONSTRUCTED, event_of, reconstruction_panels
from hepfm.display.panels import Panel
from hepfm.objectives.task import Task
from hepfm.objectives.units import units_of
from hepfm.training.model import PretrainModule
from hepfm.training.session import Session
from hepfm.training.validate import validation_plan

_log = logging.getLogger(__name__)

IN_A_ROW = len(RECONSTRUCTED)
"""Panels of a row: visible, hidden, predicted; or true, predicted, wrong."""

Picture = Callable[[int], list[Panel]]
"""Which event of a batch, to its panels."""


@torch.no_grad()
def draw(session: Session) -> list[Path]:
    """Draws the first validation events as HTML and PNG, in place of those of the validation before.

    All ranks call this: at ZeRO 3 none has the whole model.

    Returns:
        The files, on rank 0.
    """
    count = min(session.recipe.tracking.displays, len(session.val) if session.val is not None else 0)
    if not count or session.val is None:
        return []
    module, ranks = session.engine.module, session.ranks
    labels = isinstance(module.objective, Labelled)
    batch = to_torch(session.val.read(range(count), labels=labels))
    module.eval()
    with torch.autocast(ranks.device.type, torch.bfloat16, enabled=module.precision == "bf16"):
        picture = seen(module, batch, session.val.parts, seed=session.recipe.seed, device=ranks.device)
    module.train()
    if ranks.rank > 0 or picture is None:
        return []
    try:
        return _files(session, picture, batch.event_ids.tolist())
    except Exception:  # noqa: BLE001  whatever a plugin's display can do: a picture is not worth the run
        _log.exception("the displays of step %d could not be drawn; training goes on", session.state.step)
        return []


def seen(
    module: PretrainModule,
    batch: Batch,
    parts: Mapping[str, PartSchema],
    *,
    seed: int,
    device: torch.device,
) -> Picture | None:
    """Lets a model see events, in evaluation; their panels are made when they are asked for.

    Args:
        module: Encoder and objective.
        batch: Torch events; without labels, what a head predicts is drawn alone.
        parts: Part name to schema.
        seed: Of what is hidden: the run's, for what its validations hide.
        device: Of the model.

    Returns:
        How an event is drawn; None where the objective neither hides nor predicts anything.
    """
    objective = module.objective
    if isinstance(objective, Task):
        return _answered(objective, module, batch, parts, device)
    found = objective.reconstruct(module.encoder, validation_plan(module, batch, seed, device))
    return partial(reconstruction_panels, found, parts) if found else None


def _answered(
    task: Task, module: PretrainModule, batch: Batch, parts: Mapping[str, PartSchema], device: torch.device
) -> Picture:
    moved = to_device(batch, device)
    units = units_of(moved, task.modalities)
    predicted = task.predicted(task.prediction(module.encoder, moved, units), device)
    events = to_numpy(batch)

    def picture(event: int) -> list[Panel]:
        return answer_panels(
            events.event(event),
            event_of(predicted, event),
            event_of(task.truth(events) if events.labels else {}, event),
            schemas=parts,
            predictions=task.head.predictions,
        )

    return picture


def _files(session: Session, picture: Picture, event_ids: Sequence[int]) -> list[Path]:
    # Half a second of importing plotly and matplotlib, which runs and ranks that draw nothing go without.
    from hepfm.display.html import write_html
    from hepfm.display.png import write_png

    folder = session.run.path / "displays"
    folder.mkdir(exist_ok=True)
    files = []
    for i, event_id in enumerate(event_ids):
        panels = picture(i)
        title = f"event {event_id & 0xFFFFFFFFFFFFFFFF:016x}, step {session.state.step}"
        for suffix, write in ((".html", write_html), (".png", write_png)):
            path = folder / f"event-{i}{suffix}"
            write(panels, path, title, in_a_row=IN_A_ROW)
            files.append(path)
    return files
