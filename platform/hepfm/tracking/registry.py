"""MLflow's registry of models: a run's checkpoint under a name, with its card.

A registration takes the run's spool like everything else that MLflow is told: a store that is down gets it
with ``hepfm mlflow sync``.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepfm.errors import RecipeError
from hepfm.tracking.files import replace
from hepfm.tracking.runs import RunDir
from hepfm.tracking.spool import Spool

if TYPE_CHECKING:
    from mlflow import MlflowClient

MODELS = "models"
CARD = "card.md"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,199}")
_WEIGHTS = "hepfm.weights_sha256"


def register(
    run: RunDir, name: str, files: Mapping[str, Path | bytes], card: str, tags: Mapping[str, str]
) -> Path:
    """Puts a model into the run's folder, and on its way to the registry.

    Args:
        run: The run; nobody trains it.
        name: Of the registered model; each registration is a new version of it.
        files: Name to file, or to its content: weights and what is needed to use them. Files are linked where
            the file system can.
        card: Markdown.
        tags: Of the version; ``hepfm.weights_sha256`` tells which weights it has, so none is made twice.

    Returns:
        The folder ``models/NAME-STEP`` in the run's.

    Raises:
        RecipeError: The name cannot be used, or the run has no record.
        TrainingError: The run is being trained.
    """
    if not _NAME.fullmatch(name):
        raise RecipeError(
            f"'{name}' cannot be a registered model's name.",
            fix="start with a letter or digit, then letters, digits, ' ', '.', '_' and '-'",
        )
    folder = run.path / MODELS / f"{name}-{tags['hepfm.checkpoint']}"
    folder.mkdir(parents=True, exist_ok=True)
    for file, source in files.items():
        if isinstance(source, Path):
            _link(source, folder / file)
        else:
            replace(folder / file, source)
    replace(folder / CARD, card.encode())
    with run.lock():
        spool = Spool(run.spool)
        try:
            if spool.empty:
                raise RecipeError(
                    "The run has no record, so MLflow has nothing to register.",
                    where=str(run.path),
                    fix="register a run that was trained with hepfm",
                )
            inside = folder.relative_to(run.path).as_posix()
            for file in (*files, CARD):
                spool.append(
                    {"kind": "artifact", "time": time.time(), "path": f"{inside}/{file}", "folder": inside}
                )
            spool.append(
                {"kind": "model", "time": time.time(), "name": name, "folder": inside} | {"tags": dict(tags)}
            )
            run.update(tracking_pending=spool.pending)
        finally:
            spool.close()
    return folder


def send_model(client: MlflowClient, run_id: str, run: Path, entry: Mapping[str, Any]) -> None:
    """Makes a version of a registered model, unless the store has it: same name, run and weights."""
    from mlflow.exceptions import MlflowException

    name, tags = entry["name"], entry["tags"]
    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(name)
    card = run / entry["folder"] / CARD
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    if (version := version_of(client, run_id, name, tags[_WEIGHTS])) is not None:
        client.update_model_version(name, version, text)  # with what was evaluated since
        return
    source = f"{client.get_run(run_id).info.artifact_uri}/{entry['folder']}"
    client.create_model_version(name, source, run_id, tags=dict(tags), description=text)


def version_of(client: MlflowClient, run_id: str, name: str, weights_sha256: str) -> str | None:
    """The version of a registered model that has these weights of a run."""
    for version in client.search_model_versions(f"run_id = '{run_id}'"):
        if version.name == name and version.tags.get(_WEIGHTS) == weights_sha256:
            return str(version.version)
    return None


def _link(source: Path, target: Path) -> None:
    """The same file once more, or a copy where the file system has no links."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
