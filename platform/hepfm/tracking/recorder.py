"""Records a run: on disk at once, in MLflow behind its back."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

from hepfm.errors import Stopped, TrainingError
from hepfm.tracking.description import describe
from hepfm.tracking.files import append, replace
from hepfm.tracking.lines import decode, encode, plain
from hepfm.tracking.runs import RunDir
from hepfm.tracking.shipper import Shipper
from hepfm.tracking.spool import Spool
from hepfm.tracking.storage import storing, with_patience
from hepfm.tracking.store import store_uri, why, without_secrets
from hepfm.tracking.sync import sync
from hepfm.tracking.system import SystemMetrics
from hepfm.tracking.versions import versions

T = TypeVar("T")
_KEY = re.compile(r"[\w./ :-]{1,250}")  # MLflow's rule for names of metrics
_LONGEST = 230  # with room for what is put before and behind
_NO_KEY = re.compile(r"[^\w./ :-]")
_INTERVAL_S = 2.0
_LONGEST_INTERVAL_S = 60.0
_PATIENCE_S = 10.0
_DECIDING = {"hepfm.recipe_hash", "hepfm.data_digest", "hepfm.plugins"}
"""Tags that say what is computed: as long as they stay, a step that is made again has the same numbers."""
_log = logging.getLogger(__name__)


def as_metrics(figures: Mapping[str, T]) -> dict[str, T]:
    """Figures under names that `Recorder.metrics` takes, all different.

    Of names of classes, what MLflow allows in a metric's (not the + of pi+) is kept, the rest becomes ``_``.
    """
    found: dict[str, T] = {}
    for name, value in figures.items():
        key = _NO_KEY.sub("_", name)[:_LONGEST]
        while key in found:
            key += "_"
        found[key] = value
    return found


class Recorder:
    """The one writer of a run's metrics and of its MLflow run.

    Each line goes to ``metrics.jsonl`` and to the spool before the call returns; a background thread sends
    the spool to MLflow in batches, with the time at which each line was written. A store that is down, slow
    or gone costs the training nothing: what it did not take stays in the spool, for the next resume or for
    ``hepfm mlflow sync``.

    Args:
        run: The run's folder.
        uri: MLflow's store; by default ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` beside the run.
        experiment: MLflow's experiment, made where it is missing.
        params: Headline parameters, cut visibly at 500 characters. The recipe goes along as a file.
        tags: Further tags of the MLflow run.
        dataset: ``name``, ``digest`` and ``source`` of the training data.
        resume_step: The step of the checkpoint that training goes on from; None to begin at the beginning.
            Lines of later steps are put aside (``spool/superseded.jsonl``). Steps that MLflow has been told
            of are not told again, unless the recipe, the data or a plugin has changed: then it has both.
        close_timeout: Seconds that `close` waits for MLflow at most; for a server that says nothing, 10.

    Raises:
        TrainingError: The run's folder cannot be written (disk full), also when tried again.
    """

    def __init__(
        self,
        run: RunDir,
        *,
        uri: str | None = None,
        experiment: str = "hepfm",
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        dataset: Mapping[str, str] | None = None,
        resume_step: int | None = None,
        close_timeout: float = 60.0,
    ) -> None:
        self.run = run
        self.uri = uri or store_uri(run.home)
        self._close_timeout = close_timeout
        with storing("the record", run.path):
            self._spool = Spool(run.spool)
            self._told, known = self._spool.told()
            begin = -1 if resume_step is None else resume_step
            _truncate(run, begin)
            self._metrics = io.FileIO(run.metrics_path, "ab")
            made_with = versions()
            start = describe(run, experiment, params or {}, tags or {}, dataset, made_with)
            replace(run.spool / "versions.json", json.dumps(made_with, indent=2).encode())
            run.update(tracking_uri=without_secrets(self.uri))
        self._system = SystemMetrics()
        self._system_step = self._told.get(self._system.first_key, -1)
        if self._spool.empty:
            self._append("start", **start)
        else:
            news = {key: value for key, value in start["tags"].items() if known.get(key) != value}
            self._append("resume", step=resume_step or 0, tags=news)
            if news.keys() & _DECIDING:
                self._told = {key: min(step, begin) for key, step in self._told.items()}
        for path in (run.recipe_path, run.origins_path, run.spool / "versions.json"):
            if path.exists():
                self.artifact(path)
        self._shipper = Shipper(run, self._spool, self.uri)
        self._wake = threading.Event()
        self._closing = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._ship, name="hepfm-tracking", daemon=True)
        self._thread.start()

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run; None until the store has answered for the first time."""
        return self._spool.cursor.run_id

    def metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """Records numbers of a step: Python, numpy or torch scalars; NaN and infinities are kept.

        Raises:
            TrainingError: The line cannot be written (disk full), also when tried again.
        """
        for key in values:
            if not _KEY.fullmatch(key):
                raise ValueError(
                    f"'{key}' cannot name a metric: letters, digits, '_', '-', '.', ' ', ':' and '/'"
                )
        numbers = {key: float(plain(value)) for key, value in values.items()}
        now = time.time()
        line = encode({"step": step, "time": now, "metrics": numbers})
        with_patience(storing("the record", self.run.metrics_path)(lambda: append(self._metrics, line)))
        news = {key: value for key, value in numbers.items() if step > self._told.get(key, -1)}
        if news:
            self._append("metrics", time=now, step=step, metrics=news)

    def artifact(self, path: Path, folder: str = "") -> None:
        """Sends a file to MLflow's artifacts, into a folder there.

        The file has to stay where it is; written over and sent again, it replaces itself.
        """
        path = path.resolve()
        inside = path.is_relative_to(self.run.path)
        self._append("artifact", path=str(path.relative_to(self.run.path) if inside else path), folder=folder)

    def close(self, status: Literal["done", "failed", "stopped"]) -> str:
        """Ends the record, in bounded time. Raises nothing: what was trained is not lost for its record.

        Sets ``tracking_pending`` in ``run.json``: how many entries MLflow did not take.

        Returns:
            An empty text, or a sentence on what MLflow did not take and how to send it; also in the log.
        """
        message = ""
        try:
            self._append("end", patient=status != "failed", status=status)
            self._let_ship()
            pending = self._spool.pending
            self.run.update(tracking_pending=pending)
            if pending:
                cause = why(self._error) if self._error else "it answers too slowly"
                message = (
                    f"MLflow at {without_secrets(self.uri)} did not take the last {pending} entries of the "
                    f"record ({cause}). Nothing is lost; send them: "
                    f"'hepfm mlflow sync {self.run.path}'."
                )
        except (OSError, TrainingError) as error:
            message = f"The record could not be ended: {error}"
        self._closing = True
        self._wake.set()
        self._metrics.close()
        if message:
            _log.warning(message)
        return message

    def _append(self, kind: str, *, patient: bool = True, **fields: Any) -> None:
        entry = {"kind": kind, "time": time.time()} | fields

        @storing("the record", self._spool.entries_path)
        def write() -> None:
            self._spool.append(entry)

        with_patience(write) if patient else write()

    def _let_ship(self) -> None:
        """Waits for the last entries to be sent: as long as the store answers, and not for too long."""
        self._closing = True
        self._wake.set()
        # A database is a file, or makes its own errors; only a server can say nothing.
        patience = _PATIENCE_S if self.uri.startswith(("http://", "https://")) else self._close_timeout
        begun = answered = time.monotonic()
        answers = self._shipper.answers
        while self._thread.is_alive():
            now = time.monotonic()
            if self._shipper.answers > answers:
                answers, answered = self._shipper.answers, now
            left = min(begun + self._close_timeout, answered + patience) - now
            if left <= 0:
                return
            self._thread.join(min(left, 0.2))

    def _ship(self) -> None:
        delay = _INTERVAL_S
        while True:
            self._wake.wait(delay)
            last = self._closing
            try:
                if metrics := self._system.sample():
                    self._system_step += 1
                    self._append("metrics", patient=False, step=self._system_step, metrics=metrics)
                while self._shipper.ship():
                    pass
                self._error, delay = None, _INTERVAL_S
            except Exception as error:  # noqa: BLE001 - whatever a store can do, training goes on
                self._error, delay = error, min(2 * delay, _LONGEST_INTERVAL_S)
            if last:
                self._spool.close()
                return


@contextmanager
def closed_at_last(run: RunDir, uri: str | None = None) -> Iterator[None]:
    """Sees to it that a run whose processes are ended by an error is not left as one that goes on.

    Its recorder ends the record itself, unless it was killed, as Ray does with the workers beside one that
    failed.
    """
    try:
        yield
    except BaseException as error:
        # Where another process trains it, nothing has ended; and what storage does here must not hide why.
        with suppress(TrainingError, OSError), run.lock():
            _close(run, error, uri)
        raise


def _close(run: RunDir, error: BaseException, uri: str | None) -> None:
    content = run.json()
    reason = str(error) or type(error).__name__
    status = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
    ended = content["status"] not in {"created", "running"}
    if isinstance(error, Stopped):  # while no worker lived: what the last ones ended with is not the end
        reason, status = error.reason or reason, "stopped"
        ended = content["status"] == "done" or (content["status"], content.get("reason")) == (status, reason)
    if ended:
        return
    run.update(status=status, reason=reason)
    spool = Spool(run.spool)
    if not spool.empty:
        spool.append({"kind": "end", "time": time.time(), "status": status})
    run.update(tracking_pending=spool.pending)
    spool.close()
    with suppress(Exception):  # whatever a store can do; `hepfm mlflow sync` sends it later
        sync(run, uri)


def _truncate(run: RunDir, step: int) -> None:
    """Leaves the lines of ``metrics.jsonl`` up to a step, and puts the others aside."""
    if not run.metrics_path.exists():
        return
    kept: list[bytes] = []
    superseded: list[bytes] = []
    for line in run.metrics_path.read_bytes().splitlines(keepends=True):
        entry = decode(line)
        (kept if entry and entry["step"] <= step else superseded).append(line)
    if superseded:
        with (run.spool / "superseded.jsonl").open("ab") as file:
            file.writelines(superseded)
        replace(run.metrics_path, b"".join(kept))
