"""The connection to a Ray: a running one that a recipe names, or one of our own, which ends with it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hepfm.data.local_ray import init_options
from hepfm.errors import RecipeError, Stopped
from hepfm.training.ray_head import answers
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
    new = _connect(cluster)
    import ray

    head = ray.get_runtime_context().gcs_address
    try:
        check_size(cluster, local=address_of(cluster) is None)
        yield
    finally:
        if new and answers(head):  # else to shut down would wait for it
            ray.shutdown()


def address_of(cluster: Cluster) -> str | None:
    """That of a running Ray; None for one of our own, which nobody else uses."""
    return cluster.address or os.environ.get("RAY_ADDRESS")


def _connect(cluster: Cluster) -> bool:
    """Connects to Ray; returns whether it was not connected before."""
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    address, where = address_of(cluster), "cluster.address" if cluster.address else "RAY_ADDRESS"
    if address is not None and "://" in address:
        raise RecipeError(
            f"'{address}' is not an address that training connects to.",
            where=where,
            fix="name HOST:PORT of Ray's head (of hepfm up: hepfm status --json), or leave it out for "
            f"a Ray of the run's own. The URL of a dashboard takes jobs: hepfm submit --address {address}",
        )
    options = init_options(address, cpus=len(os.sched_getaffinity(0)))
    import ray

    if ray.is_initialized():
        return False
    try:
        if address is not None and ":" in address and not answers(address):  # Ray would ask for a minute
            raise ConnectionError("nothing listens there.")  # noqa: TRY301
        with _signals_kept():
            ray.init(**options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        if address is None:
            raise
        if "ersion mismatch" in str(error):
            raise RecipeError(
                f"The Ray cluster at '{address}' runs other versions than this command: {error}",
                where=where,
                fix="install the same versions of Python and Ray here and there",
            ) from error
        raise RecipeError(
            f"No Ray cluster answers at '{address}': {error}",
            where=where,
            fix="start one (deploy/local/README.md), correct the address, or leave it out for a local Ray; "
            "one that wants a token needs RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH here, too",
        ) from error
    return True


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
