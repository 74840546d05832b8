"""What a run knows beside its engine, and how it lies in a checkpoint."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from hepfm.data.order import Cursor
from hepfm.training import checkpoint


@dataclass(kw_only=True)
class State:
    """Where a run is.

    Attributes:
        step: Optimiser steps tried so far.
        cursor: Where the next global batch starts.
        bad_in_a_row: Steps up to here that were not taken, without one between that was.
        bad_steps: All steps that were not taken.
        averaged: Updates of the averaged weights.
        train_loss: Of the last step that was taken.
        val_loss: Of the last validation, if there was one.
        val_loss_baseline: The same for what learns nothing.
        validated: Step of the last validation.
        score: What it was worth (``train.best_by``): the lower, the better; None where that is not known.
        best_score: The best one so far.
        best_step: Its step.
        since_best: Validations after it.
        effective_s: Time in steps that count (`hepfm.training.effective`).
    """

    step: int = 0
    cursor: Cursor = field(default_factory=Cursor)
    bad_in_a_row: int = 0
    bad_steps: int = 0
    averaged: int = 0
    train_loss: float | None = None
    val_loss: float | None = None
    val_loss_baseline: float | None = None
    validated: int | None = None
    score: float | None = None
    best_score: float | None = None
    best_step: int | None = None
    since_best: int = 0
    effective_s: float = 0.0

    def count(self, *, taken: bool, loss: float, seconds: float) -> None:
        """Notes how a step ended, and how long it took."""
        if taken:
            self.effective_s += seconds
            self.train_loss = loss
            self.bad_in_a_row = 0
        else:
            self.bad_steps += 1
            self.bad_in_a_row += 1

    def judge(self, score: float | None) -> None:
        """Notes what a validation was worth."""
        self.score = score if score is not None and math.isfinite(score) else None
        if self.score is not None and (self.best_score is None or self.score < self.best_score):
            self.best_score, self.best_step, self.since_best = self.score, self.step, 0
        else:
            self.since_best += 1

    def forget_validations(self) -> None:
        """For a run that goes on from another one's checkpoint, or on other events."""
        self.validated = self.score = self.best_score = self.best_step = None
        self.since_best = 0

    def to_json(self) -> str:
        """As it lies in a checkpoint."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def read(cls, path: Path) -> State:
        """What a file of `to_json` says."""
        content = checkpoint.read_json(path)
        content["cursor"] = Cursor(**content["cursor"])
        return cls(**{f.name: content[f.name] for f in fields(cls) if f.name in content})
