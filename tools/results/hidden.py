# ruff: noqa: INP001
"""What a trained model expects on the hidden samples of waveforms, sample by sample."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results.trained import Trained

from hepfm.training.validate import validation_plan

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Hidden:
    """Samples of hidden patches, ``(N,)`` each; heights are compressed, in units of ``asinh``.

    Attributes:
        event: Row of the store.
        plane: Of the channel.
        channel: Its number.
        tick: From the event's start.
        truth: The height.
        expected: What the model expects: the probability that the sample is active, times its height then.
    """

    event: Array
    plane: Array
    channel: Array
    tick: Array
    truth: Array
    expected: Array


@torch.no_grad()
def hidden_of(trained: Trained, path: Path, part: str) -> Hidden:
    """The hidden samples of all events of a store, under the masks of validation."""
    module, rows, first = trained.module, [], 0
    for batch in trained.events(path, at_once=2):
        plan = validation_plan(module, batch, trained.recipe.seed, torch.device("cpu"))
        predictions, _ = module.objective._predict(module.encoder, plan)  # noqa: SLF001
        logits, heights = predictions[part].unbind(1)
        masking = plan.payload[part]
        windows, truth = masking.units.payload.keep(~masking.visible), masking.target.payload
        unit, place = truth.slot // windows.patch, truth.slot % windows.patch
        found = Hidden(
            event=first + windows.event[unit],
            plane=windows.plane[unit],
            channel=windows.channel[unit],
            tick=windows.window[unit] * windows.patch + place,
            truth=truth.value,
            expected=(logits.sigmoid() * heights).flatten()[truth.slot],
        )
        rows.append(found)
        first += len(batch)
    return Hidden(
        **{f.name: np.concatenate([getattr(row, f.name).numpy() for row in rows]) for f in fields(Hidden)}
    )
