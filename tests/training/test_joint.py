"""Whole runs over two parts, of events that have one, the other or both: on ranks, resumed, and shown truth."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hepfm.api import Sample
from hepfm.objectives.contrastive import Contrastive
from hepfm.objectives.jepa import Jepa
from hepfm.objectives.masked import MaskedConfig
from hepfm.readers.pack import pack
from hepfm.readers.writer import StoreWriter
from hepfm.recipe.schema import Recipe
from hepfm.training import snapshot
from hepfm.training.weights import read_weights
from hepfm.training.worker import train
from hepfm_image3d.modality import Image3D, Image3DConfig
from hepfm_image3d.schema import image3d_schema

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)

PARTS = ("charge", "light")
ONE_EACH, MIXED = ("light", "charge"), ("light", "", "charge", "", "")
"""Of successive events, the part that they lack."""


def write(path, n, lacking, *, seed, truth=False, **attributes):
    """A store of walks, whose charge and light have one energy."""
    schema = image3d_schema(voxels=("voxel", "energy_mev"), grid=(48, 48, 48))
    schema = replace(schema, attributes={**schema.attributes, **attributes})
    light = replace(schema, attributes={**schema.attributes, "truth": True}) if truth else schema
    rng = np.random.default_rng(seed)
    samples = []
    for i in range(n):
        energy, parts = rng.uniform(0.5, 3), {}
        for part in PARTS:
            voxel = np.unique(rng.integers(-2, 3, (50, 3)).cumsum(0).clip(-24, 23) + 24, axis=0)
            if part != lacking[i % len(lacking)]:
                columns = {
                    "voxel": voxel.astype(np.uint16),
                    "energy_mev": np.full(len(voxel), energy, np.float32),
                }
                parts[part] = {"voxels": columns}
        samples.append(Sample(event_id=1000 * seed + i, parts=parts))
    schemas = {"charge": schema, "light": light}
    with StoreWriter(path, schemas, {"source": "test"}, block_events=8) as writer:
        writer.write(pack(samples, schemas))


@pytest.fixture
def make_joint(make_run, tmp_path):
    def make(objective, *, lacking=MIXED, truth=False, **changes):
        for split, n, seed in (("train", 60, 1), ("val", 16, 2)):
            if not (tmp_path / f"{split}.h5").exists():
                write(tmp_path / f"{split}.h5", n, lacking, seed=seed, truth=truth)
        image = {"kind": "image3d", "voxel_width": 8, "point_width": 16}
        return make_run(
            data__train=str(tmp_path / "train.h5"),
            data__val=str(tmp_path / "val.h5"),
            data__parts=dict.fromkeys(PARTS, image),
            data__micro_batch_cost=500,
            train__validate_events=16,
            objective=objective,
            **{"data__batch_cost": 1500, **changes},
        )

    return make


MASKED = {
    "name": "masked",
    "decoder_layers": 1,
    "whole": {"charge": 0.3, "light": 0.3},
    "parts": {"light": {"hide": 0.4}},
    "weights": {"light": 0.5},
}
JEPA = {"name": "jepa", "decoder_layers": 1, "momentum": 0.9}
CONTRASTIVE = {"name": "contrastive", "width": 16, "group_events": 4}
OBJECTIVES = {"masked": MASKED, "jepa": JEPA, "contrastive": CONTRASTIVE}
FIGURES = {
    "masked": {"charge/occupancy", "charge/energy", "light/occupancy", "light/energy"},
    "jepa": {f"{part}/{name}" for part in PARTS for name in ("error", "std", "effective_rank")},
    "contrastive": {"match", "top1", "chance"},
}


@pytest.mark.parametrize(("name", "stage"), [("jepa", 0), ("jepa", 3), ("contrastive", 2)])
def test_a_resumed_run_is_bitwise_the_run_without_a_stop(make_joint, figures, monkeypatch, name, stage):
    zero = {"deepspeed__zero_optimization": {"stage": stage}}
    golden, request = make_joint(OBJECTIVES[name], **zero)
    train(request)
    broken, request = make_joint(OBJECTIVES[name], **zero)
    monkeypatch.setattr("hepfm.failpoints._passed", Counter())
    monkeypatch.setenv("HEPFM_FAILPOINT", "after-step:5:raise")
    with pytest.raises(RuntimeError, match="failpoint"):
        train(request)
    monkeypatch.delenv("HEPFM_FAILPOINT")
    train(replace(request, resume_from="newest"))
    validated = {f"val/{term}" for term in FIGURES[name]}
    for figure in ("train/loss", "grad_norm", "val/loss_baseline", *validated):
        assert figures(broken, figure) == figures(golden, figure), figure
    assert broken.json()["weights_sha256"] == golden.json()["weights_sha256"]


@pytest.mark.parametrize("stage", [1, 3])
def test_the_teacher_is_in_the_checkpoint_and_has_followed(make_joint, stage):
    runs = []
    for momentum in (0.0, 1.0):
        objective = JEPA | {"momentum": momentum, "final_momentum": momentum}
        run, request = make_joint(
            objective, deepspeed__zero_optimization={"stage": stage}, train__ema_decay=0.0
        )
        train(request)
        runs.append(read_weights(Path(run.json()["checkpoint"]) / "model.safetensors"))
    prefix = "objective.teacher.copy."
    names = [name for name in runs[0] if name.startswith("encoder.")]
    assert {f"encoder.{name.removeprefix(prefix)}" for name in runs[0] if name.startswith(prefix)} == set(
        names
    )
    for name in names:
        assert runs[0][prefix + name.removeprefix("encoder.")].equal(runs[0][name])
    moved = [
        name for name in names if not runs[1][prefix + name.removeprefix("encoder.")].equal(runs[1][name])
    ]
    assert len(moved) > len(names) / 2


@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_ranks_of_which_each_has_another_part_train_as_one(
    make_joint, figures, run_ranks, tmp_path, name
):
    """Two events a step, one of charge and one of light: a part's weights get no gradient from one of the ranks.

    Contrastive has groups of events with both, and ranks without any.
    """
    options = {"lacking": MIXED} if name == "contrastive" else {"lacking": ONE_EACH, "data__batch_cost": 110}
    options |= {
        "deepspeed__zero_optimization": {"stage": 3 if name == "jepa" else 2},
        "train__ema_decay": 0.0,
    }
    together, request = make_joint(OBJECTIVES[name], **options)
    path = tmp_path / "request.json"
    path.write_text(json.dumps(request.to_json()))
    codes, output, _ = run_ranks("train_rank.py", [path], tmp_path, world=2)
    assert codes == [0, 0], output
    alone, request = make_joint(OBJECTIVES[name], **options)
    train(request)
    for figure in ("train/loss", "val/loss", "val/loss_baseline", *(f"val/{term}" for term in FIGURES[name])):
        found = figures(together, figure)
        assert found, figure
        assert found == pytest.approx(figures(alone, figure), rel=2e-5), figure


def test_the_loss_of_each_part_is_weighted_and_logged_apart(make_joint, figures):
    run, request = make_joint(MASKED, train__steps=1)
    train(request)
    schema = image3d_schema(voxels=("voxel", "energy_mev"), grid=(48, 48, 48))
    own = {**Image3D(Image3DConfig(), schema).decoder(8).terms, "around": MaskedConfig().around_weight}
    weights = {f"{part}/{term}": weight for part, weight in (("charge", 1), ("light", 0.5)) for term in own}
    terms = {term: figures(run, f"val/{term}")[1] for term in weights}
    total = sum(weights[term] * own[term.partition("/")[2]] * value for term, value in terms.items())
    assert figures(run, "val/loss")[1] == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize(("name", "drawn"), [("jepa", 2), ("contrastive", 0)])
def test_what_an_objective_hides_is_drawn(make_joint, monkeypatch, name, drawn):
    def unasked(*_):
        raise AssertionError("events were read for a baseline that needs none")

    for objective in (Jepa, Contrastive):
        monkeypatch.setattr(objective, "observe", unasked)
    run, request = make_joint(OBJECTIVES[name], train__steps=1, tracking__displays=1)
    train(request)
    assert len(list((run.path / "displays").glob("*"))) == drawn
    assert "could not be drawn" not in run.log_path.read_text()


@pytest.mark.parametrize("truth", [False, True])
def test_a_run_that_is_shown_truth_says_so(make_joint, truth):
    run, request = make_joint(MASKED, truth=truth, train__steps=1)
    train(request)
    checkpoint = Path(run.json()["checkpoint"])
    assert json.loads((checkpoint / "model.json").read_text())["pretrain"]["saw_truth"] == truth
    assert run.json()["pretrain"] == {"saw_truth": truth, "labels": False}
    start = json.loads((run.spool / "outbox.jsonl").read_text().splitlines()[0])
    assert start["tags"]["pretrain.saw_truth"] == str(truth).lower()


@pytest.mark.parametrize("augment", [True, False])
def test_parts_in_one_frame_that_are_augmented_apart_are_warned_of(make_joint, tmp_path, augment):
    frame = {"axes": {"x": [1, 0, 0]}, "unit_mm": 10.0}
    for split, seed in (("train", 1), ("val", 2)):
        write(tmp_path / f"{split}.h5", 16, MIXED, seed=seed, frame=frame)
    run, request = make_joint(MASKED, train__steps=0, data__augment=augment)
    train(request)
    assert ("each is augmented by itself" in run.log_path.read_text()) == augment


def test_weights_that_saw_truth_have_seen_it_whatever_they_see_next(make_joint):
    run, request = make_joint(MASKED, truth=True, train__steps=1)
    train(request)
    checkpoint = Path(run.json()["checkpoint"])
    recipe = Recipe.model_validate(request.recipe)
    schemas = dict.fromkeys(PARTS, image3d_schema(voxels=("voxel", "energy_mev"), grid=(48, 48, 48)))
    alone, child = (
        snapshot.describe(recipe, schemas, {"train": "here"}, "fp32", before=b) for b in (None, checkpoint)
    )
    assert [each["pretrain"]["saw_truth"] for each in (alone, child)] == [False, True]
