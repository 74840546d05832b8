"""How many workers a cluster has room for. Started clusters are in tests/integration/test_two_nodes.py."""

from __future__ import annotations

import os
import signal

import pytest

from hepfm.errors import RecipeError, Stopped, TrainingError
from hepfm.recipe.schema import Cluster
from hepfm.tracking.recorder import closed_at_last
from hepfm.tracking.runs import create_run
from hepfm.training import ray_launcher, ray_nodes
from hepfm.training.ray_launcher import environment
from hepfm.training.ray_nodes import Node, check_size, group, wait_for_room
from hepfm.training.signals import noting


def nodes(*sizes):
    return [Node(id=str(i), host=f"host{i}", cpus=cpus, gpus=gpus) for i, (cpus, gpus) in enumerate(sizes)]


@pytest.mark.parametrize(
    ("cluster", "sizes", "gpus", "wanted"),
    [
        ({"workers": 2}, [(8, 0)], 0, (2, 4)),
        ({"workers": 2}, [(8, 0), (8, 0)], 0, (2, 8)),
        # 9 cores for 2 workers: 4 each would not fit on one node.
        ({"workers": 2}, [(3, 0), (3, 0), (3, 0)], 0, (2, 3)),
        ({"workers": 4}, [(5, 0), (2, 0)], 0, (4, 1)),
        ({"workers": 2, "cpus_per_worker": 3}, [(8, 0)], 0, (2, 3)),
        ({"workers": 3, "cpus_per_worker": 3}, [(8, 0)], 0, None),
        ({"workers": {"min": 1, "max": 3}, "cpus_per_worker": 3}, [(8, 0)], 0, (2, 3)),
        ({"workers": {"min": 3, "max": 4}, "cpus_per_worker": 3}, [(8, 0)], 0, None),
        ({"workers": {"min": 1, "max": 4}}, [(1, 0), (1, 0)], 0, (2, 1)),
        ({"workers": {"min": 1, "max": 4}}, [(16, 4), (16, 1)], 1, (4, 5)),
        ({"workers": {"min": 1, "max": 8}}, [(16, 4), (16, 1)], 1, (5, 4)),
        ({"workers": 2}, [(16, 1)], 1, None),
        ({"workers": 1}, [], 0, None),
        ({"workers": 1}, [(0, 0)], 0, None),
    ],
)
def test_the_most_workers_with_the_most_cores_each_that_fit_on_whole_nodes(cluster, sizes, gpus, wanted):
    found = group(Cluster(**cluster), nodes(*sizes), gpus=gpus)
    assert (found and (found.workers, found.cpus)) == wanted


def waited(cluster, sizes, rests, run, monkeypatch, **options):
    """What is found, and told, on nodes of which others leave less and less, or more, at each look."""
    left, told = iter(rests), []
    monkeypatch.setattr(ray_nodes, "nodes", lambda: nodes(*sizes))
    monkeypatch.setattr(ray_nodes, "free", lambda _has: nodes(*next(left)))
    monkeypatch.setattr(ray_nodes, "_SETTLE_S", -1.0)
    monkeypatch.setattr(ray_nodes.time, "sleep", lambda _: None)
    options = {"gpus": None, "patience_s": 60.0, "shared": False} | options
    return wait_for_room(Cluster(**cluster), run, told.append, **options), told


def test_room_that_other_jobs_use_is_waited_for(tmp_path, monkeypatch):
    run = create_run(tmp_path, "tiny", "")
    cluster = {"workers": 2, "cpus_per_worker": 3}
    found, told = waited(cluster, [(8, 0)], [[(2, 0)], [(5, 0)], [(6, 0)]], run, monkeypatch)
    assert (found.workers, found.cpus, found.gpus) == (2, 3, 0)
    assert told == [
        "Waiting for room. There is no room for 2 workers beside other jobs, which use 6 CPUs of 8."
    ]
    cluster["workers"] = {"min": 1, "max": 2}
    assert waited(cluster, [(8, 0)], [[(5, 0)]], run, monkeypatch)[0].workers == 1
    with pytest.raises(TrainingError, match="beside other jobs"):
        waited(cluster, [(8, 0)], [[(1, 0)]], run, monkeypatch, patience_s=0.0)


@pytest.mark.parametrize(
    ("cluster", "local", "said"),
    [
        (
            {"workers": 2, "cpus_per_worker": 5},
            False,
            "2 workers of 5 CPUs it takes 10 CPUs; the Ray cluster",
        ),
        ({"workers": 50}, True, "For 50 workers of 1 CPU it takes 50 CPUs; this machine has 8"),
        ({"workers": {"min": 3, "max": 9}, "gpus_per_worker": 1}, False, "at least 3 workers of 1 GPU it"),
        (
            {"workers": 2, "cpus_per_worker": 4},
            False,
            "2 workers do not fit on the nodes of the Ray cluster: ho",
        ),
    ],
)
def test_what_is_too_small_is_refused_whoever_uses_it(monkeypatch, cluster, local, said):
    sizes = [(5, 0), (3, 0)] if cluster.get("cpus_per_worker") == 4 else [(8, 0)]
    monkeypatch.setattr(ray_nodes, "nodes", lambda: nodes(*sizes))
    with pytest.raises(RecipeError, match=said):
        check_size(Cluster(**cluster), local=local)


def test_on_a_cluster_that_others_use_a_worker_takes_a_share(tmp_path, monkeypatch):
    run = create_run(tmp_path, "tiny", "")
    assert waited({"workers": 1}, [(8, 0)], [[(8, 0)]], run, monkeypatch)[0].cpus == 8
    assert waited({"workers": 1}, [(8, 0)], [[(8, 0)]], run, monkeypatch, shared=True)[0].cpus == 4


def test_it_is_said_that_there_are_fewer_gpus_than_workers(tmp_path, monkeypatch):
    run = create_run(tmp_path, "tiny", "")
    found, told = waited({"workers": 2}, [(8, 1)], [[(8, 1)]], run, monkeypatch)
    assert found.gpus == 0
    assert told == ["The Ray cluster has 1 GPUs for 2 workers: they train without."]
    assert environment(found)["CUDA_VISIBLE_DEVICES"] == ""
    found, told = waited({"workers": 2}, [(8, 2)], [[(8, 2)]], run, monkeypatch)
    assert (found.gpus, told) == (1, [])
    assert "CUDA_VISIBLE_DEVICES" not in environment(found)


def test_a_signal_is_obeyed_before_a_group_starts_and_growing_is_not(tmp_path, monkeypatch):
    run = create_run(tmp_path, "tiny", "")
    run.ask_to_stop("room for more workers")
    ray_launcher._obey(run)
    run.update(status="stopped", reason="room for more workers")
    run.ask_to_stop("SIGTERM")
    with pytest.raises(Stopped, match="SIGTERM"), closed_at_last(run):
        ray_launcher._obey(run)
    assert (run.json()["status"], run.json()["reason"]) == ("stopped", "SIGTERM")
    run.forget_stop()
    with noting(lambda _: None):
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped, match="SIGTERM"):
            ray_launcher._obey(run)
        with pytest.raises(Stopped, match="SIGTERM"):
            waited({"workers": 2}, [(2, 0)], [[(1, 0)]], run, monkeypatch)
