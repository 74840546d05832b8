"""Row 11: seconds from a command to the end of its first training step, with the page cache warm.

``hepfm pretrain image3d/masked-tiny``: in one process, under torchrun, on a Ray that it starts itself
(cold), and on a Ray that runs already (warm, started by this row). The peer is torchrun on the bare loop of
`benchmarks.loops`, on the same data and model, with one rank. Each command is ended after its first step.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from benchmarks.measure import Line, Spread, in_turn

HEPFM = ["-m", "hepfm", "pretrain", "image3d/masked-tiny", "--set", "data.val=null"]
HEPFM += ["--set", "train.precision=fp32"]  # as the bare loop
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]


def run(*, quick: bool) -> list[Line]:
    """Starts each way in turn."""
    with tempfile.TemporaryDirectory() as folder, _running_ray(Path(folder)) as (address, token):
        ray = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        ways: dict[str, Callable[[], float]] = {
            "in process": partial(_hepfm, [*HEPFM, "--in-process"], {}),
            "hepfm under torchrun": partial(_hepfm, [*TORCHRUN, *HEPFM], {}),
            "cold Ray": partial(_hepfm, HEPFM, {}),
            "warm Ray": partial(_hepfm, [*HEPFM, "--address", address], ray),
            "torchrun": _bare,
        }
        times = in_turn(ways, quick=quick)

    def line(name: str, target: str, allowed: float | None) -> Line:
        later = Spread.of([a - b for a, b in zip(times[name], times["torchrun"], strict=True)])
        return Line(
            what=f"from the command to the first step, {name}",
            unit="s",
            ours=Spread.of(times[name]),
            peer="torchrun on a bare loop",
            theirs=Spread.of(times["torchrun"]),
            ratio=Spread.of([b / a for a, b in zip(times[name], times["torchrun"], strict=True)]),
            target=target,
            met=None if allowed is None else later.median <= allowed,
            limit="imports",
            note=f"{later.median:+.1f} s against the peer. hepfm has by then opened and hashed the data, "
            f"collected "
            "its baseline, begun the record in MLflow and started DeepSpeed",
        )

    return [
        line("in process", "<= torchrun", 0.0),
        line("hepfm under torchrun", "", None),
        line("cold Ray", "<= torchrun + 15 s", 15.0),
        line("warm Ray", "<= torchrun + 3 s", 3.0),
    ]


def _until(begun: Callable[[], bool], arguments: list[str], env: Mapping[str, str], folder: Path) -> float:
    """Seconds from a command's start until a look finds what it waits for; then the command is ended."""
    start = time.perf_counter()
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | dict(env),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        while not begun():
            if process.poll() is not None:
                raise RuntimeError((folder / "log.txt").read_text()[-2000:])
            time.sleep(0.02)
        return time.perf_counter() - start
    finally:
        # Twice Ctrl-C ends hepfm and its Ray at once; what is left then is killed, its leader or not.
        for patience in (1.0, 30.0):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(patience)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _hepfm(arguments: list[str], env: Mapping[str, str]) -> float:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)

        def begun() -> bool:
            return any(path.stat().st_size for path in folder.glob("runs/*/metrics.jsonl"))

        tracking = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", **env}
        return _until(begun, [*arguments, "--runs", str(folder / "runs")], tracking, folder)


def _bare() -> float:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        spec = {"way": "bare_first_step", "folder": name, "recipe": {}}
        arguments = [*TORCHRUN, "-m", "benchmarks.loops", json.dumps(spec)]
        return _until((folder / "first-step").exists, arguments, {}, folder)


@contextmanager
def _running_ray(folder: Path) -> Iterator[tuple[str, Path]]:
    """A head of Ray on loopback; its address and its token's file."""
    import secrets

    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    env = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "OMP_NUM_THREADS": "1"}
    env.pop("RAY_ADDRESS", None)
    from benchmarks.turns import free_ports

    [port] = free_ports(1)
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    options = [f"--port={port}", "--node-ip-address=127.0.0.1", "--include-dashboard=false"]
    with (folder / "ray.txt").open("wb") as log:
        head = subprocess.Popen(
            [*ray, *options, "--disable-usage-stats"], env=env, stdout=log, stderr=log, start_new_session=True
        )
    try:
        while "--address" not in (folder / "ray.txt").read_text() and head.poll() is None:
            time.sleep(0.2)
        yield f"127.0.0.1:{port}", token
    finally:
        if head.poll() is None:
            head.terminate()
            with suppress(subprocess.TimeoutExpired):
                head.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGKILL)  # what it started and left
        head.wait()
