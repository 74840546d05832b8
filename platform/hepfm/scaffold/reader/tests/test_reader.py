"""The reader keeps to the contract of hepfm, and reads what was written."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from MODULE.example import write
from MODULE.reader import SIDE, CLASS

from hepfm.errors import DataError
from hepfm.testing import reader_contract


@pytest.fixture
def path(tmp_path):
    """A file of 6 events."""
    write(tmp_path / "run1.h5", 6)
    return tmp_path / "run1.h5"


def test_it_keeps_to_the_contract(path):
    reader_contract(CLASS, path)


def test_voxels_are_where_the_hits_were(path):
    reader = CLASS(path, CLASS.Config(voxel_mm=5.0))
    voxels = reader.read([3, 1]).parts["image3d"]["voxels"]
    with h5py.File(path) as file:
        first = file["n_hits"][:3].sum()
        wanted = file["xyz_mm"][first : first + file["n_hits"][3]]
    centre = (voxels["voxel"][0] + 0.5 - SIDE / 2) * 5.0
    assert np.abs(centre - wanted).max() <= 2.5 + 1e-3


def test_a_hit_outside_of_the_grid_is_named(path):
    with h5py.File(path, "r+") as file:
        file["xyz_mm"][-1] = 1e4
    reader = CLASS(path, CLASS.Config())
    with pytest.raises(DataError, match="event 5, field xyz_mm"):
        reader.read([5])
    assert len(list(reader.check())) == 1


def test_arrays_that_contradict_one_another_are_refused(path):
    with h5py.File(path, "r+") as file:
        file["n_hits"][2] += 1
    with pytest.raises(DataError, match="announced"):
        CLASS(path, CLASS.Config())
