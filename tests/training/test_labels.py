"""Labels are looked at before training: none that counts is an error, a class that is never there a warning."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from hepfm.api import Sample
from hepfm.data.source import open_source
from hepfm.errors import DataError
from hepfm.readers.pack import pack
from hepfm.readers.store import StoreWriter
from hepfm.recipe.schema import Recipe
from hepfm.training.labels import look_for_labels
from hepfm.training.model import build
from hepfm.training.ranks import Ranks
from hepfm.training.worker import train
from hepfm_image3d.schema import image3d_schema

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)
SCHEMA = image3d_schema(
    voxels=("voxel", "energy_mev", "semantic"), fragments=("pid", "mass_mev"), grid=(48, 48, 48)
)
VALUES = {"name": "task", "head": {"name": "event-values", "labels": ["mass_mev"], "width": 8}}
CLASSES = {"name": "task", "head": {"name": "semantic", "width": 8}}


@pytest.fixture
def written(tmp_path):
    """A store of events with these masses, and voxels of these classes."""

    def written(name, masses, classes=(0, 1), first=0):
        samples = []
        for i, mass in enumerate(masses, first):
            voxel = (np.arange(12).reshape(4, 3) + i) % 48
            labels = {
                "voxels": {"semantic": np.resize(classes, 4)},
                "fragments": {"pid": np.zeros(1), "mass_mev": np.array([mass])},
            }
            voxels = {"voxel": voxel, "energy_mev": np.ones(4)}
            samples.append(
                Sample(event_id=i, parts={"image3d": {"voxels": voxels}}, labels={"image3d": labels})
            )
        with StoreWriter(tmp_path / name, {"image3d": SCHEMA}, {}) as writer:
            writer.write(pack(samples, {"image3d": SCHEMA}))
        return str(tmp_path / name)

    return written


def test_events_without_any_known_label_are_refused_before_training(make_run, written):
    unknown, known = written("unknown.h5", [np.nan] * 6), written("known.h5", [1.0, 2, 3], first=90)
    for data in ({"train": unknown, "val": known}, {"train": known, "val": unknown}):
        changes = {f"data__{split}": path for split, path in data.items()}
        run, request = make_run(objective=VALUES, **changes)
        with pytest.raises(DataError, match=r"(?s)None of 6 events has a label that counts.*unknown\.h5"):
            train(request)
        assert not list(run.checkpoints.glob("*"))


@pytest.mark.slow
@pytest.mark.parametrize("objective", [VALUES, CLASSES], ids=["refused", "warned"])
def test_two_ranks_refuse_together_and_one_warns(make_run, written, run_ranks, tmp_path, objective):
    unknown, known = written("unknown.h5", [np.nan] * 6), written("known.h5", [1.0] * 6, first=90)
    run, request = make_run(objective=objective, data__train=unknown, data__val=known, train__steps=1)
    path = tmp_path / "request.json"
    path.write_text(json.dumps(request.to_json()))
    codes, output, _ = run_ranks("train_rank.py", [path], tmp_path, world=2)
    if objective is VALUES:
        assert codes == [1, 1], "\n".join(output)
        assert all("None of 6 events has a label that counts" in each for each in output)
    else:
        assert codes == [0, 0], "\n".join(output)
        assert run.log_path.read_text().count("nothing is of") == 2, "of each source once"


def test_numbers_that_are_not_known_in_some_events_teach_nothing(make_run, written, figures):
    masses = [np.nan if i % 3 else 100.0 + i for i in range(30)]
    some, val = written("some.h5", masses), written("val.h5", [np.nan, np.inf, 120.0], first=90)
    run, request = make_run(objective=VALUES, data__train=some, data__val=val, train__validate_events=None)
    train(request)
    assert all(math.isfinite(value) for value in figures(run, "train/loss").values())
    assert math.isfinite(run.json()["val_loss"])
    assert set(figures(run, "train/bad_steps").values()) == {0.0}


def test_a_class_that_is_never_there_is_told_and_the_last_label_is_found(make_run, written, caplog):
    recipe = Recipe.model_validate(make_run(objective=VALUES)[1].recipe)

    def check(objective, path):
        parts = recipe.data.parts
        source = open_source(path, parts=parts)
        changed = recipe.model_copy(update={"objective": recipe.objective.model_validate(objective)})
        module = build(changed, source.modalities, "fp32")
        caplog.clear()
        alone = Ranks(rank=0, world=1, device=torch.device("cpu"))
        look_for_labels(module.objective, {"data.train": source}, changed, alone)
        return caplog.text

    late = written("late.h5", [np.nan] * 299 + [5.0], classes=(0, 1, 3))
    assert check(VALUES, late) == ""
    assert "data.train: nothing is of 'Michel', 'LED' in the 256 events looked at" in check(CLASSES, late)
    assert check(CLASSES, written("all.h5", [1.0], classes=(0, 1, 2, 3))).count("nothing is of 'LED'") == 1
    assert check({"name": "masked"}, late) == ""
