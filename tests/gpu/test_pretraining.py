"""Masked pretraining of images on CUDA against the CPU: the same masks, losses, gradients, and steps that learn."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from hepfm.api import Batch, Ragged, RaggedTable
from hepfm.data.tensors import to_device
from hepfm.nn.encoder import Encoder
from hepfm.nn.ssm import Ssm, SsmConfig
from hepfm.nn.transformer import Transformer, TransformerConfig
from hepfm.objectives.masked import Masked, MaskedConfig
from hepfm.random import Draws
from hepfm_image3d.modality import Image3D, Image3DConfig
from hepfm_image3d.schema import image3d_schema

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

DEVICE = "cuda"
LENGTHS = (400, 0, 1, 900, 250)


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Random walks, one of them empty and one of a single voxel."""
    rng = np.random.default_rng(0)
    walks = [(rng.integers(-1, 2, (n, 3)).cumsum(0) + 48).clip(0, 95) for n in LENGTHS]
    voxel = np.concatenate(walks).astype(np.uint16)
    columns = {
        "voxel": torch.from_numpy(voxel),
        "energy_mev": torch.from_numpy(rng.exponential(size=len(voxel)).astype(np.float32) + 0.13),
    }
    table = RaggedTable(columns, torch.tensor([0, *np.cumsum(LENGTHS)]))
    ids = torch.arange(len(LENGTHS))
    return Batch(event_ids=ids, cost=torch.tensor(LENGTHS), parts={"charge": {"voxels": table}})


@pytest.fixture(scope="module", params=["transformer", "ssd", "s4d"])
def model(request) -> tuple[Encoder, Masked]:
    torch.manual_seed(0)
    schema = image3d_schema(voxels=("voxel", "energy_mev"), grid=(96, 96, 96))
    modalities = {"charge": Image3D(Image3DConfig(), schema)}
    size = {"d_model": 64, "n_layers": 2, "drop_path": 0.2} | (
        {} if request.param == "s4d" else {"n_heads": 2}
    )
    backbone = (
        Transformer(TransformerConfig(**size), n_positions=3)
        if request.param == "transformer"
        else Ssm(SsmConfig(**size, scan=request.param), n_positions=3)
    )
    return Encoder(modalities, backbone), Masked(
        MaskedConfig(decoder_heads=2), modalities=modalities, d_model=64
    )


def plan_on(device, batch, objective):
    there = to_device(batch, device)
    return objective.plan(there, Draws(seed=3, epoch=1, event_ids=there.event_ids))


def run_on(device, batch, model, precision=torch.float32):
    """Sum of each term and gradient of each parameter of a copy of the model."""
    encoder, objective = (copy.deepcopy(module).to(device) for module in model)
    plan = plan_on(device, batch, objective)
    with torch.autocast(device, torch.bfloat16, enabled=precision == torch.bfloat16):
        sums = objective(encoder, plan)
    sum(sums.values()).backward()
    gradients = {
        name: parameter.grad.cpu()
        for module in (encoder, objective)
        for name, parameter in module.named_parameters()
    }
    return {term: float(value.detach()) for term, value in sums.items()}, gradients


def test_variants_and_masks_are_those_of_the_cpu(batch, model) -> None:
    ours, expected = (plan_on(device, batch, model[1]) for device in (DEVICE, "cpu"))
    assert ours.counts == expected.counts
    mine, other = ours.payload["charge"], expected.payload["charge"]
    assert torch.equal(mine.visible.cpu(), other.visible)
    assert torch.equal(mine.units.positions.cpu(), other.units.positions)
    assert torch.equal(mine.units.payload.cells.sub.cpu(), other.units.payload.cells.sub)


def test_losses_and_gradients_are_those_of_the_cpu(batch, model) -> None:
    ours, our_gradients = run_on(DEVICE, batch, model)
    expected, gradients = run_on("cpu", batch, model)
    assert ours == pytest.approx(expected, rel=1e-4)
    for name, gradient in gradients.items():
        scale = max(float(gradient.abs().max()), 1e-3)
        assert float((our_gradients[name] - gradient).abs().max()) < 2e-3 * scale, name


def test_half_precision_is_near(batch, model) -> None:
    ours, gradients = run_on(DEVICE, batch, model, torch.bfloat16)
    expected, _ = run_on("cpu", batch, model)
    assert ours == pytest.approx(expected, rel=0.05)
    assert all(bool(gradient.isfinite().all()) for gradient in gradients.values())


def test_an_event_alone_is_the_event_in_the_batch(batch, model) -> None:
    encoder, objective = (copy.deepcopy(module).to(DEVICE).eval() for module in model)
    plan = plan_on(DEVICE, batch, objective)
    units = {"charge": plan.payload["charge"].units}
    asked = {"needs": ("points",), "part": "charge", "layers": (1, 2)}
    points = encoder.features(units, **asked).points
    together = Ragged(points.x, points.offsets)
    for event in range(len(LENGTHS)):
        rows = slice(*batch.parts["charge"]["voxels"].offsets[event : event + 2].tolist())
        # torch's uint16 tensors cannot be cut on every device; numpy's can.
        columns = {
            name: torch.from_numpy(column.numpy()[rows])
            for name, column in batch.parts["charge"]["voxels"].columns.items()
        }
        table = RaggedTable(columns, torch.tensor([0, LENGTHS[event]]))
        one = Batch(
            event_ids=batch.event_ids[event : event + 1],
            cost=batch.cost[event : event + 1],
            parts={"charge": {"voxels": table}},
        )
        alone = {"charge": plan_on(DEVICE, one, objective).payload["charge"].units}
        found = encoder.features(alone, **asked).points.x
        torch.testing.assert_close(found, together[event], rtol=0, atol=1e-4)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_steps_of_the_engine_learn(batch, stage) -> None:
    pytest.importorskip("deepspeed")
    from hepfm.recipe.schema import Component, Data, Part, Recipe, Train
    from hepfm.training.engine import Engine
    from hepfm.training.model import PretrainModule
    from hepfm.training.ranks import join
    from hepfm.training.step import train_step

    torch.manual_seed(0)
    schema = image3d_schema(voxels=("voxel", "energy_mev"), grid=(96, 96, 96))
    modalities = {"charge": Image3D(Image3DConfig(), schema)}
    encoder = Encoder(
        modalities, Transformer(TransformerConfig(d_model=64, n_layers=2, n_heads=2), n_positions=3)
    )
    objective = Masked(MaskedConfig(decoder_heads=2), modalities=modalities, d_model=64)
    recipe = Recipe(
        name="small",
        data=Data(train="none", parts={"charge": Part(kind="image3d")}),
        objective=Component(name="masked"),
        train=Train(learning_rate=3e-3),
        deepspeed={"zero_optimization": {"stage": stage}},
    )
    engine = Engine(PretrainModule(encoder, objective, "bf16"), recipe, join(60.0))
    losses = []
    for _ in range(20):
        plan = plan_on(DEVICE, batch, objective)
        losses.append(train_step(engine, [plan], objective.weights, learning_rate=3e-3).loss)
    assert losses[-1] < 0.8 * losses[0]
