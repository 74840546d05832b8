"""What the tests of training share."""

from __future__ import annotations

import importlib.util
import json
import os
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


@pytest.fixture(scope="session")
def run_ranks():
    """Runs a script as so many ranks; returns exit codes, what each rank wrote, and ``report.json``."""

    def run(script, arguments, folder, *, world, env=None, timeout=240):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
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
