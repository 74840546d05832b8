"""The cut on reading, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from hepfm.api import Column, RaggedTable, Surrounded
from hepfm.errors import DataError
from hepfm_image3d.modality import Image3D, Image3DConfig
from hepfm_image3d.schema import image3d_schema


def test_the_cut_keeps_voxels_above_it(make_modality) -> None:
    columns = {
        "voxel": np.zeros((4, 3), np.uint16),
        "energy_mev": np.array([0.02, 0.13, 0.1300001, 5.0], np.float32),
    }
    tables = {"voxels": RaggedTable(columns, np.array([0, 4]))}
    kept = make_modality().select(tables)
    assert kept["voxels"].tolist() == [False, np.float32(0.13) > 0.13, True, True]
    assert make_modality(min_energy_mev=0.0).select(tables)["voxels"].all()


def test_a_voxel_outside_of_the_grid_is_named(make_modality) -> None:
    """It would be taken for a voxel of another event."""
    columns = {
        "voxel": np.array([[0, 0, 0], [1, 1, 1], [0, 24, 0]], np.uint16),
        "energy_mev": np.ones(3, np.float32),
    }
    with pytest.raises(DataError, match=r"\[0, 24, 0\].*outside of the grid(.|\n)*event 1"):
        make_modality().select({"voxels": RaggedTable(columns, np.array([0, 1, 3]))})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"tables": {}}, "'voxel'.*missing"),
        (lambda s: {"tables": {"voxels": {"voxel": s.tables["voxels"]["voxel"]}}}, "'energy_mev'.*missing"),
        (
            lambda s: {
                "tables": {"voxels": {**s.tables["voxels"], "voxel": Column(dtype="float32", shape=(3,))}}
            },
            "'voxel'.*found float32",
        ),
        (
            lambda s: {
                "tables": {"voxels": {**s.tables["voxels"], "voxel": Column(dtype="uint16", shape=(2,))}}
            },
            r"'voxel'.*found uint16 \[2\]",
        ),
        (lambda s: {"attributes": {}}, "'grid'.*None"),
        (lambda s: {"attributes": {"grid": [768, 768]}}, "'grid'"),
    ],
)
def test_schemas_that_are_no_image_are_refused(change, message) -> None:
    schema = image3d_schema(voxels=("voxel", "energy_mev"))
    with pytest.raises(DataError, match=message):
        Image3D(Image3DConfig(), dataclasses.replace(schema, **change(schema)))


def test_visible_and_hidden_voxels_are_the_event(make_modality, make_tables) -> None:
    modality = make_modality()
    tables = make_tables()
    units = modality.units(tables)
    visible = torch.arange(len(units.positions)) % 3 > 0
    shown, hidden = (modality.visible_tables(units, mask)["voxels"] for mask in (visible, ~visible))
    for event in range(4):
        voxel, inverse = tables["voxels"]["voxel"][event].long().unique(dim=0, return_inverse=True)
        energy = torch.zeros(len(voxel)).index_add_(0, inverse, tables["voxels"]["energy_mev"][event])
        found = torch.cat((shown["voxel"][event], hidden["voxel"][event]))
        order = torch.tensor(np.lexsort(found.numpy().T[::-1]), dtype=torch.int64)
        assert torch.equal(found[order], voxel)
        torch.testing.assert_close(
            torch.cat((shown["energy_mev"][event], hidden["energy_mev"][event]))[order], energy
        )


def test_surroundings_are_those_of_the_whole_event_at_visible_voxels(make_modality, make_tables) -> None:
    """The same numbers whatever is hidden, and those that a tokenizer works with where nothing is."""
    modality = make_modality()
    units = modality.units(make_tables())
    everything = torch.ones(len(units.positions), dtype=torch.bool)
    visible = torch.arange(len(units.positions)) % 3 == 0
    whole = modality.surroundings(units, everything)
    assert whole.shape == (len(units.payload.cells.sub), modality.surroundings_width)
    assert torch.equal(modality.surroundings(units, visible), whole[visible[units.payload.cells.cell]])
    _, points = modality.tokenizer(32)(units, everything)
    torch.testing.assert_close(points.x[:, : modality.surroundings_width], whole)


def test_a_modality_says_the_width_of_its_points(make_modality) -> None:
    modality = make_modality()
    assert isinstance(modality, Surrounded)
    assert modality.point_width == modality.tokenizer(32).point_width
