"""Sends a run's spool to MLflow: the one place that writes to a store."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hepfm.tracking.files import locked
from hepfm.tracking.lines import number
from hepfm.tracking.runs import RunDir
from hepfm.tracking.spool import Cursor, Spool
from hepfm.tracking.store import connect, experiment_id

if TYPE_CHECKING:
    from mlflow import MlflowClient

STATUS = {"done": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
"""A run's status in ``run.json`` to MLflow's word for it."""

_METRICS_PER_CALL = 1000  # MLflow's limit
_PARAMS_PER_CALL = 100  # the same
_DIGEST_LENGTH = 36  # the same; the whole digest is a tag
_ENTRIES_PER_ROUND = 200
_TAG = "hepfm.run"
_log = logging.getLogger(__name__)


class Shipper:
    """Sends entries in order, and moves the cursor behind what the store has taken.

    A store that does not know the run (another server, an emptied one) gets it from the first entry on.
    """

    def __init__(self, run: RunDir, spool: Spool, uri: str) -> None:
        self.run = run
        self.spool = spool
        self.uri = uri
        self._client: MlflowClient | None = None
        self._sent_files: dict[tuple[str, str], tuple[int, int]] = {}

    def ship(self) -> int:
        """Sends up to 200 entries; returns how many, 0 when the store has them all.

        Raises:
            Exception: Whatever MLflow raises when the store does not answer; the cursor stays where it was.
        """
        with locked(self.spool.lock_path):
            self.spool.sync()
            if self._client is None:
                client = connect(self.uri)
                self.spool.cursor = self._find_or_create(client)
                self.run.update(run_id=self.spool.cursor.run_id)
                self._client = client
            cursor = self.spool.cursor
            found = self.spool.read(cursor.offset, _ENTRIES_PER_ROUND)
            if found:
                assert cursor.run_id is not None
                self._send(self._client, cursor.run_id, [entry for entry, _ in found])
                self.spool.cursor = Cursor(found[-1][1], cursor.run_id)
            return len(found)

    def _find_or_create(self, client: MlflowClient) -> Cursor:
        """The MLflow run of this training: by its id, else by its tag (an answer may have been lost)."""
        from mlflow.exceptions import MlflowException

        cursor = self.spool.cursor
        if cursor.run_id:
            with suppress(MlflowException):
                if client.get_run(cursor.run_id).info.lifecycle_stage == "active":
                    return cursor
        start = self.spool.read(0, 1)[0][0]
        experiment = experiment_id(client, self.uri, start["experiment"])
        for known in client.search_runs([experiment], f"tags.`{_TAG}` = '{self.run.name}'", max_results=1):
            return Cursor(0, str(known.info.run_id))
        tags = start["tags"] | {_TAG: self.run.name}
        milliseconds = int(start["time"] * 1000)
        created = client.create_run(experiment, start_time=milliseconds, tags=tags, run_name=self.run.name)
        return Cursor(0, str(created.info.run_id))

    def _send(self, client: MlflowClient, run_id: str, entries: Sequence[dict[str, Any]]) -> None:
        """Sends entries; one that the store refuses for good is reported and left out."""
        from mlflow.exceptions import MlflowException

        try:
            self._send_metrics(client, run_id, entries)
            for entry in entries:
                match entry["kind"]:
                    case "start":
                        self._send_start(client, run_id, entry)
                    case "artifact":
                        self._send_artifact(client, run_id, entry)
                    case "resume":
                        client.update_run(run_id, status="RUNNING")
                        client.set_tag(run_id, "hepfm.resumed_from_step", str(entry["step"]))
                    case "end":
                        client.set_terminated(run_id, STATUS[entry["status"]], int(entry["time"] * 1000))
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            if len(entries) == 1:
                _log.warning(
                    "MLflow refuses an entry of %s: %s (%s)", self.run.name, error.message, entries[0]
                )
                return
            for entry in entries:
                self._send(client, run_id, [entry])

    def _send_metrics(self, client: MlflowClient, run_id: str, entries: Sequence[dict[str, Any]]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(key, number(value), int(entry["time"] * 1000), entry["step"])
            for entry in entries
            if entry["kind"] == "metrics"
            for key, value in entry["metrics"].items()
        ]
        for first in range(0, len(metrics), _METRICS_PER_CALL):
            client.log_batch(run_id, metrics=metrics[first : first + _METRICS_PER_CALL])

    def _send_start(self, client: MlflowClient, run_id: str, entry: dict[str, Any]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag, Param

        params = [Param(key, value) for key, value in entry["params"].items()]
        for first in range(0, len(params), _PARAMS_PER_CALL):
            client.log_batch(run_id, params=params[first : first + _PARAMS_PER_CALL])
        if dataset := entry["dataset"]:
            source = json.dumps({"uri": dataset["source"]})
            record = Dataset(dataset["name"], dataset["digest"][:_DIGEST_LENGTH], "local", source)
            context = InputTag("mlflow.data.context", "train")
            client.log_inputs(run_id, datasets=[DatasetInput(record, [context])])

    def _send_artifact(self, client: MlflowClient, run_id: str, entry: dict[str, Any]) -> None:
        path = self.run.path / entry["path"]
        if not path.is_file():
            _log.warning("%s is no longer there, so MLflow does not get it", path)
            return
        state = (path.stat().st_mtime_ns, path.stat().st_size)
        # A display is written over at each validation: of those that waited, the last is enough.
        if self._sent_files.get((entry["path"], entry["folder"])) != state:
            client.log_artifact(run_id, str(path), entry["folder"] or None)
            self._sent_files[entry["path"], entry["folder"]] = state
