"""The MLflow store: the server that the environment names, else SQLite beside the runs."""

from __future__ import annotations

import logging
import os
import re
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from hepfm.tracking.files import locked

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Ours unless the user set them. MLflow's own defaults try for minutes, with 120 s for each request; the spool
# tries again by itself, and forgets nothing.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


# Else MLflow's pages take the runs for evaluations of a language model, and hide training curves.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}


def store_uri(out: Path) -> str:
    """Where runs in this folder are recorded: ``MLFLOW_TRACKING_URI``, else its own ``mlflow.db``."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{out.resolve() / 'mlflow.db'}"


def database(uri: str) -> Path | None:
    """The file of a store that is an SQLite database."""
    return Path(uri.removeprefix("sqlite:///")).resolve() if uri.startswith("sqlite:///") else None


def without_secrets(uri: str) -> str:
    """The URI without the user and password that it may hold, for messages and files."""
    return re.sub(r"//[^/]*@", "//", uri)  # a password may hold an @


def connect(uri: str) -> MlflowClient:
    """A client of the store. A new database is made by one process while others wait (1.7 s measured)."""
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    from mlflow import MlflowClient

    for library in ("alembic", "mlflow"):  # they tell of each step of making a database
        logging.getLogger(library).setLevel(os.environ["MLFLOW_LOGGING_LEVEL"])
    file = database(uri)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file.with_name(file.name + ".lock")) if file else nullcontext():
        return MlflowClient(uri)


def experiment_id(client: MlflowClient, uri: str, name: str) -> str:
    """The id of the experiment, made where it is missing; artifacts go beside the database."""
    from mlflow.exceptions import MlflowException

    if found := client.get_experiment_by_name(name):
        return str(found.experiment_id)
    file = database(uri)
    location = (file.parent / "mlartifacts").as_uri() if file else None
    try:
        return str(client.create_experiment(name, artifact_location=location, tags=_EXPERIMENT_TAGS))
    except MlflowException:
        # Another run may have made it in the meantime.
        if found := client.get_experiment_by_name(name):
            return str(found.experiment_id)
        raise
