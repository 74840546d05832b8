"""A run's folder: its names, its recipe, its ``run.json``, and its lock.

::

    runs/<name>-<id>/
      recipe.yaml   run.json   metrics.jsonl   log.txt   spool/   checkpoints/   evaluations/   models/
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hepfm.errors import RecipeError, TrainingError
from hepfm.locks import held, locked
from hepfm.tracking.files import replace
from hepfm.tracking.lines import plain

STOP_NOW = "job stop --now"
"""The reason to stop for which a job's training is killed."""
EVALUATIONS = "evaluations"
"""Of a run's folder, that of its evaluations."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_RESULTS = ("run_id", "checkpoint", "steps", "train_loss", "val_loss", "val_loss_baseline", "weights_sha256")


@dataclass(frozen=True)
class RunDir:
    """The folder of one run."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name, ``<name>-<id>``: what a command line calls the run."""
        return self.path.name

    @property
    def home(self) -> Path:
        """The folder of runs that it belongs to; of an evaluation that of the run that was evaluated."""
        above = self.path.parent
        inside = above.name == EVALUATIONS and (above.parent / "run.json").is_file()
        return above.parent.parent if inside else above

    @property
    def evaluations(self) -> Path:
        """The folder of its evaluations, each of which is recorded as a run."""
        return self.path / EVALUATIONS

    @property
    def recipe_path(self) -> Path:
        return self.path / "recipe.yaml"

    @property
    def origins_path(self) -> Path:
        """Where each value of the recipe came from (JSON)."""
        return self.path / "origins.json"

    @property
    def log_path(self) -> Path:
        return self.path / "log.txt"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def newest_checkpoint(self) -> str | None:
        """Name of the newest checkpoint, which may be damaged; None where there is none."""
        return max((path.name for path in self.checkpoints.glob("step-*")), default=None)

    @property
    def spool(self) -> Path:
        """What is on its way to MLflow."""
        return self.path / "spool"

    def json(self) -> dict[str, Any]:
        """The content of ``run.json``; ``run_dir`` is where the folder lies now."""
        content: dict[str, Any] = json.loads((self.path / "run.json").read_bytes())
        return content | {"run_dir": str(self.path)}

    def update(self, **fields: Any) -> None:
        """Sets fields of ``run.json``, atomically; numpy and torch scalars are accepted, NaN is ``"NaN"``.

        Safe against other threads and processes that set other fields at the same time.
        """
        with locked(self.path / ".run.json.lock"):
            content = self.json() | plain(fields)
            replace(self.path / "run.json", _render(content))

    def ask_to_stop(self, reason: str, *, unless_asked: bool = False) -> None:
        """Asks the run to stop after its next step, with a checkpoint. May come from any process.

        `STOP_NOW` stays, whatever is asked after it.

        Args:
            reason: What ``run.json`` then says (``SIGTERM``, ``job stop``).
            unless_asked: Whether a request that is there stays, whatever it is.
        """
        content = json.dumps({"reason": reason, "time": _now()}).encode() + b"\n"
        if unless_asked:
            aside = self._aside()
            replace(aside, content)
            self._put_back(aside)
        elif self.stop_asked() != STOP_NOW:
            replace(self._stop_path, content)

    def stop_asked(self) -> str | None:
        """The reason of `ask_to_stop`, where somebody called it since training started."""
        return _reason(self._stop_path)

    def forget_stop(self, obeyed: str | None = None) -> None:
        """Takes back `ask_to_stop`; done when training starts, and when it has obeyed.

        Args:
            obeyed: The reason that is done with; a request for another stays. None for all.
        """
        if obeyed is None:
            self._stop_path.unlink(missing_ok=True)
        elif self.stop_asked() == obeyed:
            aside = self._aside()
            with suppress(FileNotFoundError):
                self._stop_path.rename(aside)  # so that what is looked at is what is removed
                if _reason(aside) == obeyed:
                    aside.unlink()
                else:
                    self._put_back(aside)

    def _aside(self) -> Path:
        return self.path / f".stop-{uuid.uuid4().hex[:8]}"

    def _put_back(self, aside: Path) -> None:
        """Makes a file the stop file, where there is none."""
        with suppress(FileExistsError):
            os.link(aside, self._stop_path)
        aside.unlink()

    @property
    def _stop_path(self) -> Path:
        return self.path / "stop"

    @contextmanager
    def lock(
        self, *, patience_s: float = 0.0, unless: Callable[[], object] = lambda: False
    ) -> Iterator[None]:
        """Held by the process that trains the run; it ends with the process, however that ends.

        Args:
            patience_s: How long another process that holds it is waited for.
            unless: Ends the waiting where it returns something true.

        Raises:
            TrainingError: Another process holds it.
        """

        def taken(holder: str) -> TrainingError:
            return TrainingError(
                f"run {self.name} is being trained already",
                where=holder,
                fix="wait for it or stop it; or 'hepfm fork' the run to train a copy",
            )

        with held(self.path / "lock", taken, patience_s=patience_s, unless=unless):
            yield


def _reason(path: Path) -> str | None:
    try:
        return str(json.loads(path.read_bytes())["reason"])
    except (PermissionError, ValueError, KeyError, TypeError):  # made by hand: touch RUN/stop
        return "the file 'stop' in its folder"
    except OSError:  # there is none, or storage fails: that must not stop a run
        return None


def create_run(
    out: Path, name: str, recipe_yaml: str, parent: str | None = None, *, exact: bool = False
) -> RunDir:
    """Makes the folder of a new run, with its recipe and its ``run.json``.

    Args:
        out: The folder of all runs, made where it is missing.
        name: The recipe's name; the folder is ``<name>-<id>`` with 8 random hex digits.
        recipe_yaml: The resolved recipe.
        parent: For a fork, the name of the run that it starts from.
        exact: Whether the folder is ``<name>`` itself.

    Raises:
        RecipeError: The name would not stay inside ``out`` or is taken, or nothing can be written there.
    """
    if not _NAME.fullmatch(name):
        raise RecipeError(
            f"'{name}' cannot be a run's name",
            where="name",
            fix="start with a letter or digit, then letters, digits, '.', '_' and '-', at most 80 in all",
        )
    identity = uuid.uuid4().hex[:8]
    run = RunDir(out.resolve() / (name if exact else f"{name}-{identity}"))
    try:
        run.path.mkdir(parents=True)
    except OSError as error:
        raise RecipeError(
            f"the run's folder cannot be made: {error.strerror}",
            where=str(run.path),
            fix="name a folder that can be written with --runs",
        ) from error
    run.spool.mkdir()
    run.checkpoints.mkdir()
    replace(run.recipe_path, recipe_yaml.encode())
    content = {"name": name, "id": identity, "run_dir": str(run.path), "parent": parent, "created": _now()}
    content |= dict.fromkeys(_RESULTS) | {"status": "created"}
    replace(run.path / "run.json", _render(content))
    return run


def find_run(run: str, out: Path) -> RunDir:
    """The run that a command line means.

    Args:
        run: A folder; or the name (with its id or without), id or MLflow run id of a run in ``out``, or the
            unique prefix of one.
        out: The folder of all runs.

    Raises:
        RecipeError: There is none, there are several, or links lead out of the folder.
    """
    folder = Path(run)
    if (folder / "run.json").is_file():
        return _checked(RunDir(folder.resolve()))
    known = [RunDir(path.parent) for path in out.glob("*/run.json")] if out.is_dir() else []
    names = {each.path: (each.name, *_ids(each)) for each in known}
    matches = [each for each in known if any(run and name.startswith(run) for name in names[each.path])]
    exact = [each for each in matches if run in names[each.path]]
    with_id = re.compile(re.escape(run) + "-[0-9a-f]{8}")
    called = [each for each in matches if with_id.fullmatch(each.name)]  # not "unfold-light" for "unfold"
    if len(fitting := exact or called or matches) == 1:
        (found,) = fitting
        if found.path.resolve().parent != out.resolve():
            raise RecipeError(
                f"run {found.name} is a link that leads out of its folder",
                where=f"{found.path} -> {found.path.resolve()}",
                fix="name the folder itself",
            )
        return _checked(RunDir(found.path.resolve()))
    newest = sorted(fitting or known, key=lambda each: each.path.stat().st_mtime, reverse=True)
    listed = ", ".join(each.name for each in newest[:8]) or "none yet"
    raise RecipeError(
        f"'{run}' could be {len(fitting)} runs" if matches else f"there is no run '{run}'",
        where=str(out),
        fix=f"{'say which' if matches else 'the newest here'}: {listed}",
    )


def _ids(run: RunDir) -> Iterator[str]:
    try:
        content = run.json()
    except (OSError, ValueError):
        return
    yield from (content[key] for key in ("id", "run_id") if content.get(key))


def _checked(run: RunDir) -> RunDir:
    """Refuses a run with files elsewhere: a resumed run is written to."""
    for path in (
        run.path / "run.json",
        run.recipe_path,
        run.metrics_path,
        run.log_path,
        run.spool,
        run.checkpoints,
    ):
        if not path.resolve().is_relative_to(run.path):
            raise RecipeError(
                f"run {run.name} has a link that leads out of its folder",
                where=f"{path} -> {path.resolve()}",
                fix="put the files themselves there",
            )
    return run


def _render(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=2).encode() + b"\n"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
