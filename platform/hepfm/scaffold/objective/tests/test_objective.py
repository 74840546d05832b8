"""The objective keeps to the contract of hepfm, and hides what it is told to."""

from __future__ import annotations

import numpy as np
import torch
from hepfm_image3d.modality import Image3D
from MODULE.objective import CLASS

from hepfm.api import Batch, Column, PartSchema, RaggedTable, Sample
from hepfm.nn.transformer import Transformer
from hepfm.random import Draws
from hepfm.testing import objective_contract

SCHEMA = PartSchema(
    kind="image3d",
    primary="voxels",
    tables={
        "voxels": {
            "voxel": Column(dtype="uint16", shape=(3,), unit="voxel"),
            "energy_mev": Column(dtype="float32", unit="MeV"),
        }
    },
    attributes={"grid": [48, 48, 48]},
)


def image3d():
    """Images of 48^3 voxels in cells of 6^3."""
    return Image3D(Image3D.Config(), SCHEMA)


def samples(count):
    """Events of 60 voxels each."""
    rng = np.random.default_rng(1)
    for event_id in range(count):
        cell = rng.choice(48**3, 60, replace=False)
        voxel = np.stack(np.unravel_index(cell, (48, 48, 48)), 1).astype("u2")
        hits = {"voxel": voxel, "energy_mev": rng.gamma(5.0, 0.2, 60).astype("f4")}
        yield Sample(event_id=event_id, parts={"image": {"voxels": hits}})


def test_it_keeps_to_the_contract():
    backbone = Transformer(Transformer.Config(d_model=32, n_layers=1, n_heads=2), n_positions=3)
    modalities = {"image": image3d()}
    objective_contract(CLASS, modalities=modalities, backbone=backbone, samples=list(samples(4)))


def test_it_hides_its_share_of_the_units():
    """Of n independent draws with probability p, within five standard deviations."""
    n, share = 20_000, 0.3
    cell = np.arange(n) * 5 % 48**3
    voxel = torch.tensor(np.stack(np.unravel_index(cell, (48, 48, 48)), 1).astype("i8"))
    table = RaggedTable({"voxel": voxel, "energy_mev": torch.ones(n)}, torch.tensor([0, n]))
    objective = CLASS(CLASS.Config(hide=share), modalities={"image": image3d()}, d_model=8)

    batch = Batch(event_ids=torch.tensor([1]), cost=torch.tensor([n]), parts={"image": {"voxels": table}})
    hidden = []
    for seed in range(20):
        draws = Draws(seed=seed, epoch=0, event_ids=batch.event_ids)
        hidden.append(objective.plan(batch, draws, augment=False).payload["image"].hidden)
    found = torch.cat(hidden).double()
    assert abs(found.mean() - share) < 5 * (share * (1 - share) / len(found)) ** 0.5
