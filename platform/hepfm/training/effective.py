"""Effective training time: the share of a run's wall time that went into steps that count.

*Steps that count* are those in the history of the newest weights: taken (their gradients were finite), and
not lost again to a kill. Their time is that of `hepfm.training.loop`'s step: waiting for the batch, forward,
backward, optimiser. It is kept in the checkpoint, so that of a step that is made again, one time counts.

*Wall time* is the sum over attempts at the run. An attempt begins with the process that launches it (its
imports, Ray's start and that of workers belong to it, and so do restarts of workers while it lives), and ends
with it; one that was killed, with its last sign of life, the youngest of the files that training writes. The
time between attempts, when no process of the run lives, does not count.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepfm.tracking.runs import RunDir


@dataclass(frozen=True)
class Clock:
    """Tells the share; made when training starts.

    Attributes:
        earlier_s: Wall time of the attempts before this one, s.
        started: When this one began, s since 1970.
    """

    earlier_s: float
    started: float

    def share(self, counted_s: float) -> float:
        """The effective training time, 0 to 1.

        Args:
            counted_s: Seconds in steps that count.
        """
        return min(1.0, counted_s / max(1e-9, self.earlier_s + time.time() - self.started))


@contextmanager
def attempt(run: RunDir, started: float) -> Iterator[None]:
    """Notes an attempt at a run in its ``run.json``; to be entered before anything is written there.

    Args:
        run: The run.
        started: When it began, s since 1970.
    """
    attempts = _attempts(run)
    if attempts and attempts[-1]["ended"] is None:  # it was killed
        attempts[-1]["ended"] = max(attempts[-1]["started"], _last_sign_of_life(run))
    if attempts:  # a clock that was set back makes no time negative
        started = max(started, attempts[-1]["ended"])
    attempts.append({"started": started, "ended": None})
    run.update(attempts=attempts)
    try:
        yield
    finally:
        attempts[-1]["ended"] = max(started, time.time())
        with suppress(OSError):  # the last sign of life has to do
            run.update(attempts=attempts)


def clock(run: RunDir) -> Clock:
    """The clock of the attempt that goes on."""
    *earlier, last = _attempts(run)
    return Clock(sum(each["ended"] - each["started"] for each in earlier), last["started"])


def _attempts(run: RunDir) -> list[dict[str, Any]]:
    return list(run.json().get("attempts") or ())


def _last_sign_of_life(run: RunDir) -> float:
    written = (run.log_path, run.metrics_path, run.spool / "outbox.jsonl", run.checkpoints)
    return max((_changed(path) for path in written), default=0.0)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
