"""The recipes over several parts of simulated events: on ranks, without a part, and what they hide and draw."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hepfm.data.source import open_source
from hepfm.data.tensors import to_torch
from hepfm.random import Draws
from hepfm.recipe.load import load_recipe
from hepfm.tracking.runs import create_run
from hepfm.training.model import build
from hepfm.training.request import TrainRequest
from hepfm.training.worker import train

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)

TRAINING = Path(__file__).parents[1] / "training"
SHORT = (
    "train.steps=2",
    "train.warmup_steps=1",
    "train.marginal_events=4",
    "train.precision=fp32",
    "model.backbone.d_model=32",
    "model.backbone.n_layers=1",
    "model.backbone.n_heads=2",
)
JOINT = (*SHORT, "data.batch_events=4", "train.validate_events=4", "objective.decoder_layers=1")
FLASH = (*SHORT, "data.batch_events=8", "train.validate_events=8", "objective.group_events=4")


def from_training(name):
    """A helper of the tests of training."""
    spec = importlib.util.spec_from_file_location(f"training_{name}", TRAINING / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


run_ranks = from_training("conftest").run_ranks
figures = from_training("conftest").figures


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def make_run(store, tmp_path):
    """A new run of a recipe, shortened, and the request to train it."""

    def make(name, *overrides):
        resolved = load_recipe(name, [*overrides, f"tracking.uri={store}"])
        run = create_run(tmp_path, "short", resolved.yaml())
        return run, TrainRequest(recipe=resolved.recipe.model_dump(mode="json"), run_dir=str(run.path))

    return make


@pytest.fixture(scope="module")
def joint():
    """The joint model with its first weights, and 16 events."""
    recipe = load_recipe("lartpc/joint-tiny", JOINT).recipe
    source = open_source(recipe.data.val, parts=recipe.data.parts)
    model = build(recipe, source.modalities, "fp32")
    return model, to_torch(source.read(np.arange(16)))


@pytest.mark.parametrize(("name", "short"), [("joint-tiny", JOINT), ("flash-tiny", FLASH)])
def test_two_ranks_train_as_one(make_run, figures, run_ranks, tmp_path, name, short):
    together, request = make_run(f"lartpc/{name}", *short, "tracking.displays=0")
    path = tmp_path / "request.json"
    path.write_text(json.dumps(request.to_json()))
    codes, output, _ = run_ranks("train_rank.py", [path], tmp_path, world=2)
    assert codes == [0, 0], output
    alone, request = make_run(f"lartpc/{name}", *short, "tracking.displays=1")
    train(request)
    for figure in ("train/loss", "val/loss", "val/loss_baseline"):
        found = figures(together, figure)
        assert len(found) == (2 if figure == "train/loss" else 1)
        assert found == pytest.approx(figures(alone, figure), rel=1e-5), figure
    drawn = {path.suffix for path in (alone.path / "displays").glob("*")}
    assert drawn == ({".html", ".png"} if name == "joint-tiny" else set())
    assert "could not be drawn" not in alone.log_path.read_text()


@pytest.mark.parametrize("without", ["image3d", "charge", "light"])
def test_events_without_a_part_are_encoded_as_if_it_had_never_been(joint, without):
    model, batch = joint
    units = {part: modality.units(batch.parts[part]) for part, modality in model.objective.modalities.items()}
    rest = {part: of_part for part, of_part in units.items() if part != without}
    hidden = {without: torch.zeros(len(units[without].positions), dtype=torch.bool)}
    with torch.no_grad():
        left_out, unseen = model.encoder(rest), model.encoder(units, hidden)
        points = model.encoder.points(rest)
    assert int(left_out.offsets[-1]) == sum(len(of_part.positions) for of_part in rest.values())
    assert left_out.x.isfinite().all()
    assert left_out.x.std(0).min() > 1e-3
    torch.testing.assert_close(left_out.x, unseen.x)
    assert points.keys() == rest.keys()
    assert all(of_part.values.isfinite().all() for of_part in points.values())


def test_a_part_is_hidden_whole_now_and_then_and_never_all_that_an_event_has(joint):
    model, batch = joint
    whole = dict.fromkeys(model.objective.modalities, 0)
    for epoch in range(8):
        draws = Draws(seed=1, epoch=epoch, event_ids=batch.event_ids)
        plan = model.objective.plan(batch, draws, augment=False)
        seen = []
        for part, masking in plan.payload.items():
            visible = torch.stack([
                masking.visible[start:stop].any()
                for start, stop in zip(masking.units.offsets[:-1], masking.units.offsets[1:], strict=True)
            ])  # fmt: skip
            has = masking.units.offsets.diff() > 0
            whole[part] += int((has & ~visible).sum())
            seen.append(visible)
        assert torch.stack(seen).any(0).all()
    asked = {"image3d": 0.15, "charge": 0.15, "light": 0.25}
    for part, share in asked.items():
        assert whole[part] / (8 * 16) == pytest.approx(share, abs=3 * (share * (1 - share) / 128) ** 0.5)


def test_a_run_that_is_shown_the_particles_predicts_them_and_says_so(make_run, figures):
    run, request = make_run("lartpc/joint-truth-tiny", *JOINT, "tracking.displays=0")
    assert request.recipe["objective"]["whole"] == {
        "image3d": 0.15,
        "charge": 0.15,
        "light": 0.25,
        "truth": 0.5,
    }
    train(request)
    assert run.json()["pretrain"] == {"saw_truth": True}
    for term in ("truth/pdg", "image3d/energy", "charge/amplitude", "light/amplitude"):
        assert len(figures(run, f"val/{term}")) == 1
