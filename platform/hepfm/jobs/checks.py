"""What is looked at before anything is sent: is this the cluster that the job can run on?"""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hepfm.errors import HepfmError, RecipeError
from hepfm.jobs.client import OWN, Dashboard
from hepfm.jobs.services import MLFLOW, recorded

if TYPE_CHECKING:
    from hepfm.recipe.schema import Cluster


def find_dashboard(address: str | None, recipes: str | None, out: Path) -> Dashboard:
    """The dashboard that a command means.

    Args:
        address: ``--address``.
        recipes: The recipe's ``cluster.address``; taken where it is a URL.
        out: The folder of runs, whose services are taken where nothing else is said.

    Raises:
        RecipeError: None is known, or ``--address`` is no URL.
    """
    if address is not None and not _is_url(address):
        raise RecipeError(
            f"'{address}' is not the URL of a dashboard.",
            where="--address",
            fix="jobs go to the dashboard, e.g. http://127.0.0.1:8265; ports 6379 and 10001 are for drivers",
        )
    given = [("--address", address), ("cluster.address", recipes)]
    given += [(name, os.environ.get(name)) for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")]
    for origin, url in given:
        if url is not None and _is_url(url):
            return Dashboard(url.rstrip("/"), origin)
    services = recorded(out)
    if services and services.ray and services.ray.alive:
        return Dashboard(services.ray_dashboard, OWN)
    if services:
        raise RecipeError(
            "The Ray that hepfm up started has ended, and its jobs with it.",
            where=str(out),
            fix="start it again with hepfm up; hepfm job resume NAME then goes on with a run",
        )
    raise RecipeError(
        "Which Ray cluster is not said, and none of hepfm up runs.",
        where=f"neither --address nor RAY_API_SERVER_ADDRESS is given; there are no services for {out}",
        fix="hepfm up starts a Ray and MLflow on this machine; or give --address http://HOST:8265",
    )


def mlflow_beside(dashboard: Dashboard, out: Path) -> str | None:
    """The MLflow server of ``hepfm up``, where the dashboard is that of its Ray."""
    with suppress(HepfmError):  # of another machine
        services = recorded(out)
        if services and services.ray and services.ray_dashboard == dashboard.address:
            return services.mlflow or None
    return None


def served(out: Path) -> str:
    """Where ``hepfm up`` serves MLflow's pages of a folder of runs (``http://127.0.0.1:5000``); else ""."""
    with suppress(HepfmError):  # of another machine, or another user's
        services = recorded(out)
        for service in services.services if services else ():
            if service.name == MLFLOW and service.alive:
                return service.url
    return ""


def check_versions(dashboard: Dashboard) -> None:
    """Refuses a cluster of another Ray or Python (`RecipeError`), which would refuse the driver later."""
    cluster = dashboard.cluster()
    here = {"ray": version("ray"), "python": platform.python_version()}
    for name, found in cluster.items():
        # Of Python, objects travel between releases of one minor version.
        digits = 2 if name == "python" else None
        if found and found.split(".")[:digits] != here[name].split(".")[:digits]:
            raise RecipeError(
                f"The cluster has {name.title()} {found}; here is {here[name]}.",
                where=f"{dashboard.address} (from {dashboard.origin})",
                fix=f"use the same {name.title()} on both sides",
            )


def check_resources(dashboard: Dashboard, cluster: Cluster) -> None:
    """Refuses a recipe that asks for more than the cluster's nodes have (`RecipeError`)."""
    nodes = dashboard.nodes()
    workers = cluster.fewest_workers
    each = {"CPU": cluster.cpus_per_worker or 1, "GPU": cluster.gpus_per_worker or 0}
    room = sum(
        int(min(node.get(name, 0) // amount for name, amount in each.items() if amount)) for node in nodes
    )
    if room >= workers:
        return
    wanted = " and ".join(f"{amount} {name}{'s' * (amount > 1)}" for name, amount in each.items() if amount)
    has = ", ".join(f"{sum(node.get(name, 0) for node in nodes):g} {name}s" for name in each)
    count = f"{len(nodes)} node{'s' * (len(nodes) != 1)}"
    raise RecipeError(
        f"The recipe asks for {workers} workers with {wanted} each; the cluster has {has} on {count}, "
        f"room for {room}.",
        where=f"cluster.workers, cluster.cpus_per_worker, cluster.gpus_per_worker; {dashboard.address}",
        fix="ask for less, e.g. with --workers, or add nodes",
    )


def live(job: dict[str, Any]) -> bool:
    """Whether a job waits or runs."""
    return job["status"] in {"PENDING", "RUNNING"}


def _is_url(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket or a port that is none
        return False
