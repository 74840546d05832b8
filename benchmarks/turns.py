"""Trainings that take turns: each is a group of processes that runs a block of steps when it is told to.

All are started once and stay; outside of its turn, a group is stopped with all of its threads. The gate is a
hook in front of the backbone, which every way of training calls: it notes when a step's forward begins, holds
the process until it is its group's turn, and waits as long as a device would compute. So each way is timed
alike, from inside, without a line of it being changed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.events import made

_LOOK_S = 0.002


class Gate:
    """Holds and times this process; hooks itself into all modules.

    Attributes:
        finish: Does at the end of a turn, within its last step's time, what a way would else do later, in
            the turn of another.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        from hepfm.nn.transformer import Transformer
        from hepfm.training.model import PretrainModule

        self.folder, self.rank = folder, rank
        self.block, self.left, self.wait_s = 0, 0, 0.0
        self.finish: Callable[[], None] = lambda: None
        self.starts: list[float] = []
        self.tokens: list[int] = []
        self.losses: list[float] = []

        def before(module: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
            if isinstance(module, Transformer):
                self._step(len(arguments[0].x))

        def after(module: torch.nn.Module, _: Any, output: Any) -> None:
            if isinstance(module, PretrainModule) and len(self.losses) < 3:
                self.losses.append(float(output[0].detach()))

        torch.nn.modules.module.register_module_forward_pre_hook(before)
        torch.nn.modules.module.register_module_forward_hook(after)

    def _step(self, tokens: int) -> None:
        if self.left == 0:
            self.finish()
        self.starts.append(time.perf_counter())
        if self.left == 0:
            self._report()
            self._wait_for_turn()
            self.starts, self.tokens = [time.perf_counter()], []
        self.left -= 1
        self.tokens.append(tokens)
        time.sleep(self.wait_s)

    def _report(self) -> None:
        # The first step begins when each rank sees that it is its turn, which is not quite at once.
        steps = [b - a for a, b in zip(self.starts[1:-1], self.starts[2:], strict=True)]
        told = {"steps_s": steps, "tokens": self.tokens[1:], "losses": self.losses}
        path = self.folder / f"done-{self.block}-{self.rank}.json"
        path.with_suffix(".aside").write_text(json.dumps(told))
        path.with_suffix(".aside").rename(path)

    def _wait_for_turn(self) -> None:
        turn = self.folder / f"turn-{self.block + 1}.json"
        while not turn.exists():
            time.sleep(_LOOK_S)
        order = json.loads(turn.read_text())
        self.block += 1
        self.left, self.wait_s = order["steps"] + 1, order["wait_s"]


@dataclass
class Group:
    """The processes of one training.

    Args:
        folder: Of its own.
        way: A function of `benchmarks.loops`.
        world: Number of processes.
        recipe: Changes to ``image3d/masked-tiny``.
        port: For the ranks to meet.
    """

    folder: Path
    way: str
    world: int
    recipe: Mapping[str, Any]
    port: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    block: int = 0

    def start(self) -> None:
        """Starts its processes, which come to their first step and wait there."""
        self.folder.mkdir(parents=True)
        shutil.copy(made("mlflow.db", _empty_store), self.folder)
        spec = {"way": self.way, "folder": str(self.folder), "recipe": dict(self.recipe)}
        common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(self.port)}
        for rank in range(self.world):
            ours = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(self.world)}
            command = [sys.executable, "-m", "benchmarks.loops", json.dumps(spec)]
            with (self.folder / f"log-{rank}.txt").open("wb") as log:
                self.processes.append(
                    subprocess.Popen(
                        command, env=common | ours, stdout=log, stderr=log, start_new_session=True
                    )
                )

    def results(self) -> list[dict[str, Any]]:
        """What each rank has told of the block that was asked for last; block 0 is the start."""
        found = []
        for rank in range(self.world):
            path = self.folder / f"done-{self.block}-{rank}.json"
            while not path.exists():
                if any(process.poll() is not None for process in self.processes):
                    logs = "\n".join(p.read_text()[-2000:] for p in sorted(self.folder.glob("log-*.txt")))
                    raise RuntimeError(f"{self.way} ended:\n{logs}")
                time.sleep(_LOOK_S)
            found.append(json.loads(path.read_text()))
        self._signal(signal.SIGSTOP)
        return found

    def run(self, steps: int, wait_s: float = 0.0) -> list[dict[str, Any]]:
        """Gives it a turn of so many steps, and waits for its end."""
        self._signal(signal.SIGCONT)
        self.block += 1
        path = self.folder / f"turn-{self.block}.json"
        path.with_suffix(".aside").write_text(json.dumps({"steps": steps, "wait_s": wait_s}))
        path.with_suffix(".aside").rename(path)
        return self.results()

    def end(self) -> None:
        """Kills its processes, and what they have started, whether they still live or not."""
        self._signal(signal.SIGKILL)
        for process in self.processes:
            process.wait()

    def _signal(self, number: int) -> None:
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)


def _empty_store(path: Path) -> None:
    # Two ranks that make one at once, as some ways do, break it.
    from mlflow import MlflowClient

    MlflowClient(f"sqlite:///{path}").search_experiments()


def rotated(names: Iterable[str], round_: int) -> list[str]:
    """The order of ways in a round: another is first in each."""
    ways = list(names)
    first = round_ % len(ways)
    return ways[first:] + ways[:first]


def step_s(results: Sequence[Mapping[str, Any]]) -> float:
    """Seconds of a step: the mean over a turn; the ranks wait for one another, so any rank will do."""
    steps = results[0]["steps_s"]
    return sum(steps) / len(steps)


def tokens_per_s(results: Sequence[Mapping[str, Any]]) -> float:
    """Tokens that all ranks encoded in a turn, for each second of it."""
    return sum(sum(of_rank["tokens"]) for of_rank in results) / sum(results[0]["steps_s"])


def free_ports(n: int) -> list[int]:
    """Ports below those that outgoing connections take."""
    import random
    import socket

    found: list[int] = []
    for port in random.sample(range(20000, 32000), 400):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) and len(found) < n:
                found.append(port)
    return found
