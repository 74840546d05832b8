"""What streams over whole data sets through Ray Data."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from hepfm.data.ray_address import connect
from hepfm.errors import HepfmError

U = TypeVar("U")


def each_unit(
    work: Callable[[U], int],
    units: Sequence[U],
    *,
    workers: int | None,
    address: str | None = None,
    gpu: bool = False,
) -> Iterator[tuple[U, int | HepfmError]]:
    """Does units of work in worker processes of a local Ray, or of a cluster.

    Args:
        work: Does one and returns its number of events; a function of a module.
        units: What is to be done, not nothing; on a cluster, files lie on a file system that all nodes share.
        workers: Units that are done at once; by default, as many as this process (or the cluster) has cores.
        address: Of a running Ray; by default ``RAY_ADDRESS``, else one is started.
        gpu: Whether each worker needs a GPU: then there are as many at most.

    Yields:
        Each unit as it is done, with its events or what went wrong; others go on.

    Raises:
        RecipeError: No Ray cluster answers at the address; before anything is done.
    """
    most = min(workers or len(os.sched_getaffinity(0)), len(units))
    connected_here = connect(address, named="--address", cpus=most)
    import ray
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    if workers is None:
        most = min(int(ray.cluster_resources().get("GPU" if gpu else "CPU", 1)) or 1, len(units))
    try:
        rows = ray.data.from_items([{"unit": k} for k in range(len(units))], override_num_blocks=len(units))
        pool = ray.data.TaskPoolStrategy(size=most)
        done = rows.map(_do, fn_args=(work, list(units)), compute=pool, num_gpus=1 if gpu else None)
        for row in done.iter_rows():
            yield units[row["unit"]], row["error"] or row["events"]
    finally:
        if connected_here:
            ray.shutdown()


def _do(row: dict[str, Any], work: Callable[[U], int], units: Sequence[U]) -> dict[str, Any]:
    # An error is a result: raised, it would end the other units' work and lose its message in Ray's.
    try:
        return {"unit": row["unit"], "events": work(units[row["unit"]]), "error": None}
    except HepfmError as error:
        return {"unit": row["unit"], "events": 0, "error": error}
