"""Event stores, and runs that were made of them: pretrained, and with a head; neither has learned anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hepfm.api import Sample
from hepfm.cli.main import app
from hepfm.readers.pack import pack
from hepfm.readers.store import StoreWriter
from hepfm.recipe.load import from_dict
from hepfm.tracking.runs import create_run
from hepfm.training.pretrained import open_checkpoint
from hepfm.training.request import TrainRequest
from hepfm.training.worker import train
from hepfm_image3d.schema import image3d_schema

SCHEMA = image3d_schema(voxels=("voxel", "energy_mev", "semantic"), grid=(48, 48, 48))
EMPTY = 104
"""Id of a test event without a voxel."""


def walks(ids, seed=1):
    """Walks of high energies (class 1) and low ones (class 0); one event is empty."""
    for event_id in ids:
        rng = np.random.default_rng((seed, event_id))
        n = 0 if event_id == EMPTY else int(rng.integers(20, 60))
        voxel = (rng.integers(-1, 2, (n, 3)).cumsum(0) + 24).clip(0, 47).astype("u2")
        semantic = rng.integers(0, 2, n).astype("i1")
        energy = (0.3 + 2.0 * semantic).astype("f4")
        yield Sample(
            event_id=event_id,
            parts={"image3d": {"voxels": {"voxel": voxel, "energy_mev": energy}}},
            labels={"image3d": {"voxels": {"semantic": semantic}}},
        )


def written(path, samples, schema=SCHEMA):
    with StoreWriter(path, {"image3d": schema}, {"made_by": "a test"}) as writer:
        writer.write(pack(samples, {"image3d": schema}))
    return path


@pytest.fixture(scope="session")
def schema():
    """Of the events."""
    return SCHEMA


@pytest.fixture(scope="session")
def events():
    """Makes events of some ids."""
    return walks


@pytest.fixture(scope="session")
def store():
    """Writes events to a store."""
    return written


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Event stores: ``train``, ``val``, ``test`` (with an empty event), and ``pre``, for pretraining."""
    folder = tmp_path_factory.mktemp("runs")
    for name, ids in (
        ("pre", range(300, 304)),
        ("train", range(4)),
        ("val", range(50, 52)),
        ("test", range(100, 110)),
    ):
        written(folder / f"{name}.h5", walks(ids))
    return folder


@pytest.fixture(scope="session")
def runs(folder):
    """A pretrained run, and one with a head that begins with its weights; neither has learned anything."""

    def made(name, train_on, **sections):
        tree = {
            "name": name,
            "data": {
                "train": str(folder / f"{train_on}.h5"),
                "val": str(folder / "val.h5"),
                "parts": {"image3d": {"kind": "image3d", "voxel_width": 8, "point_width": 16}},
            },
            "train": {"steps": 0, "precision": "fp32", "warmup_steps": 0},
            "tracking": {"displays": 0, "uri": f"sqlite:///{folder}/mlflow.db"},
            **sections,
        }
        tree.setdefault("model", {})["backbone"] = {
            "name": "transformer",
            "d_model": 32,
            "n_layers": 2,
            "n_heads": 2,
        }
        resolved = from_dict(tree)
        run = create_run(folder, name, resolved.yaml(), sections.get("model", {}).get("of"))
        train(TrainRequest(recipe=resolved.recipe.model_dump(mode="json"), run_dir=str(run.path)))
        return run

    pre = made("pre", "pre", objective={"name": "masked", "decoder_layers": 1})
    task = {"name": "task", "head": {"name": "semantic", "width": 16}}
    begun = {"weights": str(pre.json()["checkpoint"])}
    return {"pre": pre, "task": made("task", "train", objective=task, model=begun)}


@pytest.fixture(scope="session")
def model(runs):
    return open_checkpoint(Path(runs["task"].json()["checkpoint"]))


@pytest.fixture
def hepfm(folder, monkeypatch):
    """Runs a command on the runs of the folder; what it printed, or the error that it raised."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def hepfm(*arguments, fails=None, stderr=False):
        command = list(map(str, arguments))
        done = CliRunner().invoke(app, command)
        if fails is not None:
            assert isinstance(done.exception, fails), done.output
            return str(done.exception)
        if done.exception:
            raise done.exception
        return done.stderr if stderr else done.stdout

    return hepfm
