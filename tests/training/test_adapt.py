"""What of a pretrained encoder is trained, and how fast, in whole runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from hepfm.cli.register import register_model
from hepfm.data.loader import validation_batches
from hepfm.errors import RecipeError, Stopped
from hepfm.evaluation.events import open_events
from hepfm.recipe.load import from_dict
from hepfm.training.pretrained import open_checkpoint
from hepfm.training.ranks import join
from hepfm.training.validate import validate
from hepfm.training.weights import read_weights
from hepfm.training.worker import train

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)
SAME = {
    "train__warmup_steps": 0,
    "train__ema_decay": 0.0,
    "model__backbone": {"name": "transformer", "d_model": 32, "n_layers": 2, "n_heads": 2},
}


@pytest.fixture
def pretrained(make_run):
    """A checkpoint."""
    return trained(*make_run(**SAME, train__steps=1))


@pytest.fixture
def task(make_run, pretrained):
    """Runs of a task that begins with those weights, and the requests to train them."""
    head = {"name": "task", "head": {"name": "semantic", "width": 16}}
    return lambda **changes: make_run(
        **{**SAME, "objective": head, "model__weights": str(pretrained), **changes}
    )


def trained(run, request):
    train(request)
    return Path(run.json()["checkpoint"])


def weights(checkpoint):
    return read_weights(checkpoint / "model.safetensors")


def test_layers_learn_with_the_rates_of_the_formula(task):
    """AdamW's first step moves each weight by its learning rate, whatever the gradient."""
    once = {"model__adapt": {"layer_decay": 0.5}, "train__learning_rate": 0.01}
    once |= {"train__weight_decay": 0.0, "train__schedule": "constant"}
    before, after = (weights(trained(*task(train__steps=n, **once))) for n in (0, 1))
    moved = {name: float((after[name] - before[name]).abs().max()) for name in before}
    wanted = {
        "objective.head.network.1.weight": 1.0,
        "encoder.backbone.norm.weight": 1.0,
        "encoder.backbone.blocks.1.mlp.0.weight": 0.5,
        "encoder.backbone.blocks.0.attention.qkv.weight": 0.25,
        "encoder.tokenizers.0.enter.weight": 0.125,
        "encoder.part_embedding.weight": 0.125,
    }
    assert {n: moved[n] for n in wanted} == pytest.approx({n: 0.01 * r for n, r in wanted.items()}, rel=1e-3)


def test_a_frozen_encoder_keeps_every_bit_while_its_head_learns(pretrained, task, monkeypatch):
    from hepfm.nn.encoder import Encoder

    features, seen = Encoder.features, []

    def watched(encoder, units, **how):
        found = features(encoder, units, **how)
        seen.append((encoder.training, found.points.x.requires_grad))
        return found

    monkeypatch.setattr(Encoder, "features", watched)
    often = {"train__steps": 2, "train__validate_every": 1}  # validating ends in training mode
    checkpoint = trained(*task(model__adapt={"mode": "frozen"}, train__ema_decay=0.9, **often))
    assert set(seen) == {(False, False)}
    begun, ended = weights(pretrained), weights(checkpoint)
    averaged = read_weights(checkpoint / "model_ema.safetensors")
    for name in begun:
        if name.startswith("encoder."):
            assert torch.equal(begun[name], ended[name]), name
            assert torch.equal(begun[name], averaged[name]), name
    moments = read_weights(checkpoint / "engine" / "adamw-00000.safetensors")
    assert {name.split("/")[1].split(".")[0] for name in moments} == {"objective"}
    head = sum(value.numel() for name, value in ended.items() if name.startswith("objective.head.network"))
    run = json.loads((checkpoint.parents[1] / "run.json").read_text())
    assert run["effective"]["parameters"] == head


@pytest.mark.parametrize("stage", [1, 3])
def test_lora_goes_on_exactly_and_is_a_plain_model_to_all_that_use_it(pretrained, task, stage, monkeypatch):
    lora = {"model__adapt": {"mode": "lora", "rank": 4, "matrices": ["qkv", "mlp"]}, "train__steps": 2}
    lora |= {"deepspeed__zero_optimization": {"stage": stage}}
    whole, request = task(**lora)
    checkpoint = trained(whole, request)
    half, request = task(**lora, train__time_limit_minutes=1e-9)
    with pytest.raises(Stopped):
        train(request)
    request.recipe["train"]["time_limit_minutes"] = None
    train(request)
    assert half.json()["weights_sha256"] == whole.json()["weights_sha256"]

    begun, ended = weights(pretrained), weights(checkpoint)
    for name in begun:
        if name.startswith("encoder."):
            assert torch.equal(begun[name], ended[name]), name
    factors = {name for name in ended if name.endswith(".lora_b")}
    assert len(factors) == 2 * 3
    assert all(ended[name].any() for name in factors)
    moments = read_weights(checkpoint / "engine" / "adamw-00000.safetensors")
    assert {f"exp_avg/{name}" for name in factors} <= moments.keys()
    assert not any("tokenizers" in name for name in moments)

    opened = open_checkpoint(checkpoint)
    assert {f"encoder.{name}" for name in opened.encoder.state_dict()} == {
        name for name in begun if name.startswith("encoder.")
    }
    val = open_events(opened, "sample:val")
    first = validation_batches(
        val, micro_batch_cost=3000, events=opened.recipe.train.validate_events, labels=True
    )
    again = validate(opened.module, first, opened.recipe.seed, join(60.0))
    assert again.loss == pytest.approx(whole.json()["val_loss"], rel=1e-5)
    if stage == 1:
        monkeypatch.setattr("hepfm.tracking.sync.sync", lambda _: None)
        register_model(whole, opened, "mine")
        registered = read_weights(next(whole.path.glob("models/mine-*/model.safetensors")))
        for name, value in opened.module.named_parameters():
            assert torch.equal(registered.pop(name), value), name
        assert not [name for name in registered if "lora" in name]
        later = open_checkpoint(trained(*task(train__steps=0, model__weights=str(checkpoint))))
        for name, value in opened.encoder.state_dict().items():
            assert torch.equal(value, later.encoder.state_dict()[name]), name


def test_what_cannot_be_adapted_is_refused_and_what_has_no_effect_is_said(task):
    _, request = task(objective={"name": "jepa"}, model__adapt={"mode": "frozen"})
    with pytest.raises(RecipeError, match="'jepa' teaches by a copy"):
        train(request)

    def warnings(**adapt):
        return from_dict({**request.recipe, "model": {"adapt": adapt}}).warnings

    assert warnings(mode="lora", layer_decay=0.7) == (
        "model.adapt.layer_decay: no effect with model.adapt.mode = lora",
        "model.adapt.mode = lora without model.weights: the encoder keeps its drawn weights",
    )
    assert "model.adapt.rank: no effect with model.adapt.mode = full" in warnings(rank=4)
    assert any("to learn, slowly" in warning for warning in warnings(layer_decay=0.7))
    assert warnings() == ()
