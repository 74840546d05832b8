"""Places and directions go with the voxels of their event, whatever table they are in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hepfm.api import Column, PartSchema, RaggedTable
from hepfm.data.tensors import to_torch
from hepfm.errors import DataError
from hepfm.objectives.units import augmented
from hepfm.random import Draws
from hepfm_image3d.modality import Image3D, Image3DConfig
from hepfm_image3d.pilarnet import PilarnetReader
from hepfm_image3d.schema import image3d_schema


def draws(batch_ids, epoch=0):
    return Draws(seed=3, epoch=epoch, event_ids=torch.as_tensor(batch_ids))


@pytest.mark.parametrize("grid", [(24, 24, 24), (24, 24, 40)])
def test_the_middle_of_a_voxel_stays_the_middle_of_that_voxel(grid) -> None:
    """And steps from one voxel to the next stay such steps, as directions."""
    origin, side = (-50.0, 10.0, 7.0), 2.5
    schema = image3d_schema(
        voxels=("voxel", "energy_mev"),
        fragments=("vertex", "momentum_xyz_gev"),
        grid=grid,
        voxel_mm=side,
        origin_mm=origin,
    )
    rng = np.random.default_rng(0)
    voxel = torch.from_numpy(rng.integers(1, np.array(grid) - 1, (64, 3)))
    step = torch.from_numpy(rng.integers(-1, 2, (64, 3)))
    offsets = torch.arange(0, 65, 2)  # 32 events of two voxels
    both = torch.stack((voxel, voxel + step), 1).reshape(-1, 3)
    places = torch.tensor(origin) + side * (voxel.float() + 0.5)
    tables = {
        "voxels": RaggedTable({"voxel": both, "energy_mev": torch.ones(128)}, 2 * offsets),
        "fragments": RaggedTable({"vertex": places, "momentum_xyz_gev": step.float()}, offsets),
    }
    moved = Image3D(Image3DConfig(), schema).augment(tables, draws(range(32)))
    at = moved["voxels"].columns["voxel"].reshape(64, 2, 3)
    found = moved["fragments"].columns
    assert not torch.equal(at[:, 0], voxel)
    torch.testing.assert_close(found["vertex"], torch.tensor(origin) + side * (at[:, 0].float() + 0.5))
    torch.testing.assert_close(found["momentum_xyz_gev"], (at[:, 1] - at[:, 0]).float())


def test_what_is_not_known_stays_so() -> None:
    schema = image3d_schema(voxels=("voxel", "energy_mev"), fragments=("vertex",), grid=(24, 24, 24))
    vertex = torch.tensor([[-1.0, -1, -1], [np.nan, 0, 0]])
    tables = {
        "voxels": RaggedTable(
            {"voxel": torch.zeros(1, 3), "energy_mev": torch.ones(1)}, torch.tensor([0, 1])
        ),
        "fragments": RaggedTable({"vertex": vertex}, torch.tensor([0, 2])),
    }
    moved = Image3D(Image3DConfig(), schema).augment(tables, draws([4]))["fragments"].columns["vertex"]
    assert torch.equal(moved[0], vertex[0])
    assert moved[1].isnan().any()


def test_places_without_a_frame_are_refused() -> None:
    schema = image3d_schema(voxels=("voxel", "energy_mev"), fragments=("vertex",))
    bare = PartSchema(
        kind="image3d",
        primary="voxels",
        tables={**schema.tables, "fragments": {"end_mm": Column(dtype="float32", shape=(3,), unit="mm")}},
        attributes={"grid": [768, 768, 768]},
    )
    with pytest.raises(DataError, match="no attribute 'origin_mm'"):
        Image3D(Image3DConfig(), bare)


def test_vertices_of_geant4_lie_where_their_tracks_start(real_data) -> None:
    """The track's voxel next to the vertex is within two voxels of it, before and after it is varied."""
    reader = PilarnetReader(next((real_data / "geant4_lartpc" / "val").glob("*.h5")))
    batch = to_torch(reader.read(range(24)))
    modality = Image3D(Image3DConfig(), reader.parts["image3d"])
    varied = augmented(batch, {"image3d": modality}, draws(batch.event_ids))
    gaps, moved = _gaps_mm(batch), _gaps_mm(varied)
    assert len(gaps) > 40
    assert np.median(gaps) < 3
    assert np.quantile(gaps, 0.9) < 6  # some lie outside, or where another particle left more
    np.testing.assert_allclose(moved, gaps, atol=0.01)
    vertices = [each.labels["image3d"]["fragments"].columns["vertex"] for each in (batch, varied)]
    known = (vertices[0] != -1).any(1)
    assert (vertices[1] - vertices[0])[known].norm(dim=1).median() > 100


def _gaps_mm(batch):
    """From the vertex of each muon, pion and proton that is its largest fragment, to its nearest voxel."""
    gaps = []
    inputs, labels = batch.parts["image3d"]["voxels"], batch.labels["image3d"]
    fragments, voxels = labels["fragments"], labels["voxels"]
    for event in range(len(batch)):
        place = -1152 + 3 * (inputs["voxel"][event].double() + 0.5)
        of = {name: fragments[name][event] for name in fragments.columns}
        chosen = (of["pid"] >= 2) & (of["fragment_id"] == of["group_id"]) & (of["semantic"] == 1)
        for row in chosen.nonzero()[:, 0].tolist():
            mine = place[voxels["group"][event] == of["group_id"][row]]
            gaps.append((mine - of["vertex"][row].double()).norm(dim=1).min().item())
    return np.array(gaps)
