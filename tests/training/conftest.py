"""What the tests of training share."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def toy():
    """The module of a small real model, in this process."""
    spec = importlib.util.spec_from_file_location("toy", HERE / "toy.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def free_port():
    """A port below those that outgoing connections get: none can take it before the ranks do."""
    for port in random.sample(range(20000, 32000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port")


@pytest.fixture(scope="session")
def run_ranks():
    """Runs a script as so many ranks; returns exit codes, what each rank wrote, and ``report.json``."""

    def run(script, arguments, folder, *, world, env=None, timeout=240):
        port = free_port()
        common = {
            **os.environ,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(world),
        }
        common |= {"OMP_NUM_THREADS": "1", **(env or {})}
        processes = [
            subprocess.Popen(
                [sys.executable, str(HERE / script), *map(str, arguments)],
                env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank in range(world)
        ]
        try:
            output = [process.communicate(timeout=timeout)[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
        report = folder / "report.json"
        codes = [process.returncode for process in processes]
        return codes, output, json.loads(report.read_text()) if report.exists() else None

    return run


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """One MLflow store for all runs; making one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def make_run(store, tmp_path):
    """A new run of a small recipe with changes (``train__steps=3``), and the request to train it."""

    from hepfm.recipe.load import from_dict
    from hepfm.tracking.runs import create_run
    from hepfm.training.request import TrainRequest

    def make(**changes):
        tree = {
            "name": "small",
            "data": {
                "train": "sample:train",
                "val": "sample:val",
                "parts": {"image3d": {"kind": "image3d"}},
                "batch_cost": 6000,
                "micro_batch_cost": 2500,
            },
            "model": {"backbone": {"name": "transformer", "d_model": 32, "n_layers": 1, "n_heads": 2}},
            "objective": {"name": "masked", "decoder_layers": 1},
            "train": {
                "steps": 6,
                "warmup_steps": 2,
                "validate_every": 3,
                "validate_events": 4,
                "marginal_events": 16,
                "ema_decay": 0.9,
                "precision": "fp32",
            },
            "checkpoint": {"every": 3},
            "tracking": {"uri": store, "displays": 0},
        }
        for key, value in changes.items():
            *sections, last = key.split("__")
            at = tree
            for section in sections:
                at = at.setdefault(section, {})
            at[last] = value
        resolved = from_dict(tree)
        run = create_run(tmp_path, "small", resolved.yaml())
        return run, TrainRequest(recipe=resolved.recipe.model_dump(mode="json"), run_dir=str(run.path))

    return make


@pytest.fixture(scope="session")
def figures():
    """Of each step of a run that has a figure, its value as recorded last."""

    def read(run, name):
        lines = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
        return {line["step"]: float(line["metrics"][name]) for line in lines if name in line["metrics"]}

    return read
