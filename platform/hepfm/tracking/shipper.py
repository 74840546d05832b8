"""Sends a run's spool to MLflow: the one place that writes to a store."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from hepfm.locks import locked
from hepfm.tracking.files import replace
from hepfm.tracking.lines import number
from hepfm.tracking.registry import send_model
from hepfm.tracking.runs import RunDir
from hepfm.tracking.spool import Cursor, Spool
from hepfm.tracking.store import connect, experiment_id, served_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient

STATUS = {"done": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
"""A run's status in ``run.json`` to MLflow's word for it."""

_METRICS_PER_CALL = 1000  # MLflow's limit
_PARAMS_PER_CALL = 100  # the same
_DIGEST_LENGTH = 36  # the same; the whole digest is a tag
_ENTRIES_PER_ROUND = 200
_TAG = "hepfm.run"
_PARENT = "mlflow.parentRunId"
_UNKNOWN = "RESOURCE_DOES_NOT_EXIST"
_log = logging.getLogger(__name__)


class Shipper:
    """Sends entries in order, and moves the cursor behind what the store has taken.

    A store that does not know the run (another server, an emptied one) gets it from the first entry on.
    """

    def __init__(self, run: RunDir, spool: Spool, uri: str) -> None:
        self.run = run
        self.spool = spool
        self.uri = uri
        self.answers = 0
        """How often the store has answered: it is alive as long as this grows."""
        self._client: MlflowClient | None = None
        self._sent_files: dict[tuple[str, str, str], tuple[int, int]] = {}

    def ship(self) -> int:
        """Sends up to 200 entries; returns how many, 0 when the store has them all.

        Raises:
            Exception: Whatever MLflow raises when the store does not answer; the cursor is where it stopped.
        """
        with locked(self.spool.lock_path):
            self.spool.sync()
            if self._client is None:
                client = connect(self.uri)
                self.answers += 1
                self.spool.cursor = self._find_or_create(client)
                self.run.update(run_id=self.spool.cursor.run_id)
                self._client = client
            cursor = self.spool.cursor
            assert cursor.run_id is not None
            found = self.spool.read(cursor.offset, _ENTRIES_PER_ROUND)
            # One call for many metrics, and no more to be repeated after a failure than the one that failed.
            for _, group in groupby(found, lambda each: each[0]["kind"] == "metrics" or each):
                entries = list(group)
                self._try(self._client, cursor.run_id, [entry for entry, _ in entries])
                self.spool.cursor = Cursor(entries[-1][1], cursor.run_id)
            return len(found)

    def _find_or_create(self, client: MlflowClient) -> Cursor:
        """The one MLflow run of this training: by its id, else by its tag (an answer may have been lost)."""
        from mlflow.exceptions import MlflowException

        cursor = self.spool.cursor
        if cursor.run_id:
            try:
                if client.get_run(cursor.run_id).info.lifecycle_stage == "active":
                    return cursor
            except MlflowException as error:
                if error.error_code != _UNKNOWN:
                    raise
        start = self.spool.read(0, 1)[0][0]
        experiment = experiment_id(client, self.uri, start["experiment"])
        if not (known := self._known(client, experiment, self.run.name)):
            tags = start["tags"] | {_TAG: self.run.name}
            parent = tags.get("hepfm.parent")
            if parent and _PARENT not in tags and (above := self._known(client, experiment, parent)):
                tags[_PARENT] = above[0]  # which was not known when the run began
            begun = int(start["time"] * 1000)
            created = client.create_run(experiment, start_time=begun, tags=tags, run_name=self.run.name)
            known = self._known(client, experiment, self.run.name) or [created.info.run_id]
        first, *doubles = known
        for double in doubles:  # made by a request that was repeated on its way
            client.delete_run(double)
        return Cursor(0, first)

    def _known(self, client: MlflowClient, experiment: str, name: str) -> list[str]:
        runs = client.search_runs([experiment], f"tags.`{_TAG}` = '{name}'")
        return sorted(str(run.info.run_id) for run in runs)

    def _try(self, client: MlflowClient, run_id: str, entries: Sequence[dict[str, Any]]) -> None:
        """Sends entries; one that the store refuses for good is reported and left out."""
        from mlflow.exceptions import MlflowException

        try:
            if entries[0]["kind"] == "metrics":
                self._send_metrics(client, run_id, entries)
            else:
                self._send(client, run_id, entries[0])
        except MlflowException as error:
            if error.error_code == _UNKNOWN:
                self._client = None  # a store that was emptied: the run is looked for again, and made
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            if len(entries) == 1:
                _log.warning(
                    "MLflow refuses an entry of %s: %s (%s)", self.run.name, error.message, entries[0]
                )
                return
            for entry in entries:
                self._try(client, run_id, [entry])

    def _send(self, client: MlflowClient, run_id: str, entry: dict[str, Any]) -> None:
        match entry["kind"]:
            case "start":
                self._send_start(client, run_id, entry)
            case "artifact":
                self._send_artifact(client, run_id, entry)
            case "model":
                send_model(client, run_id, self.run.path, entry)
            case "resume":
                client.update_run(run_id, status="RUNNING")
                for key, value in (
                    entry.get("tags", {}) | {"hepfm.resumed_from_step": str(entry["step"])}
                ).items():
                    client.set_tag(run_id, key, value)
            case "end":
                client.set_terminated(run_id, STATUS[entry["status"]], int(entry["time"] * 1000))
        self.answers += 1

    def _send_metrics(self, client: MlflowClient, run_id: str, entries: Sequence[dict[str, Any]]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(key, number(value), int(entry["time"] * 1000), entry["step"])
            for entry in entries
            for key, value in entry["metrics"].items()
        ]
        for first in range(0, len(metrics), _METRICS_PER_CALL):
            client.log_batch(run_id, metrics=metrics[first : first + _METRICS_PER_CALL])
            self.answers += 1

    def _send_start(self, client: MlflowClient, run_id: str, entry: dict[str, Any]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag, Param

        params = [Param(key, value) for key, value in entry["params"].items()]
        for first in range(0, len(params), _PARAMS_PER_CALL):
            client.log_batch(run_id, params=params[first : first + _PARAMS_PER_CALL])
        if dataset := entry["dataset"]:
            source = json.dumps({"uri": dataset["source"]})
            record = Dataset(dataset["name"], dataset["digest"][:_DIGEST_LENGTH], "local", source)
            context = InputTag("mlflow.data.context", dataset.get("context", "train"))
            client.log_inputs(run_id, datasets=[DatasetInput(record, [context])])

    def _send_artifact(self, client: MlflowClient, run_id: str, entry: dict[str, Any]) -> None:
        path = self.run.path / entry["path"]
        if not path.is_file():
            _log.warning("%s is no longer there, so MLflow does not get it", path)
            return
        state = (path.stat().st_mtime_ns, path.stat().st_size)
        # A display is written over at each validation: of those that waited, the last is enough.
        place = (run_id, entry["path"], entry["folder"])
        if self._sent_files.get(place) == state:
            return
        if folder := served_folder(client, self.uri, run_id):
            target = folder / entry["folder"] / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            replace(target, path.read_bytes())
        else:
            client.log_artifact(run_id, str(path), entry["folder"] or None)
        self._sent_files[place] = state
