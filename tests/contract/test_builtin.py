"""The built-in plugins keep to the contracts that a stranger's have to keep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hepfm import api
from hepfm.nn.ssm import Ssm, SsmConfig
from hepfm.nn.transformer import Transformer, TransformerConfig
from hepfm.objectives.contrastive import Contrastive, ContrastiveConfig
from hepfm.objectives.jepa import Jepa, JepaConfig
from hepfm.objectives.masked import Masked, MaskedConfig
from hepfm.readers.pack import pack
from hepfm.readers.store import StoreReader
from hepfm.readers.writer import StoreWriter
from hepfm.testing import (
    backbone_contract,
    generator_contract,
    modality_contract,
    objective_contract,
    reader_contract,
)
from hepfm_image3d.edepsim import EdepsimReader
from hepfm_image3d.modality import Image3D, Image3DConfig
from hepfm_image3d.pilarnet import PilarnetReader
from hepfm_image3d.schema import image3d_schema
from hepfm_lartpc.generator import LartpcGenerator
from hepfm_waveform.modality import Waveform, WaveformConfig

GRID = (96, 96, 96)
TINY = TransformerConfig(d_model=48, n_layers=2, n_heads=3, drop_path=0.2)


def image(**options):
    config = Image3DConfig(voxel_width=8, point_width=16, **options)
    return Image3D(config, image3d_schema(voxels=("voxel", "energy_mev", "time_ns", "semantic"), grid=GRID))


def tracks(count):
    """Events of two straight tracks with noise: voxels, energies, times, classes."""
    rng = np.random.default_rng(5)
    samples = []
    for i in range(count):
        n = int(rng.integers(80, 160))
        start, direction = rng.uniform(20, 76, (2, 3)), rng.normal(size=(2, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        which, along = rng.integers(0, 2, n), rng.uniform(-18, 18, n)
        voxel = start[which] + along[:, None] * direction[which] + rng.normal(0, 0.5, (n, 3))
        voxel = np.unique(voxel.clip(0, 95).astype(np.uint16), axis=0)
        tables = {
            "voxel": voxel,
            "energy_mev": rng.exponential(1.0, len(voxel)).astype(np.float32) + np.float32(0.2),
            "time_ns": rng.uniform(0, 10, len(voxel)).astype(np.float32),
        }
        labels = {"voxels": {"semantic": rng.integers(0, 5, len(voxel)).astype(np.int8)}}
        samples.append(
            api.Sample(event_id=100 + i, parts={"lar": {"voxels": tables}}, labels={"lar": labels})
        )
    return samples


@pytest.mark.parametrize("options", [{}, {"voxel_layers": 0}, {"cell_voxels": 4, "shift_cells": False}])
def test_image3d(options):
    modality_contract(image(**options), [s.parts["lar"] for s in tracks(4)], content=("energy_mev",))


def waveform(**options):
    """Regions of few ticks, with a stored pedestal and a noise that is told: nothing is estimated."""
    traces = {
        "channel": api.Column(dtype="int32"),
        "plane": api.Column(dtype="int8", vocabulary="plane"),
        "start_tick": api.Column(dtype="int32"),
        "n_samples": api.Column(dtype="int32", lengths_of="samples"),
        "time_ns": api.Column(dtype="float64"),
        "pedestal_adc": api.Column(dtype="float32"),
        "position_mm": api.Column(dtype="float32", shape=(3,)),
    }
    schema = api.PartSchema(
        kind="waveform",
        primary="samples",
        tables={"samples": {"adc": api.Column(dtype="float32")}, "traces": traces},
        vocabularies={"plane": tuple(api.ClassName(value=k, name=name) for k, name in enumerate("UVW"))},
        attributes={"sample_ns": 500.0, "noise_adc": 2.0},
    )
    small = {"sample_width": 4, "sample_layers": 1, "point_width": 6}
    return Waveform(WaveformConfig(**{**small, "patch": 16, **options}), schema)


def regions(count):
    """Events of pulses on noise: a few regions of each of twelve channels in three planes, some of which touch."""
    rng = np.random.default_rng(6)
    samples = []
    for i in range(count):
        channel = np.sort(rng.integers(0, 12, 20)).astype(np.int32)
        length, start = rng.integers(1, 60, 20).astype(np.int32), rng.integers(0, 9, 20) * 60
        at = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length + length // 2, length)
        height = np.repeat(rng.choice([-60.0, 40.0, 90.0], 20), length) * np.exp(-at * at / 18.0)
        traces = {
            "channel": channel,
            "plane": (channel // 4).astype(np.int8),
            "start_tick": start.astype(np.int32),
            "n_samples": length,
            "time_ns": start * 500.0 - 8e3,
            "pedestal_adc": np.full(20, 300.0, np.float32),
            "position_mm": np.outer(channel, (1.0, 7.0, -3.0)).astype(np.float32),
        }
        adc = (300.0 + height + rng.normal(0, 2.0, len(height))).astype(np.float32)
        samples.append(
            api.Sample(event_id=200 + i, parts={"lar": {"samples": {"adc": adc}, "traces": traces}})
        )
    return samples


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"geometry": "position", "sample_layers": 0},
        {"patch": 50, "noise": 0.5, "drop_channels": 0.3, "adc_range": (250.0, 380.0)},
    ],
)
def test_waveform(options):
    modality_contract(waveform(**options), [s.parts["lar"] for s in regions(4)], content=("adc",))


@pytest.mark.parametrize("drop_path", [0.0, 0.3])
def test_transformer(drop_path):
    backbone_contract(Transformer, TINY.model_copy(update={"drop_path": drop_path}))


@pytest.mark.parametrize("scan", [{"scan": "ssd"}, {"scan": "ssd", "chunk": 4}, {"scan": "s4d"}])
@pytest.mark.parametrize("options", [{}, {"drop_path": 0.3, "order": "packed"}])
def test_ssm(scan, options):
    backbone_contract(Ssm, SsmConfig(d_model=32, n_layers=2, d_state=8, **scan, **options))


@pytest.mark.parametrize("options", [{}, {"block_units": 3.0, "hide": 0.8}])
def test_masked(options):
    objective_contract(
        Masked,
        MaskedConfig(decoder_layers=1, decoder_heads=3, **options),
        modalities={"lar": image()},
        backbone=Transformer(TINY, n_positions=3),
        samples=tracks(4),
    )


def test_masked_waveform():
    objective_contract(
        Masked,
        MaskedConfig(decoder_layers=1, decoder_heads=3),
        modalities={"lar": waveform(drop_channels=0.2, noise=0.3)},
        backbone=Transformer(TINY, n_positions=3),
        samples=regions(4),
    )


def pairs(count):
    """Events of two parts; every fourth lacks one."""
    here, there = tracks(count), tracks(2 * count)[count:]
    return [
        replace(
            one,
            parts={
                name: event.parts["lar"]
                for name, event in (("lar", one), ("light", other))
                if i % 8 != {"lar": 3, "light": 7}[name]
            },
        )
        for i, (one, other) in enumerate(zip(here, there, strict=True))
    ]


OBJECTIVES = {
    "masked": (Masked, MaskedConfig(decoder_layers=1, decoder_heads=3, whole={"lar": 0.5, "light": 0.5})),
    "jepa": (Jepa, JepaConfig(decoder_layers=1, decoder_heads=3, parts={"light": {"hide": 0.3}})),
    "contrastive": (Contrastive, ContrastiveConfig(width=16)),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_of_two_parts(name):
    objective, config = OBJECTIVES[name]
    objective_contract(
        objective,
        config,
        modalities={"lar": image(), "light": image()},
        backbone=Transformer(TINY, n_positions=3),
        samples=pairs(8),
    )


@pytest.mark.parametrize("options", [{}, {"compression": "zstd"}, {"shard_events": 5}])
def test_store(tmp_path, options):
    parts = {"lar": image().schema}
    path = tmp_path / ("store" if "shard_events" in options else "store.h5")
    with StoreWriter(path, parts, {"source": "test"}, block_events=3, **options) as writer:
        writer.write(pack(tracks(12), parts))
    reader_contract(StoreReader, path)


def test_pilarnet(real_data):
    reader_contract(PilarnetReader, real_data / "geant4_lartpc" / "val" / "generic_v2_200_v1.h5")


def test_edepsim(real_data):
    reader_contract(EdepsimReader, real_data / "edepsim" / "edepsim_70_events.h5")


@pytest.mark.parametrize("detector", ["cube", "wire", "module0"])
def test_lartpc(detector):
    config = LartpcGenerator.Config(detector=detector)
    generator_contract(LartpcGenerator, config, other=config.model_copy(update={"composition": "cosmics"}))
