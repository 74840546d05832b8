"""Real frames go through store, preparation, tokenizer and loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hepfm.api import Column, PartSchema, Sample
from hepfm.data.tensors import to_torch
from hepfm.nn.encoder import Encoder
from hepfm.nn.transformer import Transformer, TransformerConfig
from hepfm.objectives.masked import Masked, MaskedConfig
from hepfm.random import Draws
from hepfm.readers.pack import pack
from hepfm.readers.store import StoreReader
from hepfm.readers.writer import StoreWriter
from hepfm_waveform.config import WaveformConfig
from hepfm_waveform.modality import Waveform

SCHEMA = PartSchema(
    kind="waveform",
    primary="samples",
    tables={
        "samples": {"adc": Column(dtype="int16")},
        "traces": {
            "channel": Column(dtype="int32"),
            "start_tick": Column(dtype="int32"),
            "n_samples": Column(dtype="int32", lengths_of="samples"),
        },
    },
    attributes={"sample_ns": 500.0, "detector": "MicroBooNE"},
)
CONDITIONS = ("chirping", "noisy", "misconfig", "rcrc")


@pytest.fixture(scope="module")
def microboone(real_data, tmp_path_factory):
    """Run 3493 as a store: an event for each noise condition, of 32 channels and 9594 ticks."""
    path = tmp_path_factory.mktemp("microboone") / "store.h5"
    with (
        np.load(real_data / "microboone_adc" / "microboone_run3493_raw32.npz") as conditions,
        StoreWriter(path, {"charge": SCHEMA}, {"source": "run 3493"}, block_events=2) as writer,
    ):
        samples = []
        for event, name in enumerate(CONDITIONS):
            adc = conditions[name]
            traces = {
                "channel": np.arange(len(adc), dtype=np.int32),
                "start_tick": np.zeros(len(adc), np.int32),
                "n_samples": np.full(len(adc), adc.shape[1], np.int32),
            }
            parts = {"charge": {"samples": {"adc": adc.ravel()}, "traces": traces}}
            samples.append(Sample(event_id=event, parts=parts))
        writer.write(pack(samples, {"charge": SCHEMA}))
    return StoreReader(path, StoreReader.Config())


def test_windows_of_raw_frames_hold_every_sample(microboone):
    batch = microboone.read(range(4))
    modality = Waveform(WaveformConfig(patch=128, pedestal="median", coherent_channels=32), SCHEMA)
    assert modality.select(batch.parts["charge"]) == {}
    units = modality.units(to_torch(batch).parts["charge"])
    assert units.offsets.diff().tolist() == [32 * 75] * 4  # 9594 ticks are 74.95 windows
    windows = units.payload
    found = windows.adc.flatten()[windows.slot].view(4, 32, -1)
    np.testing.assert_array_equal(found, batch.parts["charge"]["samples"].columns["adc"].reshape(4, 32, -1))
    assert torch.isfinite(windows.value).all()


def test_zeros_are_suppressed_in_raw_frames(microboone):
    """Of the quiet conditions a small part is left, with all that is loud in it."""
    tables = to_torch(microboone.read([3])).parts["charge"]
    options = {"patch": 64, "pedestal": "median", "coherent_channels": 32}
    whole = Waveform(WaveformConfig(**options), SCHEMA).units(tables).payload
    kept = Waveform(WaveformConfig(**options, suppress_noise=5.0), SCHEMA).units(tables).payload
    assert 0 < len(kept) < 0.5 * len(whole)
    loud = whole.value.sinh().abs() > 5.001
    assert int((kept.value.sinh().abs() > 5.001).sum()) == int(loud.sum())


def test_masked_learning_lowers_the_loss_on_raw_frames(microboone):
    """A smoke test on channels of one run: some steps on one frame go below a prediction without learning."""
    torch.manual_seed(0)
    config = WaveformConfig(
        patch=64, pedestal="median", coherent_channels=32, suppress_noise=5.0, point_width=8
    )
    modality = Waveform(config, SCHEMA)
    backbone = Transformer(TransformerConfig(d_model=48, n_layers=2, n_heads=3), n_positions=3)
    encoder = Encoder({"charge": modality}, backbone)
    objective = Masked(
        MaskedConfig(decoder_layers=1, decoder_heads=3), modalities={"charge": modality}, d_model=48
    )
    optimizer = torch.optim.AdamW([*encoder.parameters(), *objective.parameters()], lr=3e-3)
    batch = to_torch(microboone.read([3]))

    def loss(sums, counts):
        return sum(objective.weights[term] * sums[term] / counts[term] for term in sums)

    for epoch in range(40):
        plan = objective.plan(batch, Draws(seed=1, epoch=epoch, event_ids=batch.event_ids))
        if not epoch:
            objective.observe(plan)
        optimizer.zero_grad()
        total = loss(objective(encoder, plan), plan.counts)
        total.backward()
        optimizer.step()
    without = float(loss(objective.baseline(plan), plan.counts))
    assert float(total.detach()) < 0.9 * without
