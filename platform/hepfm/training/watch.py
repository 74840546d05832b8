"""Which ranks did not come, when others wait for them too long; and what they were doing."""

from __future__ import annotations

import faulthandler
import logging
import os
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from hepfm.errors import TrainingError
from hepfm.tracking.runs import RunDir

_log = logging.getLogger(__name__)
_NOT_COME = "did not come to an exchange"


class Watch:
    """Counts how often each rank has come to an exchange, from ``with`` to its end.

    A rank that has been still for four fifths of the time-out compares its count with those of the others.
    One that is behind writes the stacks of its threads to the log; the others write for whom they wait. Where
    a rank hangs on after the others have given up, its process is ended; one that is slow while nobody waits
    for it is left alone. A rank that waits in an exchange which does not fail by itself (NCCL's abort the
    process) writes why to ``run.json``, and ends too.

    Args:
        rank: This process.
        world: Number of processes.
        timeout_s: After which the others' exchange with a rank that does not come fails.
        store: torch's key-value store that all ranks reach, for this run alone.
        run: What they train; stacks go to its log.
    """

    def __init__(self, rank: int, world: int, timeout_s: float, store: Any, run: RunDir) -> None:
        self._rank, self._world, self._timeout_s = rank, world, timeout_s
        self._store, self._run = store, run
        self._count, self._moved = 0, time.monotonic()
        self._missing: list[int] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, name="hepfm-watch", daemon=True)

    def __enter__(self) -> Self:
        self._store.set(str(self._rank), "0")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Watches no more."""
        self._done.set()
        self._thread.join(timeout=5)

    def arrive(self) -> None:
        """This rank has come to an exchange with the others."""
        self._count += 1
        self._moved = time.monotonic()

    def verdict(self) -> TrainingError | None:
        """What to say of an exchange that failed, where ranks did not come to it in time."""
        if not self._missing:
            return None
        names = " and ".join(map(str, self._missing))
        return TrainingError(
            f"Rank {names} of {self._world} {_NOT_COME} within {self._timeout_s / 60:g} min.",
            where=f"{self._run.log_path} has the stacks of what it was doing",
            fix="look there for storage or a device that hangs; hepfm resume goes on from the newest "
            "checkpoint. Where it was only slow, raise cluster.timeout_minutes",
        )

    def _look(self) -> None:
        published, said_at, asked = 0, -1, time.monotonic()
        awaited: float | None = None  # since when others are known to be ahead
        while not self._done.wait(min(1.0, self._timeout_s / 20)):
            now = time.monotonic()
            still_s, count = now - self._moved, self._count
            try:
                if published != count:
                    self._store.set(str(self._rank), str(count))
                    published, self._missing, awaited = count, [], None
                if awaited is None and min(still_s, now - asked) > 0.2 * self._timeout_s:
                    asked = now
                    awaited = now if max(self._counts()) > count else None
                if still_s > 0.8 * self._timeout_s and said_at != count:
                    said_at = count
                    self._say(still_s)
                if still_s > 1.1 * self._timeout_s and count == self._count:
                    self._give_up()
            except (RuntimeError, OSError):  # rank 0, where the store lives, is gone: nothing can go on
                awaited = awaited or now
            if awaited is not None and now - max(awaited, self._moved) > 1.1 * self._timeout_s:
                _log.error("rank %d hangs after the others have given up; it ends", self._rank)
                os._exit(1)

    def _give_up(self) -> None:
        """Ends this process where it still waits: what it waits in has not failed, and may only abort."""
        self._missing = self._behind()
        verdict = self.verdict()
        if verdict is None or self._rank in self._missing:
            return
        _log.error("rank %d gives up; it ends", self._rank)
        with suppress(OSError):  # where storage fails, the log or the launcher has to do
            self._run.update(status="failed", reason=str(verdict))
        os._exit(1)

    def _behind(self) -> list[int]:
        counts = self._counts()
        return [rank for rank, count in enumerate(counts) if count < max(counts)]

    def _counts(self) -> list[int]:
        return [int(count) for count in self._store.multi_get([str(rank) for rank in range(self._world)])]

    def _say(self, still_s: float) -> None:
        missing = self._behind()
        if missing and self._rank not in missing:
            _log.error("rank %d has waited %.0f s for rank %s", self._rank, still_s, missing)
        if self._rank in missing or not missing:
            _log.error("rank %d has not moved for %.0f s; its threads are at:", self._rank, still_s)
            with self._run.log_path.open("a", encoding="utf-8") as log:
                faulthandler.dump_traceback(log, all_threads=True)
        self._missing = missing


def given_up(run: RunDir) -> TrainingError | None:
    """Why a rank of a run that has ended gave up, where it waited for another in vain and wrote that down."""
    content = run.json()
    reason = content.get("reason") or ""
    return TrainingError(reason) if content["status"] == "failed" and _NOT_COME in reason else None
