"""Whole runs on the sample that the package ships, with the real model, made small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hepfm.recipe.load import from_dict
from hepfm.tracking.runs import create_run
from hepfm.training.request import TrainRequest
from hepfm.training.weights import read_weights, weights_sha256
from hepfm.training.worker import train

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)

STEPS = 6


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One MLflow store for all runs; making one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def make_run(store, tmp_path):
    """A new run of a small recipe with changes (``{"train.steps": 3}``), and the request to train it."""

    def make(**changes):
        tree = {
            "name": "small",
            "data": {
                "train": "sample:train",
                "val": "sample:val",
                "parts": {"image3d": {"kind": "image3d"}},
                "batch_cost": 6000,
                "micro_batch_cost": 2500,
            },
            "model": {"backbone": {"name": "transformer", "d_model": 32, "n_layers": 1, "n_heads": 2}},
            "objective": {"name": "masked", "decoder_layers": 1},
            "train": {
                "steps": STEPS,
                "warmup_steps": 2,
                "validate_every": 3,
                "validate_events": 4,
                "marginal_events": 16,
                "ema_decay": 0.9,
                "precision": "fp32",
            },
            "checkpoint": {"every": 3},
            "tracking": {"uri": store, "displays": 0},
        }
        for key, value in changes.items():
            *sections, last = key.split("__")
            at = tree
            for section in sections:
                at = at.setdefault(section, {})
            at[last] = value
        resolved = from_dict(tree)
        run = create_run(tmp_path, "small", resolved.yaml())
        return run, TrainRequest(recipe=resolved.recipe.model_dump(mode="json"), run_dir=str(run.path))

    return make


def figures(run, name):
    """Of each step that has the figure, the last one recorded."""
    lines = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    return {line["step"]: line["metrics"][name] for line in lines if name in line["metrics"]}


def without(request, **fields):
    return TrainRequest(**{**request.to_json(), **fields})


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_resumed_run_is_bitwise_the_run_without_a_stop(make_run, monkeypatch, stage):
    zero = {"deepspeed__zero_optimization": {"stage": stage}}
    golden, request = make_run(**zero)
    train(request)

    broken, request = make_run(**zero)
    monkeypatch.setenv("HEPFM_FAILPOINT", "after-step:5:raise")
    monkeypatch.setattr("hepfm.failpoints._passed", type(__import__("hepfm").failpoints._passed)())
    with pytest.raises(RuntimeError, match="failpoint"):
        train(request)
    assert broken.json()["status"] == "failed"
    assert Path(broken.json()["checkpoint"]).name == "step-00000003"
    monkeypatch.delenv("HEPFM_FAILPOINT")
    train(without(request, resume_from="newest"))

    for name in ("train/loss", "grad_norm", "val/loss", "val/loss_baseline", "lr"):
        assert figures(broken, name) == figures(golden, name)
    assert broken.json()["weights_sha256"] == golden.json()["weights_sha256"]
    averaged = [
        read_weights(Path(run.json()["checkpoint"]) / "model_ema.safetensors") for run in (golden, broken)
    ]
    assert weights_sha256(averaged[0]) == weights_sha256(averaged[1])
    assert broken.json()["status"] == "done"
