"""The display of an image: voxels where they are, in mm, with energy and class."""

from __future__ import annotations

import h5py
import numpy as np

from hepfm.display.png import write_png
from hepfm_image3d.display import panels
from hepfm_image3d.schema import SEMANTIC, image3d_schema

TABLES = {"voxels": {"voxel": np.array([[0, 384, 767]], "u2"), "energy_mev": np.array([0.5], "f4")}}


def test_positions_are_centres_of_voxels_in_mm():
    (energy,) = panels(TABLES, image3d_schema(voxels=("voxel", "energy_mev")), title="charge")
    np.testing.assert_allclose(energy.xyz, [[-1150.5, 1.5, 1150.5]])
    assert (energy.unit, energy.value_unit, energy.title) == ("mm", "MeV", "charge, energy")


def test_without_a_voxel_size_positions_are_in_voxels():
    schema = image3d_schema(voxels=("voxel", "energy_mev"))
    bare = type(schema)(kind="image3d", primary="voxels", tables=schema.tables)
    (energy,) = panels(TABLES, bare)
    np.testing.assert_allclose(energy.xyz, [[0.5, 384.5, 767.5]])
    assert energy.unit == "voxel"


def test_a_real_event_is_drawn_with_its_classes(real_data, tmp_path):
    (path,) = (real_data / "geant4_lartpc" / "val").glob("*.h5")
    with h5py.File(path) as file:
        point = file["point"][5].reshape(-1, 8)
        cluster = file["cluster"][5].reshape(-1, 6)
    semantic = np.repeat(cluster[:, 4], cluster[:, 0])
    tables = {"voxels": {"voxel": point[:, :3].astype("u2"), "energy_mev": point[:, 3]}}
    schema = image3d_schema(voxels=("voxel", "energy_mev", "semantic"))
    energy, classes = panels(tables, schema, labels={"voxels": {"semantic": semantic}})
    np.testing.assert_array_equal(energy.values, point[:, 3])
    np.testing.assert_array_equal(classes.classes, semantic)
    assert tuple(classes.vocabulary) == SEMANTIC
    assert np.abs(energy.xyz).max() < 1152
    write_png([energy, classes], tmp_path / "event.png")
    assert (tmp_path / "event.png").stat().st_size > 20_000
