"""A recipe's options reach the reader of each file, and are part of what the data's digest says."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from hepfm.data.source import open_source
from hepfm.errors import RecipeError
from hepfm.recipe.schema import Part

PARTS = {"image3d": Part(kind="image3d")}
ENDS = [f"{axis}_{end}" for end in ("start", "end") for axis in "xyz"]


@pytest.fixture
def segments(tmp_path):
    """A file of three straight segments of 20 cm, one an event, which options cut into voxels."""
    rows = np.zeros(3, [("eventID", "i4"), *((name, "f4") for name in ENDS), ("dE", "f4")])
    rows["eventID"], rows["dE"], rows["x_end"] = np.arange(3), 2.0, 20.0
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["segments"] = rows
    return str(tmp_path / "a.h5")


def test_options_change_what_is_read_and_the_digest(segments):
    fine = open_source(segments, parts=PARTS, reader="edepsim", options={"voxel_mm": 4})
    coarse = open_source(segments, parts=PARTS, reader="edepsim", options={"voxel_mm": 50})
    assert (fine.costs > 10 * coarse.costs).all()
    assert fine.digest != coarse.digest
    assert fine.parts["image3d"].attributes["voxel_mm"] == 4
    assert fine.event_ids().tolist() == coarse.event_ids().tolist()
    with pytest.raises(RecipeError, match="did you mean 'voxel_mm'"):
        open_source(segments, parts=PARTS, reader="edepsim", options={"voxelmm": 4})
