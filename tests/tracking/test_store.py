"""Which store a run is recorded in, and that its password is not shown."""

from __future__ import annotations

import pytest

from hepfm.tracking.recorder import Recorder
from hepfm.tracking.runs import create_run
from hepfm.tracking.store import connect, database, store_uri, without_secrets


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


@pytest.mark.parametrize(
    ("location", "folder"),
    [
        (None, "mlartifacts"),  # made here
        ("mlflow-artifacts:/7", "mlartifacts/7"),  # made by MLflow's server over the same database
        ("{out}/elsewhere", "elsewhere"),
    ],
)
def test_artifacts_lie_where_the_server_looks_for_them_whoever_made_the_experiment(out, location, folder):
    client = connect(f"sqlite:///{out / 'mlflow.db'}")
    if location:
        client.create_experiment("hepfm", artifact_location=location.format(out=out))
    run = create_run(out, "tiny", "name: tiny\n")
    (run.path / "displays").mkdir()
    (run.path / "displays" / "event.html").write_text("first")
    recorder = Recorder(run)
    recorder.artifact(run.path / "displays" / "event.html", "displays")
    assert recorder.close("done") == ""
    files = out / folder / recorder.run_id / "artifacts"
    assert (files / "recipe.yaml").read_text() == "name: tiny\n"
    assert (files / "displays" / "event.html").read_text() == "first"
