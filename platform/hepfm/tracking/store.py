"""The MLflow store: the server that the environment names, else SQLite beside the runs."""

from __future__ import annotations

import logging
import os
import re
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from hepfm.locks import locked

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Ours unless the user set them. MLflow's own defaults try for minutes, with 120 s for each request, and wait
# as long as a server says; the spool tries again by itself, and forgets nothing. One retry, at once, is what
# a call of several requests needs where every other one fails.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}

ARTIFACTS = "mlartifacts"
"""The folder of artifacts beside a database."""
_SERVED = "mlflow-artifacts:/"
_LONGEST = 240

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


def why(error: BaseException) -> str:
    """One line on why a store did not take something: what lies beneath MLflow's own error."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    return without_secrets(text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ...")


def connect(uri: str) -> MlflowClient:
    """A client of the store. A new database is made by one process while others wait (1.7 s measured)."""
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    from mlflow import MlflowClient

    for library in (
        "alembic",
        "mlflow",
        "urllib3",
    ):  # they tell of each step, and of each request tried again
        logging.getLogger(library).setLevel(os.environ["MLFLOW_LOGGING_LEVEL"])
    file = database(uri)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file.with_name(file.name + ".lock")) if file else nullcontext():
        return MlflowClient(uri)


def experiment_id(client: MlflowClient, uri: str, name: str) -> str:
    """The id of the experiment, made where it is missing; artifacts go beside the database.

    There they are named as MLflow's server names them, without the folder: both may be moved.
    """
    from mlflow.exceptions import MlflowException

    if found := client.get_experiment_by_name(name):
        return str(found.experiment_id)
    location = _SERVED if database(uri) else None
    try:
        return str(client.create_experiment(name, artifact_location=location, tags=_EXPERIMENT_TAGS))
    except MlflowException:
        # Another run may have made it in the meantime.
        if found := client.get_experiment_by_name(name):
            return str(found.experiment_id)
        raise


def served_folder(client: MlflowClient, uri: str, run_id: str) -> Path | None:
    """Where a run's artifacts lie that a server over this database serves; None for artifacts elsewhere.

    MLflow's client would ask that server for them, also where there is none.
    """
    file = database(uri)
    place = str(client.get_run(run_id).info.artifact_uri)
    if file is None or not place.startswith(_SERVED) or place.startswith(f"{_SERVED}/"):
        return None
    return file.parent / ARTIFACTS / place.removeprefix(_SERVED)
