"""``python -m hepfm.jobs.entry RUN_DIR``: what a submitted job runs on the cluster's head.

It looks whether this is the place that the run was submitted to, and trains in a process of its own, which it
starts again from the newest checkpoint where that dies.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import os
import platform
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from hepfm.errors import HepfmError, PluginError, RecipeError, Stopped, TrainingError
from hepfm.plugins import plugins
from hepfm.tracking.runs import STOP_NOW, RunDir

_POLL_S = 0.2
_FREE_S = 90.0
_LONGEST_WAIT_S = 60.0


def main(arguments: list[str]) -> int:
    """Trains a run to its end; returns what this process is to exit with."""
    parser = argparse.ArgumentParser(prog="python -m hepfm.jobs.entry", description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--max-retries", type=int, default=3)
    given = parser.parse_args(arguments)
    try:
        run = _look(given.run_dir)
    except HepfmError as error:
        print(f"Error: {error}", flush=True)  # noqa: T201  the job's log
        return error.exit_code
    command = [sys.executable, "-m", "hepfm", "resume", str(run.path), "--address", "auto"]
    return Supervisor(run, command, max_retries=given.max_retries).run()


def _look(folder: Path) -> RunDir:
    """The run, if it can be trained here.

    Raises:
        RecipeError: Its folder is not here, or this is another Python than the submitter's.
        PluginError: A plugin of the submitter's is missing here, or of another version.
    """
    run = RunDir(folder)
    if not (folder / "run.json").is_file():
        raise RecipeError(
            "The cluster's head does not see the run's folder: it is not on storage that both share.",
            where=f"{folder} on {platform.node()}",
            fix="submit with --runs on a file system that all nodes mount at the same path",
        )
    there = run.json()["job"]["made_with"]
    here = made_with()
    if there["python"].split(".")[:2] != here["python"].split(".")[:2]:
        raise RecipeError(
            f"The job was submitted with Python {there['python']}; the cluster's head has {here['python']}.",
            fix="use the same version on both sides",
        )
    lines = []
    for name, wanted in there["plugins"].items():
        if (found := here["plugins"].get(name)) != wanted:
            has = f"has {found['distribution']} {found['version']}" if found else "is missing"
            lines.append(f"{name} ({wanted['distribution']} {wanted['version']}) {has} there")
    if lines:
        raise PluginError(
            "The cluster's head has other plugins than the submitter: " + "; ".join(lines) + ".",
            where=f"{sys.executable} on {platform.node()}",
            fix="install the same on every node; plugins installed from a folder travel with the job",
        )
    return run


def made_with() -> dict[str, Any]:
    """What must be the same where a job is submitted and where it runs."""
    return {"python": platform.python_version(), "plugins": plugins().versions()}


class Supervisor:
    """Trains a run in a process of its own, and starts it again when it dies.

    Args:
        run: The run.
        command: Trains it from its newest checkpoint.
        max_retries: How often it is started again, after it was killed or failed (exit code 1).
        first_wait_s: Before it is started again; twice as long each time.
    """

    def __init__(
        self, run: RunDir, command: list[str], *, max_retries: int, first_wait_s: float = 2.0
    ) -> None:
        self._run = run
        self._command = command
        self._max_retries = max_retries
        self._wait_s = first_wait_s
        self._stopping = ""
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Trains to the end; SIGTERM, SIGUSR1 and SIGINT are passed on, and it is not started again."""
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            signal.signal(number, self._stop)
        self._run.update(job=self._run.json()["job"] | {"started": _now(), "retries": 0, "exit_code": None})
        retries = 0
        while True:
            code = self._train()
            if self._run.json()["status"] == "done":
                code = 0  # whatever ended the process after its last step
            if self._stopping or retries == self._max_retries or not (code < 0 or code == 1):
                break
            retries += 1
            self._say(
                f"training {_ended(code)}; it goes on from {self._newest()} in {self._wait_s:.0f} s "
                f"(retry {retries} of {self._max_retries})"
            )
            self._run.update(job=self._run.json()["job"] | {"retries": retries})
            self._pause()
            if self._stopping:
                break
        return self._finish(code, retries)

    def _train(self) -> int:
        """Trains once; returns the exit code, negative for a signal."""
        parent = os.getpid()
        # Where this process is killed, its training ends too, after a checkpoint.
        self._child = subprocess.Popen(  # noqa: S603
            self._command,
            preexec_fn=functools.partial(_die_with, parent),  # noqa: PLW1509  there are no threads here
        )
        if self._stopping:  # the signal came while the process was started
            self._child.send_signal(signal.SIGKILL if self._stopping == STOP_NOW else signal.SIGTERM)
        while True:
            with suppress(subprocess.TimeoutExpired):
                return self._child.wait(_POLL_S)
            if self._run.stop_asked() == STOP_NOW:
                self._stopping = STOP_NOW
                self._child.kill()

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._stopping = self._stopping or signal.Signals(number).name
        if (
            self._run.stop_asked() == STOP_NOW
        ):  # before training hears of the signal, and notes that as the reason
            self._stopping = STOP_NOW
            number = signal.SIGKILL
        if self._child is not None and self._child.poll() is None:
            # Ray may have sent the same to it already; a second interrupt would end it at once.
            self._child.send_signal(signal.SIGTERM if number == signal.SIGINT else number)

    def _pause(self) -> None:
        """Waits before the next try, and until the last one's workers have let the run go."""
        end = time.monotonic() + self._wait_s
        self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S)
        while time.monotonic() < end and not self._stopping:
            time.sleep(_POLL_S)
        self._until_free()

    def _until_free(self) -> None:
        waiting = self._run.lock(patience_s=_FREE_S, unless=lambda: self._stopping == STOP_NOW)
        with suppress(TrainingError), waiting:
            pass

    def _finish(self, code: int, retries: int) -> int:
        """Closes the record of a training that could not do it itself, and says how it ended."""
        killed = code < 0
        if self._stopping and code == -signal.SIGTERM:
            code = Stopped.exit_code  # before it could listen; nothing was lost
        elif killed:
            code = 1
        if killed:
            from hepfm.recipe.load import load_recipe
            from hepfm.tracking.recorder import closed_at_last

            self._until_free()
            why: BaseException = KeyboardInterrupt(self._stopping)
            if not self._stopping:
                why = TrainingError("its process was killed")
            uri = load_recipe(str(self._run.recipe_path)).recipe.tracking.uri
            with suppress(KeyboardInterrupt, TrainingError), closed_at_last(self._run, uri):
                raise why
        self._run.update(job=self._run.json()["job"] | {"exit_code": code, "ended": _now()})
        if code == 0:
            how = "done"
        else:
            how = f"stopped by {self._stopping}" if self._stopping else f"failed, exit code {code}"
        tried = f", after {retries} {'retry' if retries == 1 else 'retries'}" if retries else ""
        again = f"; it can go on from {self._newest()}: hepfm job resume {self._run.name}"
        rest = "" if code == 0 else again
        self._say(f"job {how}{tried}{rest}")
        return code

    def _newest(self) -> str:
        return self._run.newest_checkpoint or "the beginning"

    def _say(self, sentence: str) -> None:
        line = f"{_now()} job: {sentence}"
        print(line, flush=True)  # noqa: T201  the job's log
        with self._run.log_path.open("a", encoding="utf-8") as log:
            log.write(line + "\n")


def _die_with(parent: int) -> None:
    """Has the kernel send SIGTERM to this process when its parent dies."""
    set_death_signal = 1
    ctypes.CDLL(None).prctl(set_death_signal, int(signal.SIGTERM))
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def _ended(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"failed with exit code {code} (what it said of that stands above)"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
