"""The closing words of a run."""

from __future__ import annotations

import io
import json
import os
from dataclasses import asdict

from hepfm.cli.launch import report
from hepfm.jobs import processes
from hepfm.tracking.runs import create_run


def said(run) -> dict[str, str]:
    out = io.StringIO()
    report(run, out, as_json=False)
    return {line[:18].strip(): line[18:] for line in out.getvalue().splitlines()}


def serve(out, *, started):
    """The note of an MLflow that this process leads."""
    pid = os.getpid()
    leader = asdict(processes.Leader(pid, started, "mark"))
    service = {"name": "MLflow", "url": "http://127.0.0.1:5001", "address": "", "log": "", "folder": ""}
    content = {"machine": processes.machine(), "services": [service | {"leader": leader}], "elsewhere": ""}
    note = out / "services.json"
    note.write_text(json.dumps(content))
    note.chmod(0o600)


def test_the_record_is_where_it_is_served_or_where_it_can_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = create_run(tmp_path / "runs", "mine", "name: mine\n")
    run.update(status="done", steps=4)
    assert said(run)["MLflow"] == "hepfm mlflow ui --out runs"
    here = processes._start_ticks(os.getpid())
    serve(tmp_path / "runs", started=here)
    assert said(run)["MLflow"] == "http://127.0.0.1:5001/#/experiments?workflowType=machine_learning"
    serve(tmp_path / "runs", started=here - 1)  # it has ended: the pid is another's
    assert said(run)["MLflow"] == "hepfm mlflow ui --out runs"
