"""How many workers a cluster has room for. Started clusters are in tests/integration/test_two_nodes.py."""

from __future__ import annotations

import pytest

from hepfm.recipe.schema import Cluster
from hepfm.training.ray_nodes import Node, group


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
