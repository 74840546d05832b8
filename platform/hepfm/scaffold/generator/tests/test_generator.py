"""The generator keeps to the contract of hepfm, and its tracks to what is known of them."""

from __future__ import annotations

import numpy as np
from MODULE.generator import MEV_MM, CLASS

from hepfm.testing import generator_contract


def test_it_keeps_to_the_contract():
    generator_contract(CLASS, other=CLASS.Config(tracks=1))


def test_a_track_loses_what_its_length_says():
    generator = CLASS(CLASS.Config(tracks=1), seed=1)
    compared = 0
    for index in range(40):
        voxels = generator.event(index).parts["image3d"]["voxels"]
        ends = voxels["voxel"].min(0).astype(float), voxels["voxel"].max(0).astype(float)
        length_mm = 3.0 * np.linalg.norm(ends[1] - ends[0])
        if length_mm > 150:
            assert abs(voxels["energy_mev"].sum() / length_mm / MEV_MM - 1) < 0.1
            compared += 1
    assert compared > 5
