"""Events of two parts, charge and light, whose voxels lie apart and have one energy in common."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hepfm.api import Batch, RaggedTable
from hepfm.nn.encoder import Encoder
from hepfm.nn.transformer import Transformer, TransformerConfig
from hepfm.random import Draws
from hepfm_image3d.modality import Image3D, Image3DConfig
from hepfm_image3d.schema import image3d_schema

PARTS = ("charge", "light")


def make_encoder(drop_path=0.0):
    torch.manual_seed(0)
    schema = image3d_schema(voxels=("voxel", "energy_mev"), grid=(48, 48, 48))
    # What the parts have in common is an energy: of where charge lies, little is told.
    config = Image3DConfig(voxel_width=8, point_width=16, shape_scales=(1,))
    modalities = {part: Image3D(config, schema) for part in PARTS}
    size = TransformerConfig(d_model=32, n_layers=2, n_heads=2, drop_path=drop_path)
    return modalities, Encoder(modalities, Transformer(size, n_positions=3))


def make_events(lacking, *, seed=0, group=None):
    """A batch of walks; ``lacking`` says of each event which parts it has not."""
    rng = np.random.default_rng(seed)
    energies = rng.uniform(0.5, 3, len(lacking))
    parts = {}
    for part in PARTS:
        lengths = [0 if part in without else int(rng.integers(20, 60)) for without in lacking]
        walks = [rng.integers(-2, 3, (n, 3)).cumsum(0) + 24 for n in lengths]
        voxel = np.concatenate([*walks, np.zeros((0, 3), int)]).clip(0, 47).astype(np.uint16)
        columns = {
            "voxel": torch.from_numpy(voxel),
            "energy_mev": torch.from_numpy(np.repeat(energies, lengths).astype(np.float32)),
        }
        parts[part] = {"voxels": RaggedTable(columns, torch.tensor([0, *np.cumsum(lengths)]))}
    return Batch(
        event_ids=torch.from_numpy(rng.integers(0, 2**40, len(lacking))),
        cost=sum(tables["voxels"].lengths for tables in parts.values()),
        parts=parts,
        group=None if group is None else torch.tensor(group, dtype=torch.int64),
    )


def make_plan(objective, batch, *, epoch=0, augment=False):
    return objective.plan(batch, Draws(seed=1, epoch=epoch, event_ids=batch.event_ids), augment=augment)


@pytest.fixture
def pairs():
    """``encoder()``, ``events(lacking)`` and ``plan(objective, batch)``."""
    return SimpleNamespace(encoder=make_encoder, events=make_events, plan=make_plan, parts=PARTS)
