"""A run as it goes, read from its metrics file: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

_PLAIN_EVERY_S = 10.0
_POLL_S = 0.2


class Follower:
    """Shows what a run's ``metrics.jsonl`` says, from a thread, between ``with`` and its end."""

    def __init__(
        self, metrics: Path, *, name: str, steps: int, console: Console, begin: str = "starting"
    ) -> None:
        self._metrics = metrics
        self._name = name
        self._steps = steps
        self._console = console
        self._begin = begin
        self._done = threading.Event()
        self._offset = metrics.stat().st_size if metrics.exists() else 0
        self._inode = metrics.stat().st_ino if metrics.exists() else 0
        # A run that goes on, here or after the loss of a worker, replaces the file by one without the steps
        # that it makes again; the rest is no news.
        self._old = set(map(hash, metrics.read_bytes().splitlines(keepends=True)) if metrics.exists() else ())
        self._thread = threading.Thread(target=self._run, name="hepfm-progress", daemon=True)
        self._latest: dict[str, float] = {}
        self._words: deque[str] = deque()

    def say(self, sentence: str) -> None:
        """Prints a sentence above the bar, soon; may be called from a signal handler."""
        self._words.append(sentence)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        if self._console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=self._console, refresh_per_second=4) as progress:
                task = progress.add_task(self._name, total=self._steps, figures=self._begin)
                self._follow(progress, task)
        else:
            self._console.print(f"{self._name}: {self._begin}, {self._steps} steps", highlight=False)
            self._follow(None, TaskID(0))

    def _follow(self, progress: Progress | None, task: TaskID) -> None:
        printed = time.monotonic()
        ending = False
        while True:
            while self._words:
                self._console.print(self._words.popleft(), highlight=False, soft_wrap=True)
            for line in self._lines():
                self._latest.update({k: v for k, v in line["metrics"].items() if isinstance(v, int | float)})
                step = int(line["step"])
                validated = "val/loss" in line["metrics"]
                if progress is not None:
                    progress.update(task, completed=step, figures=self._figures())
                elif validated or time.monotonic() - printed > _PLAIN_EVERY_S:
                    text = f"step {step}/{self._steps}  {self._figures()}"
                    self._console.print(text, highlight=False, soft_wrap=True)
                    printed = time.monotonic()
            if ending:
                return
            ending = self._done.wait(_POLL_S)

    def _lines(self) -> Iterator[dict[str, Any]]:
        """Whole lines that came since the last call."""
        if not self._metrics.exists():
            return
        with self._metrics.open("rb") as file:
            if (inode := os.fstat(file.fileno()).st_ino) != self._inode:
                self._inode, self._offset = inode, 0
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                if (known := hash(line)) not in self._old:
                    self._old.add(known)
                    yield json.loads(line)

    def _figures(self) -> str:
        shown = []
        for key, form in (
            ("train/loss", "loss {:.4f}"),
            ("val/loss", "val {:.4f}"),
            ("val/loss_baseline", "(no learning {:.4f})"),
        ):
            if key in self._latest:
                shown.append(form.format(self._latest[key]))
        if skipped := self._latest.get("train/bad_steps"):
            shown.append(f"{skipped:.0f} steps skipped (log.txt)")
        if (rate := self._latest.get("throughput/events_per_s")) is not None:
            shown.append(f"{_three_figures(rate)} events/s")
        if (waiting := self._latest.get("data/wait_fraction")) is not None:
            shown.append(f"data wait {waiting:.1%}")
        return "  ".join(shown)


def _three_figures(value: float) -> str:
    """A number with three significant figures, and with all those before its point."""
    decimals = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:.{max(0, decimals)}f}"
