"""Real and community events: each kind of file makes units, and what can be known is learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hepfm.api import Batch
from hepfm.data.tensors import map_arrays, to_torch
from hepfm.nn.encoder import Encoder
from hepfm.nn.transformer import Transformer, TransformerConfig
from hepfm.objectives.autoregressive import Autoregressive, AutoregressiveConfig
from hepfm.objectives.masked import Masked, MaskedConfig
from hepfm.readers.pack import pack, take
from hepfm_lartpc.generator import LartpcGenerator

SMALL = TransformerConfig(d_model=32, n_layers=2, n_heads=2)
FILES = (
    "collider/uproot-Zmumu-zlib.root",
    "collider/uproot-HZZ.root",
    "gibuu/EventOutput.Pert.00000001.root",
    "trackml",
)


def model(modality, objective, config, size=SMALL):
    torch.manual_seed(0)
    backbone = Transformer(size, n_positions=modality.n_positions)
    encoder = Encoder({"part": modality}, backbone, causal=objective is Autoregressive)
    return encoder, objective(config, modalities={"part": modality}, d_model=backbone.d_model)


def planned(objective, batch, draws, epoch=0):
    (tables,) = batch.parts.values()
    one = Batch(event_ids=batch.event_ids, cost=batch.cost, parts={"part": tables})
    return objective.plan(one, draws(batch.event_ids, epoch=epoch))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["masked", "fields", "autoregressive"])
def test_each_kind_of_file_is_learned_from(real_events, make_modality, draws, name, kind) -> None:
    batch, schema = real_events(name, 20)
    if name == "trackml" and kind != "masked":
        pytest.skip("one event of 5,527 hits: more tokens than a test should take")
    options = {"place": []} if kind == "autoregressive" else {"units": kind} if kind == "fields" else {}
    modality = make_modality(schema, **options)
    if kind == "autoregressive":
        encoder, objective = model(modality, Autoregressive, AutoregressiveConfig())
    else:
        encoder, objective = model(modality, Masked, MaskedConfig(decoder_layers=1, decoder_heads=2))
    plan = planned(objective, batch, draws)
    sums = objective(encoder, plan)
    assert all(bool(torch.isfinite(value)) for value in sums.values())
    assert sum(plan.counts.values()) > 20
    sum(sums.values()).backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in encoder.backbone.parameters())


def test_truth_of_a_simulated_event_is_structured(make_modality, draws) -> None:
    generator = LartpcGenerator(LartpcGenerator.Config(detector="cube"), seed=1, parts=["truth"])
    batch = to_torch(pack([generator.event(i) for i in range(5)], generator.parts, labels=False))
    modality = make_modality(generator.parts["truth"])
    assert modality.place == ("start_mm",)
    assert modality.order == "energy_mev"
    encoder, objective = model(modality, Masked, MaskedConfig(decoder_layers=1, decoder_heads=2))
    sums = objective(encoder, planned(objective, batch, draws))
    assert set(sums) >= {"part/pdg", "part/process", "part/end_mm"}
    assert all(bool(torch.isfinite(value)) for value in sums.values())


def test_a_muon_tells_the_charge_of_the_other(real_events, make_modality, draws) -> None:
    """CMS events of two muons, most of opposite charge: learned from one visible muon, unknown to marginals."""
    batch, schema = real_events("collider/uproot-Zmumu-zlib.root", 2304)
    modality = make_modality(schema, event_record=False)
    config = MaskedConfig(hide=0.5, decoder_layers=1, decoder_heads=2)
    encoder, objective = model(modality, Masked, config)
    parameters = [*encoder.parameters(), *objective.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=3e-3)
    rng = np.random.default_rng(0)
    numpy_batch = map_arrays(batch, lambda tensor: tensor.numpy())
    for step in range(120):
        some = to_torch(take(numpy_batch, rng.integers(0, 1800, 64)))
        plan = planned(objective, some, draws, epoch=step)
        objective.observe(plan)
        sums = objective(encoder, plan)
        optimiser.zero_grad()
        sum(value / max(1, plan.counts[term]) for term, value in sums.items()).backward()
        optimiser.step()
    plan = planned(objective, to_torch(take(numpy_batch, np.arange(1800, 2304))), draws)
    with torch.no_grad():
        found, known = objective(encoder, plan)["part/charge"], objective.baseline(plan)["part/charge"]
    assert float(known) / plan.counts["part/charge"] == pytest.approx(np.log(2), abs=0.02)
    assert float(found) < 0.5 * float(known)
