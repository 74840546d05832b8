"""Pictures at a validation: what was visible, hidden and predicted in a few validation events."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from hepfm.api import Labelled, Reconstruction
from hepfm.data.tensors import to_torch
from hepfm.display.event import RECONSTRUCTED, reconstruction_panels
from hepfm.training.session import Session
from hepfm.training.validate import validation_plan

_log = logging.getLogger(__name__)


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
    plan = validation_plan(module, batch, session.recipe.seed, ranks.device)
    with torch.autocast(ranks.device.type, torch.bfloat16, enabled=module.precision == "bf16"):
        parts = module.objective.reconstruct(module.encoder, plan)
    module.train()
    if ranks.rank > 0 or not parts:
        return []
    try:
        return _files(session, parts, batch.event_ids.tolist())
    except Exception:  # noqa: BLE001  whatever a plugin's display can do: a picture is not worth the run
        _log.exception("the displays of step %d could not be drawn; training goes on", session.state.step)
        return []


def _files(session: Session, parts: Mapping[str, Reconstruction], event_ids: Sequence[int]) -> list[Path]:
    # Half a second of importing plotly and matplotlib, which runs and ranks that draw nothing go without.
    from hepfm.display.html import write_html
    from hepfm.display.png import write_png

    assert session.val is not None
    folder = session.run.path / "displays"
    folder.mkdir(exist_ok=True)
    files = []
    for i, event_id in enumerate(event_ids):
        panels = reconstruction_panels(parts, session.val.parts, i)
        title = f"event {event_id & 0xFFFFFFFFFFFFFFFF:016x}, step {session.state.step}"
        for suffix, write in ((".html", write_html), (".png", write_png)):
            path = folder / f"event-{i}{suffix}"
            write(panels, path, title, in_a_row=len(RECONSTRUCTED))
            files.append(path)
    return files
