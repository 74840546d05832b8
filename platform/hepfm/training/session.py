"""A run in this process: all that the loop, its validations and its checkpoints work on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from hepfm.api import Callback
from hepfm.data.source import Source
from hepfm.nn.ema import Ema
from hepfm.recipe.schema import Recipe
from hepfm.tracking.recorder import Recorder
from hepfm.tracking.runs import RunDir
from hepfm.training import signals
from hepfm.training.effective import Clock
from hepfm.training.engine import Engine
from hepfm.training.ranks import Ranks
from hepfm.training.saver import Saver
from hepfm.training.state import State


@dataclass(kw_only=True)
class Session:
    """A run in this process.

    Attributes:
        recipe: What to do.
        run: Its folder.
        ranks: The processes that train together.
        engine: Model and optimiser.
        ema: Moving average of the weights, if the recipe asks for one.
        train: Training events.
        val: Validation events, if there are any.
        about: What ``model.json`` says of the model.
        state: Where the run is.
        saver: Writes its checkpoints.
        saved: Where the run was when the newest checkpoint was begun.
        recorder: On rank 0.
        callbacks: On rank 0, those of plugins.
        clock: On rank 0, for the effective training time.
        deadline: `time.monotonic` at which this rank asks to stop.
        left_out: What a generator left out or changed in this rank's training events so far.
    """

    recipe: Recipe
    run: RunDir
    ranks: Ranks
    engine: Engine
    ema: Ema | None
    train: Source
    val: Source | None
    about: Mapping[str, Any]
    saver: Saver
    state: State = field(default_factory=State)
    saved: State | None = None
    recorder: Recorder | None = None
    callbacks: Sequence[Callback] = ()
    clock: Clock | None = None
    deadline: float | None = None
    left_out: Counter[str] = field(default_factory=Counter)

    def stop_asked(self) -> str | None:
        """Why this rank asks to stop after the step: a signal, the run's stop file, or its time limit."""
        if (reason := signals.noted()) is not None:
            return reason
        if self.ranks.rank == 0 and (reason := self.run.stop_asked()) is not None:
            return reason
        late = self.deadline is not None and time.monotonic() > self.deadline
        return "its time limit was reached" if late else None

    def effective_time(self) -> dict[str, float]:
        """The share of the run's wall time that went into steps that count, where it is known: on rank 0."""
        return {} if self.clock is None else {"time/effective": self.clock.share(self.state.effective_s)}

    def record(self, figures: Mapping[str, float]) -> None:
        """Records figures of the current step, on rank 0."""
        if self.recorder is not None:
            self.recorder.metrics(self.state.step, figures)

    def average(self) -> Iterator[tuple[str, torch.Tensor]]:
        """`Engine.weights`, averaged, where the recipe asks for that; all ranks go through them."""
        if self.ema is None:
            return
        if self.engine.stage == 3:
            with self.averaged_weights():
                yield from self.engine.weights()
        else:
            average = self.ema.average
            yield from ((name, average.get(name, tensor)) for name, tensor in self.engine.weights())

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Within, the model has the averaged weights, where the recipe asks for them."""
        if self.ema is None:
            yield
            return
        with self.ema.swap():
            self.engine.refresh()
            yield
        self.engine.refresh()
