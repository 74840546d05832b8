"""The connection to a Ray: a running one that a recipe names, or one of our own, which ends with it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hepfm.data.ray_address import address_of, answers, connect
from hepfm.errors import Stopped
from hepfm.training.ray_nodes import check_size

if TYPE_CHECKING:
    from hepfm.recipe.schema import Cluster


@contextmanager
def connected(cluster: Cluster) -> Iterator[None]:
    """Within, this process is connected to a Ray that is large enough for a recipe.

    Args:
        cluster: Of the recipe.

    Raises:
        RecipeError: No Ray cluster answers at the address, it has other versions, or it has too little.
        Stopped: SIGTERM came before it answered.
    """
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    with _signals_kept():
        new = connect(cluster.address, named="cluster.address", cpus=len(os.sched_getaffinity(0)))
    import ray

    head = ray.get_runtime_context().gcs_address
    try:
        check_size(cluster, local=address_of(cluster.address) is None)
        yield
    finally:
        if new and answers(head):  # else to shut down would wait for it
            ray.shutdown()


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Within, Ray handles SIGTERM in its own way, and not after it."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit:  # what Ray's handler raises
        stop = Stopped(
            "Stopped (SIGTERM) before training began.", fix="the same command begins it, or goes on with it"
        )
        stop.reason = "SIGTERM"
        raise stop from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
