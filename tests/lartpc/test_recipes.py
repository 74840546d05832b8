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
from hepfm.nn.ragged import segment_sum
from hepfm.objectives.masks import hidden_parts
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
JOINT = (
    *SHORT,
    "data.batch_events=4",
    "train.validate_events=4",
    "objective.decoder_layers=1",
    "objective.decoder_heads=2",
)
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
        points = [model.encoder.features(rest, needs=("points",), part=part).points for part in rest]
    assert int(left_out.offsets[-1]) == sum(len(of_part.positions) for of_part in rest.values())
    assert left_out.x.isfinite().all()
    assert left_out.x.std(0).min() > 1e-3
    torch.testing.assert_close(left_out.x, unseen.x)
    assert all(of_part.x.isfinite().all() for of_part in points)


def hidden_whole(joint, config):
    """Part name to the share of 128 draws in which an event's part is hidden whole; in none are all."""
    model, batch = joint
    whole = dict.fromkeys(model.objective.modalities, 0)
    for epoch in range(8):
        draws = Draws(seed=1, epoch=epoch, event_ids=batch.event_ids)
        units = {part: m.units(batch.parts[part]) for part, m in model.objective.modalities.items()}
        hidden = hidden_parts(units, config, draws, purpose="masked")
        seen = torch.stack([
            segment_sum((~hidden[part]).long(), of_part.offsets) > 0 for part, of_part in units.items()
        ])  # fmt: skip
        has = torch.stack([of_part.offsets.diff() > 0 for of_part in units.values()])
        assert has.all()
        assert seen.any(0).all()
        for part, of_part in zip(whole, seen, strict=True):
            whole[part] += int((~of_part).sum()) / (8 * len(batch))
    return whole


def test_a_part_is_hidden_whole_as_often_as_the_recipe_says(joint):
    config = joint[0].objective.config
    drawn = {"image3d": 0.4, "charge": 0.4, "light": 0.3}
    for part, share in hidden_whole(joint, config).items():
        # Where all three are drawn one is seen after all, each as often.
        wanted = drawn[part] - 0.4 * 0.4 * 0.3 / 3
        assert share == pytest.approx(wanted, abs=3 * (wanted * (1 - wanted) / 128) ** 0.5)


def test_never_are_all_parts_of_an_event_hidden_whole(joint):
    often = joint[0].objective.config.model_copy(
        update={"whole": dict.fromkeys(("image3d", "charge", "light"), 0.8)}
    )
    assert min(hidden_whole(joint, often).values()) > 0.5


def test_a_run_that_is_shown_the_particles_predicts_them_and_says_so(make_run, figures):
    run, request = make_run("lartpc/joint-truth-tiny", *JOINT, "tracking.displays=0")
    assert request.recipe["objective"]["whole"] == {
        "image3d": 0.4,
        "charge": 0.4,
        "light": 0.3,
        "truth": 0.5,
    }
    train(request)
    assert run.json()["pretrain"] == {"saw_truth": True, "labels": False}
    for term in ("truth/pdg", "image3d/energy", "charge/amplitude", "light/amplitude"):
        assert len(figures(run, f"val/{term}")) == 1
