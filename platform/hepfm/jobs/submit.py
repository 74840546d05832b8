"""Hands a recipe to a Ray cluster as a job."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hepfm.errors import HepfmError, RecipeError, TrainingError
from hepfm.jobs.checks import check_resources, check_versions, live
from hepfm.jobs.client import Dashboard, is_local
from hepfm.jobs.entry import made_with
from hepfm.jobs.package import local_plugins, working_directory
from hepfm.locks import locked
from hepfm.recipe.diff import deciding, render
from hepfm.recipe.document import dump
from hepfm.recipe.load import NOT_HASHED, Resolved, load_recipe
from hepfm.tracking.files import replace
from hepfm.tracking.runs import RunDir, create_run, find_run
from hepfm.tracking.store import database, without_secrets

STOP_WAIT_S = 600
"""Seconds that Ray waits for a job that is to stop, until it kills it: a checkpoint must fit."""

_SECRET = re.compile("TOKEN|PASSW|SECRET|CREDENTIAL|API_?KEY|PRIVATE", re.IGNORECASE)
_PASSED_ON = ("HEPFM_PLUGINS_ALLOW", "HEPFM_PLUGINS_DENY", "HEPFM_PLUGINS_STRICT")


@dataclass(frozen=True)
class Submitted:
    """A job that the cluster took.

    Attributes:
        job: Its id.
        run: The run's folder.
        resumed: Whether the run was there before.
        warnings: Sentences for the user.
    """

    job: str
    run: RunDir
    resumed: bool
    warnings: tuple[str, ...]


def submit(
    resolved: Resolved,
    dashboard: Dashboard,
    *,
    recipe: str,
    out: Path,
    name: str | None = None,
    max_retries: int = 3,
    env: Sequence[str] = (),
    mlflow: str | None = None,
) -> Submitted:
    """Has a cluster train a recipe; a run of this name that ended before its last step goes on.

    Args:
        resolved: What to train; its data paths mean the same on the cluster.
        dashboard: The cluster's.
        recipe: What the user calls the recipe.
        out: The folder of runs, which the cluster sees at the same path.
        name: The run's name; by default the recipe's, with an id.
        max_retries: How often training that died is started again.
        env: ``KEY=VALUE`` each, for the job and its workers.
        mlflow: Where the run is recorded, unless the recipe says so; by default SQLite beside the runs.

    Raises:
        RecipeError: The cluster is another, or has too little; the name is taken; the folder is too large.
        HepfmError: What the cluster answers else.
    """
    warnings: list[str] = []
    variables = _variables(env, resolved, mlflow, dashboard, warnings)
    check_versions(dashboard)
    check_resources(dashboard, resolved.recipe.cluster)
    out = out.resolve()
    with _claimed(out, name):
        jobs = dashboard.jobs()
        known = None if name is None else _known(out / name, resolved, jobs)
        environment = _environment(Path.cwd(), out, dashboard, warnings) | {"env_vars": variables}
        run = known or create_run(out, resolved.recipe.name, resolved.yaml(), exact=name is not None)
        job = _free_id(run.name, jobs)
        before = {path: path.read_bytes() for path in (run.recipe_path, run.path / "run.json")}
        try:
            _prepare(run, resolved, known is not None, job, dashboard, max_retries)
            dashboard.submit(
                job,
                entrypoint=_entrypoint(run, max_retries),
                environment=environment,
                metadata={"hepfm.run": run.name, "hepfm.run_dir": str(run.path), "hepfm.recipe": recipe},
            )
        except BaseException:
            if not _accepted(dashboard, job):
                if known is None:
                    shutil.rmtree(run.path)
                else:
                    for path, content in before.items():
                        replace(path, content)
            raise
    return Submitted(job, run, known is not None, tuple(warnings))


@contextmanager
def _claimed(out: Path, name: str | None) -> Iterator[None]:
    """Within, no other submit of this name in this folder; `RecipeError` where there is one already."""
    if name is None:
        yield
        return
    with ExitStack() as stack:
        try:
            out.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(out / f".{name}.submit", wait=False))
        except BlockingIOError:
            raise RecipeError(
                f"The name '{name}' is taken: a job of it is being submitted at this moment.",
                where=str(out),
                fix="see how it does: hepfm job list; or choose another --name",
            ) from None
        except OSError as error:
            raise RecipeError(
                f"Nothing can be written for '{name}' in the folder of runs: {error.strerror}.",
                where=str(error.filename or out),
                fix="name a folder that can be written with --runs, or choose another --name",
            ) from error
        yield


def _known(folder: Path, resolved: Resolved, jobs: list[dict[str, Any]]) -> RunDir | None:
    """The run of this name, if there is one and it can go on.

    Raises:
        RecipeError: It is being trained, is done, is of another recipe, or has links that lead out.
    """
    run = RunDir(folder)
    for job in jobs:
        if live(job) and (job["metadata"] or {}).get("hepfm.run") == run.name:
            raise RecipeError(
                f"A job of the name '{run.name}' is {job['status'].lower()} already.",
                where=f"job {job['submission_id']}, run {job['metadata']['hepfm.run_dir']}",
                fix=f"hepfm job logs {run.name} --follow shows it, hepfm job stop {run.name} stops it; "
                "or choose another --name",
            )
    if not (run.path / "run.json").is_file():
        return None
    if folder.is_symlink():
        raise RecipeError(
            f"The run '{run.name}' is a link, to {folder.resolve()}.",
            where=str(folder),
            fix="choose another --name",
        )
    find_run(str(folder), folder.parent)  # refuses links within
    try:
        with run.lock():
            pass
    except TrainingError as error:
        raise RecipeError(f"The {error.what}.", where=error.where, fix=error.fix) from None
    if changes := deciding(load_recipe(str(run.recipe_path)).recipe, resolved.recipe):
        raise RecipeError(
            f"The run '{run.name}' is of another recipe:\n    " + render(changes).replace("\n", "\n    "),
            where=str(run.path),
            fix=f"hepfm job resume {run.name} goes on with the run's own; hepfm fork {run.name} --set ... "
            "starts a child run; or choose another --name",
        )
    content = run.json()
    if content["status"] == "done":
        raise RecipeError(
            f"The run '{run.name}' is done, after {content['steps']} steps.",
            where=str(run.path),
            fix=f"choose another --name; hepfm fork {run.name} --set train.steps=... trains on from it",
        )
    return run


def _prepare(
    run: RunDir, resolved: Resolved, resumed: bool, job: str, dashboard: Dashboard, max_retries: int
) -> None:
    """Writes into the run's folder what its job will look for there."""
    if resumed:  # the cluster may be another, or when to save and stop; where it is recorded stays
        before = load_recipe(str(run.recipe_path)).recipe
        kept = {name: getattr(before, name) for name in NOT_HASHED - {"cluster"}}
        now = resolved.recipe.model_copy(update=kept)
        replace(run.recipe_path, dump(now.model_dump(mode="json")).encode())
    else:
        run.origins_path.write_text(json.dumps(dict(resolved.origins), indent=2) + "\n")
    submitted = datetime.now(UTC).isoformat(timespec="seconds")
    about = {"id": job, "address": dashboard.address, "submitted": submitted, "max_retries": max_retries}
    run.update(status="created", reason=None, job=about | {"exit_code": None, "made_with": made_with()})


def _accepted(dashboard: Dashboard, job: str) -> bool:
    """Whether the cluster has a job, though submitting it failed; True where that cannot be known."""
    try:
        return any(each["submission_id"] == job for each in dashboard.jobs())
    except HepfmError:
        return True


def _free_id(name: str, jobs: list[dict[str, Any]]) -> str:
    """The run's name, or with a number where Ray remembers earlier jobs of it."""
    taken = {job["submission_id"] for job in jobs}
    ids = (name if k == 1 else f"{name}.{k}" for k in range(1, len(taken) + 2))
    return next(each for each in ids if each not in taken)


def _environment(folder: Path, out: Path, dashboard: Dashboard, warnings: list[str]) -> dict[str, Any]:
    """Packs and uploads what travels with the job; Ray's runtime environment for it."""
    environment: dict[str, Any] = {}
    if Path.home().resolve().is_relative_to(folder.resolve()):
        warnings.append(f"{folder} is no working directory; nothing of it is sent with the job")
    elif code := working_directory(folder, out):
        warnings.extend(code.warnings)
        dashboard.upload(code.uri, code.content)
        environment["working_dir"] = code.uri
    if plugins := local_plugins():
        dashboard.upload(plugins.uri, plugins.content)
        environment["py_modules"] = [plugins.uri]
    return environment


def _variables(
    env: Sequence[str], resolved: Resolved, mlflow: str | None, dashboard: Dashboard, warnings: list[str]
) -> dict[str, str]:
    """Environment variables of the job. Ray's dashboard shows them to all: no secrets."""
    variables = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    variables["RAY_JOB_STOP_WAIT_TIME_S"] = str(STOP_WAIT_S)
    if mlflow is not None and resolved.recipe.tracking.uri is None:
        variables["MLFLOW_TRACKING_URI"] = _absolute(without_secrets(mlflow))
        if without_secrets(mlflow) != mlflow:
            warnings.append(
                "the user and password in MLFLOW_TRACKING_URI are not sent, as Ray's dashboard shows them; "
                "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD on the cluster's nodes"
            )
        if is_local(mlflow) and not is_local(dashboard.address):
            warnings.append(f"MLflow at {without_secrets(mlflow)} is on this machine, the cluster on another")
    for given in env:
        name, equals, value = given.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise RecipeError(f"'{given}' is not a variable.", where="--env", fix="write it as KEY=VALUE")
        if _SECRET.search(name) or without_secrets(value) != value:
            raise RecipeError(
                f"{name} looks like a secret, and Ray's dashboard shows a job's variables.",
                where="--env",
                fix="set it on the cluster's nodes, or put it into a file there",
            )
        variables[name] = value
    return variables


def _absolute(uri: str) -> str:
    if file := database(uri):
        return f"sqlite:///{file}"
    return uri if "://" in uri else str(Path(uri).resolve())


def _entrypoint(run: RunDir, max_retries: int) -> str:
    """The command of a job: with this Python where the head has it too, else with its own."""
    entry = shlex.join(["-m", "hepfm.jobs.entry", str(run.path), "--max-retries", str(max_retries)])
    return (
        f"for python in {shlex.quote(sys.executable)} python3 python; do "
        f'"$python" -c \'import hepfm.jobs\' 2>/dev/null && exec "$python" {entry}; done; '
        "echo 'Error: hepfm is not installed for the Python of the head of this cluster.'; exit 4"
    )
