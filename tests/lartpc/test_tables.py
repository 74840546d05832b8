"""The tables of an image and of the truth, against what they must say of each other."""

from __future__ import annotations

import numpy as np

from hepfm_lartpc import schema
from hepfm_lartpc import species as sp
from hepfm_lartpc.image import ImageGrid, voxelise
from hepfm_lartpc.tables import image_tables, truth_tables
from hepfm_lartpc.truth import classify

GRID = ImageGrid(voxel_mm=3.0, origin_mm=(0.0, 0.0, 0.0), grid=(64, 64, 64), threshold_mev=0.0)


def an_event(tracks, deposits):
    """A muon in two pieces with a delta and a Compton electron far away."""
    made = tracks(
        [
            (sp.MUON_MINUS, -1, sp.PRIMARY, 300.0, 40.0),
            (sp.ELECTRON, 0, sp.DELTA, 9.0, 8.0),
            (sp.PHOTON, 1, sp.BREMSSTRAHLUNG, 1.0, 0.0),
            (sp.ELECTRON, 2, sp.COMPTON, 0.5, 0.5),
        ]
    )
    d = deposits(
        [[1, 1, 1], [61, 1, 1], [31, 5, 1], [100, 100, 100]],
        [[30, 1, 1], [80, 1, 1], [31, 30, 1], [100, 100, 100]],
        [20.0, 13.0, 8.0, 0.5],
        track=[0, 0, 1, 3],
    )
    particle, semantic = classify(made)
    return made, particle, semantic, voxelise(d, d.energy_mev, particle, semantic, GRID)


def test_fragments_groups_and_voxels_agree(tracks, deposits):
    made, _, _, image = an_event(tracks, deposits)
    tables = image_tables(image, made)
    voxels, fragments = tables.labels["voxels"], tables.labels["fragments"]
    assert fragments["fragment_id"].tolist() == [-1, 0, 1, 2]
    assert fragments["semantic"].tolist() == [4, 1, 1, 3]
    assert fragments["group_id"].tolist() == [-1, 0, 0, 2]  # the larger piece of the muon
    assert fragments["pid"].tolist() == [-1, 2, 2, 1]
    assert fragments["n_voxels"].tolist() == [1, *np.bincount(image.fragment[image.fragment >= 0])]
    momentum = np.sqrt(300.0 * (300.0 + 2 * sp.MUON_MASS)) / 1000
    np.testing.assert_allclose(fragments["momentum_gev"][1], momentum, rtol=1e-6)
    led = voxels["semantic"] == 4
    assert led.sum() == 1
    for column in ("fragment", "group", "interaction"):
        assert (voxels[column][led] == -1).all()
    of_fragment = dict(zip(fragments["fragment_id"], fragments["group_id"], strict=True))
    assert voxels["group"].tolist() == [of_fragment[f] for f in voxels["fragment"]]
    assert set(voxels["pdg"][voxels["semantic"] == 1]) == {13}


def test_columns_are_those_of_the_schema(tracks, deposits):
    made, particle, semantic, image = an_event(tracks, deposits)
    for tables, part in (
        (image_tables(image, made), schema.image3d(GRID, "test", frame={})),
        (truth_tables(made, particle, semantic), schema.truth("test")),
    ):
        for table, columns in part.tables.items():
            for name, column in columns.items():
                found = (tables.labels if column.label else tables.inputs)[table][name]
                assert (found.dtype, found.shape[1:]) == (np.dtype(column.dtype), column.shape), name


def test_an_event_of_low_energy_deposits_alone_has_the_led_row(tracks, deposits):
    made = tracks([(sp.PHOTON, -1, sp.PRIMARY, 1.0, 0.0), (sp.ELECTRON, 0, sp.COMPTON, 0.5, 0.5)])
    d = deposits([[5, 5, 5]], [[5, 5, 5]], [0.5], track=[1])
    particle, semantic = classify(made)
    tables = image_tables(voxelise(d, d.energy_mev, particle, semantic, GRID), made)
    assert {n: c.tolist() for n, c in tables.labels["fragments"].items()}["n_voxels"] == [1]
    assert tables.labels["voxels"]["group"].tolist() == [-1]


def test_truth_has_a_row_for_each_particle_with_its_family_s_energy(tracks, deposits):
    made, particle, semantic, _ = an_event(tracks, deposits)
    rows = truth_tables(made, particle, semantic).inputs["particles"]
    assert rows["pdg"].tolist() == [13, 11]
    assert rows["parent"].tolist() == [-1, 0]
    np.testing.assert_allclose(rows["deposited_mev"], [40.0, 8.5])
    np.testing.assert_allclose(
        rows["momentum_gev"][0], [0, 0, np.sqrt(300 * (300 + 2 * sp.MUON_MASS)) / 1e3], rtol=1e-6
    )
