"""The record of an evaluation: below its run, whenever the store hears of the two."""

from __future__ import annotations

import json

import numpy as np
from mlflow import MlflowClient

from hepfm.tracking.evaluations import begin, metrics, record, results_of
from hepfm.tracking.recorder import Recorder
from hepfm.tracking.runs import create_run
from hepfm.tracking.sync import runs_in, sync

NOBODY = "tracking: {uri: 'http://127.0.0.1:9'}\n"
RESULT = {
    "task": "pid",
    "checkpoint": "step-00000007",
    "step": 7,
    "weights_sha256": "a" * 64,
    "data": {"named": "test.h5", "digest": "d" * 64, "events": 3, "counted": 3},
    "level": 0.68,
    "draws": 100,
    "figures": {"recall/pi+": {"value": 0.5, "low": 0.25, "high": 0.75}, "accuracy": {"value": 1.0}},
    "doubts": [],
    "pretrain": {"saw_truth": False, "labels": True},
    "plugins": {},
}


def test_a_store_that_was_down_puts_the_evaluation_below_its_run(out):
    run = create_run(out, "parent", NOBODY)
    Recorder(run, uri="http://127.0.0.1:9", close_timeout=0.1).close("done")
    evaluation = begin(run, "pid-test")
    assert evaluation.home == run.home == out.resolve()
    statistics = {"event_id": np.arange(3, dtype="u8"), "hits": np.ones((3, 2))}
    message = record(evaluation, {**RESULT, "run": run.name}, statistics, experiment="hepfm")
    assert f"hepfm mlflow sync {evaluation.path}" in message
    assert [each.name for each in runs_in(out)] == [run.name, evaluation.name]
    for each in runs_in(out):
        assert sync(each, f"sqlite:///{out / 'mlflow.db'}") > 0
    client = MlflowClient(f"sqlite:///{out / 'mlflow.db'}")
    child = client.get_run(evaluation.json()["run_id"])
    assert child.data.tags["mlflow.parentRunId"] == run.json()["run_id"]
    assert child.data.tags["pretrain.labels"] == "true"
    assert child.data.metrics == {
        "recall/pi_": 0.5,
        "recall/pi__low": 0.25,
        "recall/pi__high": 0.75,
        "accuracy": 1.0,
    }
    (inputs,) = child.inputs.dataset_inputs
    assert [tag.value for tag in inputs.tags] == ["evaluation"]
    (result,) = results_of(run)
    assert result["figures"] == RESULT["figures"]
    with np.load(evaluation.path / "statistics.npz") as kept:
        np.testing.assert_array_equal(kept["hits"], np.ones((3, 2)))
    assert json.loads((run.path / "run.json").read_text())["run_id"]


def test_classes_whose_names_mlflow_cannot_tell_apart_keep_their_own_metrics():
    figures = {"recall/pi+": {"value": 0.1}, "recall/pi*": {"value": 0.2, "low": 0.1, "high": 0.3}}
    assert metrics(figures) == {
        "recall/pi_": 0.1,
        "recall/pi__": 0.2,
        "recall/pi___low": 0.1,
        "recall/pi___high": 0.3,
    }
