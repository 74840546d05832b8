"""What MLflow has of a run, asked of MLflow itself."""

from __future__ import annotations

import shutil

import pytest
from mlflow import MlflowClient

from hepfm.tracking.store import connect


@pytest.fixture(autouse=True)
def _no_server_named(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    connect(f"sqlite:///{folder / 'mlflow.db'}")
    return folder / "mlflow.db"


@pytest.fixture
def out(tmp_path, empty_store):
    """A folder of runs whose store is made already: making one takes MLflow seconds."""
    (tmp_path / "runs").mkdir()
    shutil.copy(empty_store, tmp_path / "runs" / "mlflow.db")
    return tmp_path / "runs"


@pytest.fixture
def history():
    """``history(client, run_id, key)``: the (step, timestamp in ms, value) of a metric, in order."""

    def points(client: MlflowClient, run_id: str, key: str) -> list[tuple[int, int, float]]:
        return sorted((m.step, m.timestamp, m.value) for m in client.get_metric_history(run_id, key))

    return points
