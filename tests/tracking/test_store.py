"""Which store a run is recorded in, and that its password is not shown."""

from __future__ import annotations

import pytest

from hepfm.tracking.store import database, store_uri, without_secrets


def test_the_default_store_lies_beside_the_runs(tmp_path, monkeypatch):
    assert database(store_uri(tmp_path)) == tmp_path.resolve() / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://lab:5000")
    assert store_uri(tmp_path) == "http://lab:5000"
    assert database(store_uri(tmp_path)) is None


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://me:secret@lab/mlflow", "https://lab/mlflow"),
        ("postgresql://me:p%40ss@lab:5432/db", "postgresql://lab:5432/db"),
        ("postgresql+psycopg://me:p@ss@lab/db", "postgresql+psycopg://lab/db"),
        ("sqlite:////runs/mlflow.db", "sqlite:////runs/mlflow.db"),
        ("sqlite:////runs/me@home/mlflow.db", "sqlite:////runs/me@home/mlflow.db"),
    ],
)
def test_passwords_are_not_shown(uri, shown):
    assert without_secrets(uri) == shown
