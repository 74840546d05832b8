"""Training on two nodes, one of which is killed: it goes on, and ends like the run that was left alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(1500),
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"
    ),
]

STEPS = ("train.steps=9", "train.precision=fp32", "train.ema_decay=0.9")
# Rank 1 waits after its seventh step, so that its node, or the other rank's, can be killed there.
HANG = "after-step@1:7:hang"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Starts a Ray cluster of so many nodes with one core each, which a token protects."""
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text("0123456789abcdef" * 4)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray._raylet import AuthenticationTokenLoader
    from ray.cluster_utils import Cluster

    loader = AuthenticationTokenLoader.instance()
    loader.reset_cache()  # a test before may have used a Ray in this process, with its token
    started = []

    def start(nodes: int, **env: str) -> Any:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        quick = {"health_check_period_ms": 500, "health_check_failure_threshold": 3}
        head = {"num_cpus": 1, "include_dashboard": False, "_system_config": quick}
        started.append(Cluster(initialize_head=True, head_node_args=head))
        for _ in range(nodes - 1):
            started[0].add_node(num_cpus=1)
        return started[0]

    yield start
    for each in started:
        each.shutdown()
    loader.reset_cache()


@pytest.fixture(scope="module")
def golden(small: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same run on two workers that torchrun starts, left alone."""
    sets = [flag for value in (*small, *STEPS) for flag in ("--set", value)]
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29517", "-m", "hepfm"]
    done = subprocess.run(
        [sys.executable, *launch, "pretrain", "image3d/masked-tiny", "--json", *sets],
        cwd=tmp_path_factory.mktemp("golden"),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Waits for a condition, as long as a process runs."""
    end = time.monotonic() + 600
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "this took too long"
        time.sleep(0.2)


def last_step(run: Path) -> int:
    metrics = run / "metrics.jsonl"
    lines = [line for line in metrics.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    return int(json.loads(lines[-1])["step"]) if lines else 0


def started(hepfm: Any, ray: Any, *args: str, sets: tuple[str, ...]) -> tuple[subprocess.Popen[str], Path]:
    """A training on the cluster, and its folder once it makes steps."""
    before = set(hepfm.runs)
    process = hepfm.start("pretrain", "image3d/masked-tiny", "--address", ray.address, *args, sets=sets)
    until(lambda: any((run / "metrics.jsonl").exists() for run in set(hepfm.runs) - before), process)
    (run,) = set(hepfm.runs) - before
    return process, run


def test_a_run_waits_for_a_node_in_place_of_the_killed_one_and_ends_bitwise_the_same(
    hepfm: Any, losses: Any, small: tuple[str, ...], cluster: Any, golden: dict[str, Any]
) -> None:
    ray = cluster(2, HEPFM_FAILPOINT=HANG)
    process, run = started(hepfm, ray, "--workers", "2", sets=(*small, *STEPS))
    until(lambda: last_step(run) == 7, process)

    ray.remove_node(next(iter(ray.worker_nodes)), allow_graceful=False)
    until(lambda: "Waiting for nodes." in (run / "log.txt").read_text(), process)
    ray.add_node(num_cpus=1)
    _, errors = process.communicate(timeout=600)

    assert process.returncode == 0, errors
    assert "Starting again from the newest checkpoint (1 of 3)." in errors
    assert "For 2 workers of 1 CPU it takes 2 CPUs; the Ray cluster has 1." in errors
    result = json.loads((run / "run.json").read_text())
    assert (result["status"], result["restarts"], result["effective"]["world"]) == ("done", 1, 2)
    assert losses(run) == losses(golden["run_dir"])
    assert result["weights_sha256"] == golden["weights_sha256"]


def test_a_range_of_workers_goes_on_with_what_is_left(
    hepfm: Any, losses: Any, small: tuple[str, ...], cluster: Any, golden: dict[str, Any]
) -> None:
    ray = cluster(2, HEPFM_FAILPOINT=HANG)
    process, run = started(hepfm, ray, "--workers", "1:2", sets=(*small, *STEPS))
    until(lambda: last_step(run) == 7, process)

    ray.remove_node(next(iter(ray.worker_nodes)), allow_graceful=False)
    _, errors = process.communicate(timeout=600)

    assert process.returncode == 0, errors
    assert "Training with 2 workers." in errors
    begun = re.search(r"Training with 1 worker, going on from step-0000000([36])\.", errors)
    assert begun, errors  # that of step 6 may still have been written when its writer was killed
    result = json.loads((run / "run.json").read_text())
    assert (result["status"], result["restarts"], result["effective"]["world"]) == ("done", 1, 1)
    got, wanted = losses(run), losses(golden["run_dir"])
    assert got.keys() == wanted.keys()
    alike = range(1, int(begun[1]) + 1)
    assert {step: got[step] for step in alike} == {step: wanted[step] for step in alike}
    for step in range(alike.stop, 10):
        assert got[step] == pytest.approx(wanted[step], rel=1e-5)


@pytest.mark.slow
def test_a_range_of_workers_takes_a_node_that_comes_without_losing_a_step(
    hepfm: Any, losses: Any, small: tuple[str, ...], cluster: Any
) -> None:
    steps = 200
    ray = cluster(1)
    sets = (*small, f"train.steps={steps}", "train.validate_every=200", "checkpoint.every=200")
    process, run = started(hepfm, ray, "--workers", "1:2", sets=sets)
    ray.add_node(num_cpus=1)
    _, errors = process.communicate(timeout=1200)

    assert process.returncode == 0, errors
    assert "There is room for 2 workers" in errors
    result = json.loads((run / "run.json").read_text())
    assert (result["status"], result["effective"]["world"]) == ("done", 2)
    assert "restarts" not in result
    assert sorted(losses(run)) == list(range(1, steps + 1))
    assert not (run / "spool" / "superseded.jsonl").exists()


def test_what_a_cluster_has_too_little_of_and_a_folder_that_it_does_not_see_are_said_at_once(
    hepfm: Any, small: tuple[str, ...], cluster: Any
) -> None:
    ray = cluster(1)
    refused = hepfm(
        "pretrain", "image3d/masked-tiny", "--address", ray.address, "--workers", "3:4", sets=small
    )
    assert refused.returncode == 2
    assert "For at least 3 workers of 1 CPU it takes 3 CPUs; the Ray cluster has 1." in refused.stderr
