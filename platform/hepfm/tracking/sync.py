"""Sends to MLflow what it missed of runs, from their folders."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from hepfm.tracking.runs import RunDir
from hepfm.tracking.shipper import Shipper
from hepfm.tracking.spool import Spool
from hepfm.tracking.store import connect, store_uri, without_secrets


def sync(run: RunDir, uri: str | None = None) -> int:
    """Sends to MLflow what it does not have of a run; returns how many entries that were.

    May be repeated, and broken off at any point: nothing is recorded twice. A run without a record (killed
    before it began) has nothing to send.

    Args:
        run: The run's folder; nobody trains it.
        uri: MLflow's store; by default that of `store_of`.

    Raises:
        Exception: Whatever MLflow raises when the store does not answer.
    """
    if not run.spool.is_dir():
        return 0
    spool = Spool(run.spool)
    try:
        shipper = Shipper(run, spool, uri or store_of(run))
        sent = 0
        while not spool.empty and (more := shipper.ship()):
            sent += more
        run.update(tracking_pending=0, tracking_uri=without_secrets(shipper.uri))
        return sent
    finally:
        spool.close()


def store_of(run: RunDir) -> str:
    """The recipe's store, else ``MLFLOW_TRACKING_URI``, the server that the run had, ``mlflow.db``."""
    recipe = yaml.safe_load(run.recipe_path.read_bytes()) or {}
    if uri := (recipe.get("tracking") or {}).get("uri") or os.environ.get("MLFLOW_TRACKING_URI"):
        return str(uri)
    had = run.json().get("tracking_uri") or ""
    # A database moves along with its runs, and what run.json says of it may be out of date.
    return had if had.startswith(("http://", "https://")) else store_uri(run.home)


def all_sent(run: RunDir, uri: str) -> bool:
    """Whether a server has taken all of a run's record, as the run's folder has it: the server is not asked.

    Of a database that cannot be said: it may have been removed, and to ask costs nothing.
    """
    server = uri.startswith(("http://", "https://"))
    if not server or not run.spool.is_dir() or run.json().get("tracking_uri") != without_secrets(uri):
        return False
    spool = Spool(run.spool)
    try:
        return spool.cursor.run_id is not None and spool.pending == 0
    finally:
        spool.close()


def answers(uri: str) -> bool:
    """Whether a store can be used at all."""
    try:
        connect(uri).search_experiments(max_results=1)
    except Exception:  # noqa: BLE001 - whatever a store can do
        return False
    return True


def runs_in(folder: Path) -> list[RunDir]:
    """The runs of a folder by name, each before its evaluations."""
    runs = [RunDir(path.parent.resolve()) for path in sorted(folder.glob("*/run.json"))]
    return [each for run in runs for each in (run, *evaluations_of(run))]


def evaluations_of(run: RunDir) -> list[RunDir]:
    """The record of each of a run's evaluations, the oldest first."""
    found = [RunDir(path.parent) for path in run.evaluations.glob("*/run.json")]
    return sorted(found, key=lambda each: str(each.json().get("created")))
