"""Signals that ask a training to stop: noted when they come, obeyed after the next step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from hepfm.errors import Stopped
from hepfm.tracking.runs import RunDir

_NAMES = {signal.SIGTERM: "SIGTERM", signal.SIGUSR1: "SIGUSR1", signal.SIGINT: "Ctrl-C"}
_noted: list[str] = []
_tell: list[Callable[[str], None]] = []


def noted() -> str | None:
    """The signal that asked this process to stop first, within `noting`."""
    return _noted[0] if _noted else None


def stopped(reason: str, run: RunDir) -> Stopped:
    """What a training raises that was asked to stop and did so."""
    steps = run.json()["steps"]
    error = Stopped(
        f"Stopped ({reason}) after step {steps}, with a checkpoint." if steps else f"Stopped ({reason}).",
        where=str(run.path),
        fix=f"hepfm resume {run.name} goes on from there",
    )
    error.reason = reason
    return error


@contextmanager
def noting(tell: Callable[[str], None]) -> Iterator[None]:
    """Within, SIGTERM, SIGUSR1 and the first Ctrl-C are noted, where they would have ended this process.

    The second Ctrl-C raises `KeyboardInterrupt`; from then on Ctrl-C ends the process on the spot.
    In another thread than the main one, where Python takes no handlers, nothing is noted.

    Args:
        tell: Is told the name of the first signal, and of the first Ctrl-C; in the main thread, between any
            two instructions of it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _NAMES}
    _noted.clear()
    _tell.append(tell)
    for number in _NAMES:
        signal.signal(number, _handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _tell.remove(tell)  # not before: our handlers tell it
        _noted.clear()


def _handle(number: int, _frame: FrameType | None) -> None:
    name = _NAMES[signal.Signals(number)]
    if number == signal.SIGINT and name in _noted:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise KeyboardInterrupt
    news = not _noted or (number == signal.SIGINT and name not in _noted)
    _noted.append(name)
    if news:
        _tell[-1](name)
