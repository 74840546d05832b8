"""Timing in turn, and a line of the scoreboard.

Ways that are compared run one after the other in every round of one process, so that a machine that changes
its speed changes it for all of them; ratios are taken round by round.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROUNDS = 7
"""Repeats that count; one more before them warms up."""


@dataclass(frozen=True)
class Spread:
    """A figure's median and quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(middle, low, high)

    @classmethod
    def exact(cls, value: float) -> Spread:
        """A figure that is counted, not timed."""
        return cls(value, value, value)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One comparison.

    Attributes:
        what: Is measured.
        unit: Of the figures.
        ours: hepfm's figure.
        peer: Name of what it is compared with.
        theirs: Its figure; None where it could not be had, and the note says why.
        ratio: How many times better ours is.
        target: In words.
        met: Whether it is reached; None where the line has no target.
        limit: What no implementation can beat.
        note: What else a reader must know; by how much a target is missed, and why.
    """

    what: str
    unit: str
    ours: Spread
    peer: str = ""
    theirs: Spread | None = None
    ratio: Spread | None = None
    target: str = ""
    met: bool | None = None
    limit: str = ""
    note: str = ""


def in_turn(
    ways: Mapping[str, Callable[[], float]], *, quick: bool, rounds: int = ROUNDS
) -> dict[str, list[float]]:
    """What each way returned, of every round but the first; way by way within each round."""
    figures: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(2 if quick else rounds + 1):
        for name, way in ways.items():
            figure = way()
            if round_:
                figures[name].append(figure)
    return figures


def seconds(call: Callable[[], Any]) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def ratios(ours: Sequence[float], theirs: Sequence[float], *, higher_is_better: bool) -> Spread:
    """How many times better ours is, round by round."""
    pairs = zip(ours, theirs, strict=True)
    return Spread.of([a / b if higher_is_better else b / a for a, b in pairs])


def one_core() -> None:
    """Keeps this process, its threads and its children on one core, with one thread for torch."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import torch

    torch.set_num_threads(1)


def machine() -> dict[str, Any]:
    """The processor, its cores, and the versions that figures depend on."""
    import torch

    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
