"""What a Ray cluster has for a run: its nodes, what others leave of them, and the workers they make."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hepfm.errors import RecipeError, TrainingError
from hepfm.tracking.runs import RunDir
from hepfm.training.signals import noted, stopped

if TYPE_CHECKING:
    from hepfm.recipe.schema import Cluster

_SETTLE_S = 5.0
"""How long Ray may take to tell that the workers of a group before are gone."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """A machine of the cluster.

    Attributes:
        id: Ray's.
        host: Its address.
        cpus: Cores that it offers, or has free.
        gpus: GPUs that it offers, or has free.
    """

    id: str
    host: str
    cpus: float
    gpus: float

    def room_for(self, cpus: float, gpus: float) -> int:
        """How many workers of this size it takes."""
        return int(min(self.cpus // cpus, self.gpus // gpus if gpus else self.cpus // cpus))


@dataclass(frozen=True, kw_only=True)
class Group:
    """Workers that train together.

    Attributes:
        workers: How many.
        cpus: Cores of each.
        gpus: GPUs of each.
    """

    workers: int
    cpus: int
    gpus: int


def nodes() -> list[Node]:
    """The nodes that Ray believes alive."""
    import ray

    return [
        Node(
            id=node["NodeID"],
            host=node["NodeManagerAddress"],
            cpus=node["Resources"].get("CPU", 0.0),
            gpus=node["Resources"].get("GPU", 0.0),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def free(has: Sequence[Node], own: Group | None = None) -> list[Node]:
    """Nodes with what others leave this run of them.

    Args:
        has: The nodes, with all that they offer.
        own: Workers that the run has now; what they hold is not others'.
    """
    from ray._private.state import available_resources_per_node  # ray.available_resources is of all nodes

    left = available_resources_per_node()
    held = _own_workers() if own else Counter[str]()
    rest = []
    for node in has:
        there, workers = left.get(node.id, {}), held[node.id]
        cpus, gpus = there.get("CPU", 0.0), there.get("GPU", 0.0)
        if own:
            cpus, gpus = cpus + workers * own.cpus, gpus + workers * own.gpus
        rest.append(replace(node, cpus=cpus, gpus=gpus))
    return rest


def _own_workers() -> Counter[str]:
    """How many workers of this process's training are on each node, by Ray's ids."""
    import ray
    from ray._private.state import actors

    mine = actors(job_id=ray.JobID.from_hex(ray.get_runtime_context().get_job_id()), actor_state_name="ALIVE")
    return Counter(
        actor["Address"]["NodeID"]
        for actor in mine.values()
        if actor["ActorClassName"].endswith("RayTrainWorker")
    )


def group(cluster: Cluster, has: Sequence[Node], *, gpus: int, most_cpus: int | None = None) -> Group | None:
    """The largest group that a recipe allows and nodes have room for; None where they have too little.

    Args:
        cluster: Of the recipe. Without ``cpus_per_worker``, workers share the cores evenly.
        has: The nodes.
        gpus: Of each worker.
        most_cpus: Of each worker, where the recipe does not say.
    """
    most = int(max((node.cpus for node in has), default=0))
    if most_cpus is not None:
        most = min(most, most_cpus)
    for workers in range(cluster.most_workers, cluster.fewest_workers - 1, -1):
        sizes = [cluster.cpus_per_worker] if cluster.cpus_per_worker else range(most, 0, -1)
        for cpus in sizes:
            if sum(node.room_for(cpus, gpus) for node in has) >= workers:
                return Group(workers=workers, cpus=cpus, gpus=gpus)
    return None


def share(has: Sequence[Node], gpus: int) -> int:
    """Cores that a worker takes of a cluster that others use too, so that they find room beside it.

    With GPUs, the cores that belong to these; without, half of a node's, so that two runs find room.
    """
    if gpus:
        each = [node.cpus * gpus / node.gpus for node in has if node.gpus >= gpus]
    else:
        each = [node.cpus / 2 for node in has]
    return max(1, int(max(each, default=1)))


def check_size(cluster: Cluster, *, local: bool) -> None:
    """Refuses a cluster that has too little for a recipe, also when nobody else uses it.

    Args:
        cluster: Of the recipe.
        local: Whether this process has started it.

    Raises:
        RecipeError: It has.
    """
    has = nodes()
    gpus = _gpus_of_each(cluster, has)
    if group(cluster, has, gpus=gpus) is None:
        raise RecipeError(
            _too_little(cluster, has, gpus, "this machine" if local else "the Ray cluster"),
            where="cluster.workers, cluster.cpus_per_worker, cluster.gpus_per_worker",
            fix="ask for fewer workers (--workers) or less for each",
        )


def wait_for_room(
    cluster: Cluster,
    run: RunDir,
    tell: Callable[[str], None],
    *,
    gpus: int | None,
    patience_s: float,
    shared: bool,
) -> Group:
    """The largest group that there is room for, as soon as there is, beside what other jobs use.

    Args:
        cluster: Of the recipe.
        run: That is to be trained.
        tell: Is told that there is too little.
        gpus: Of each worker; None for as the recipe says, else one where there are enough.
        patience_s: After which it is given up.
        shared: Whether others use the cluster too: then a worker takes no more than its `share`.

    Raises:
        TrainingError: There was too little for so long.
        Stopped: The run was asked to stop meanwhile.
    """
    begin, told = time.monotonic(), ""
    while True:
        has = nodes()
        if gpus is None:
            gpus = _gpus_of_each(cluster, has, tell)
        most_cpus = share(has, gpus) if shared else None
        rest = free(has)
        most = group(cluster, has, gpus=gpus, most_cpus=most_cpus)
        found = group(cluster, rest, gpus=gpus, most_cpus=most_cpus)
        waited_s = time.monotonic() - begin
        if found and (found == most or waited_s > _SETTLE_S):
            return found
        what = _in_use(cluster, has, rest, gpus) if most else _too_little(cluster, has, gpus)
        if waited_s > patience_s:
            raise TrainingError(
                f"{what} Nothing came in {patience_s / 60:.0f} minutes.",
                where=str(run.path),
                fix=f"hepfm resume {run.name} --workers N goes on with fewer, from the newest checkpoint",
            )
        waiting = "room" if most else "nodes"
        if told != waiting and not found and (waited_s > _SETTLE_S or not most):
            tell(f"Waiting for {waiting}. {what}")
            told = waiting
        if reason := noted() or run.stop_asked():
            raise stopped(reason, run)
        time.sleep(1.0)


def _gpus_of_each(cluster: Cluster, has: Sequence[Node], tell: Callable[[str], None] = lambda _: None) -> int:
    if cluster.gpus_per_worker is not None:
        return cluster.gpus_per_worker
    there = sum(node.gpus for node in has)
    if 0 < there < cluster.fewest_workers:
        tell(f"The Ray cluster has {there:g} GPUs for {cluster.fewest_workers} workers: they train without.")
    return int(there >= cluster.fewest_workers)


def _in_use(cluster: Cluster, has: Sequence[Node], rest: Sequence[Node], gpus: int) -> str:
    """What is said where a cluster is large enough, but others use it."""
    cpus = sum(node.cpus for node in has), sum(node.cpus for node in rest)
    used = f"{cpus[0] - cpus[1]:g} CPUs of {cpus[0]:g}"
    if gpus:
        cards = sum(node.gpus for node in has), sum(node.gpus for node in rest)
        used += f" and {cards[0] - cards[1]:g} GPUs of {cards[0]:g}"
    return f"There is no room for {_wanted(cluster)} beside other jobs, which use {used}."


def _wanted(cluster: Cluster) -> str:
    fewest = cluster.fewest_workers
    workers = f"{fewest} {'worker' if fewest == 1 else 'workers'}"
    return f"at least {workers}" if fewest < cluster.most_workers else workers


def _too_little(cluster: Cluster, has: Sequence[Node], gpus: int, whose: str = "the Ray cluster") -> str:
    fewest = cluster.fewest_workers
    for name, each, there in (
        ("CPU", cluster.cpus_per_worker or 1, sum(node.cpus for node in has)),
        ("GPU", gpus, sum(node.gpus for node in has)),
    ):
        if each * fewest > there:
            size, total = (f"{number} {name}{'s' * (number > 1)}" for number in (each, each * fewest))
            return f"For {_wanted(cluster)} of {size} it takes {total}; {whose} has {there:g}."
    sizes = ", ".join(f"{node.host} {node.cpus:g} CPUs and {node.gpus:g} GPUs" for node in has)
    return f"{_wanted(cluster).capitalize()} do not fit on the nodes of the Ray cluster: {sizes}."
