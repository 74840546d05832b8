"""Voxels against a brute force that walks deposits in small steps, and against plain connectivity."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from scipy import ndimage

from hepfm_lartpc.image import ImageGrid, voxelise
from hepfm_lartpc.truth import LED

GRID = ImageGrid(voxel_mm=3.0, origin_mm=(-30.0, -30.0, -30.0), grid=(20, 24, 16), threshold_mev=0.0)


def some_deposits(deposits, n, seed, spread=25.0):
    rng = np.random.default_rng(seed)
    start = rng.uniform(-spread, spread, (n, 3))
    end = start + rng.normal(0, 4, (n, 3)) * (rng.random((n, 1)) > 0.2)  # some are points
    return deposits(
        start, end, rng.exponential(1.0, n), track=rng.integers(0, 4, n), time=rng.uniform(0, 50, n)
    )


def test_energy_is_shared_by_the_length_in_each_voxel(deposits):
    d = some_deposits(deposits, 60, 1)
    steps = 20_000
    energy, time = np.zeros(GRID.grid), np.zeros(GRID.grid)
    for start, end, mev, ns in zip(d.start_mm, d.end_mm, d.energy_mev, d.time_ns, strict=True):
        at = start + (end - start) * (np.arange(steps)[:, None] + 0.5) / steps
        voxel = np.floor((at + 30.0) / 3.0).astype(int)
        voxel = voxel[((voxel >= 0) & (voxel < GRID.grid)).all(1)]
        np.add.at(energy, tuple(voxel.T), mev / steps)
        np.add.at(time, tuple(voxel.T), mev * ns / steps)
    image = voxelise(d, 100 * d.energy_mev, np.arange(4, dtype=np.int32), np.zeros(4, np.int8), GRID)
    where = tuple(image.voxel.T.astype(int))
    found = np.zeros(GRID.grid)
    found[where] = image.energy_mev
    np.testing.assert_allclose(found, energy, atol=1e-3)
    heavy = image.energy_mev > 0.05
    expected = (time / np.maximum(energy, 1e-9))[where]
    np.testing.assert_allclose(image.time_ns[heavy], expected[heavy], rtol=0.02)
    np.testing.assert_allclose(image.electrons, 100 * image.energy_mev, rtol=1e-4)


def test_all_energy_and_path_inside_the_grid_is_kept(deposits):
    d = some_deposits(deposits, 300, 2, spread=3.0)
    image = voxelise(d, d.energy_mev, np.arange(4, dtype=np.int32), np.zeros(4, np.int8), GRID)
    assert image.energy_mev.sum() == pytest.approx(d.energy_mev.sum(), rel=1e-6)
    assert image.dx_mm.sum() == pytest.approx(d.length_mm.sum(), rel=1e-6)
    assert len(np.unique(image.voxel, axis=0)) == len(image.voxel)


def test_lengths_do_not_depend_on_the_direction_of_a_deposit(deposits):
    start, end = [[-10.0, -9.0, -3.0]], [[9.0, 8.5, 6.0]]  # ends and corners on faces
    one, other = (
        voxelise(d, d.energy_mev, np.zeros(1, np.int32), np.zeros(1, np.int8), GRID)
        for d in (deposits(start, end, 1.0), deposits(end, start, 1.0))
    )
    first, second = (
        {tuple(v): e for v, e in zip(i.voxel.tolist(), i.energy_mev.tolist(), strict=True) if e > 1e-6}
        for i in (one, other)
    )
    assert first.keys() == second.keys()
    for voxel, energy in first.items():
        assert second[voxel] == pytest.approx(energy, abs=1e-6)


def test_a_voxel_is_of_the_particle_and_class_that_left_most(deposits):
    d = some_deposits(deposits, 400, 3, spread=9.0)
    particle, semantic = np.array([0, 0, 2, 3], np.int32), np.array([1, 3, 0, 4], np.int8)
    image = voxelise(d, d.energy_mev, particle, semantic, GRID)
    left = defaultdict(lambda: defaultdict(float))
    for track in range(4):
        rows = d.track == track
        alone = voxelise(
            deposits(d.start_mm[rows], d.end_mm[rows], d.energy_mev[rows]),
            d.energy_mev[rows], np.zeros(1, np.int32), np.zeros(1, np.int8), GRID,
        )  # fmt: skip
        for voxel, mev in zip(alone.voxel.tolist(), alone.energy_mev.tolist(), strict=True):
            left[tuple(voxel)][int(particle[track]), int(semantic[track])] += mev
    for voxel, *owner in zip(image.voxel.tolist(), image.particle, image.semantic, strict=True):
        shares = left[tuple(voxel)]
        assert shares[tuple(map(int, owner))] == pytest.approx(max(shares.values()), abs=1e-5)


def test_fragments_are_connected_voxels_of_one_particle_and_class(deposits):
    d = some_deposits(deposits, 120, 4)
    particle, semantic = np.array([0, 0, 2, 3], np.int32), np.array([1, 3, 0, LED], np.int8)
    image = voxelise(d, d.energy_mev, particle, semantic, GRID)
    seen = 0
    for p, s in {(int(p), int(s)) for p, s in zip(image.particle, image.semantic, strict=True)}:
        rows = (image.particle == p) & (image.semantic == s)
        if s == LED:
            assert (image.fragment[rows] == -1).all()
            continue
        occupied = np.zeros(GRID.grid, bool)
        occupied[tuple(image.voxel[rows].T.astype(int))] = True
        labels, count = ndimage.label(occupied, np.ones((3, 3, 3)))
        pairs = {
            (int(labels[tuple(v)]), int(f))
            for v, f in zip(image.voxel[rows].astype(int), image.fragment[rows], strict=True)
        }
        assert len(pairs) == count == len({f for _, f in pairs}) == len({c for c, _ in pairs})
        seen += count
    assert image.fragment.max() == seen - 1


def test_voxels_below_the_threshold_are_left_out(deposits):
    d = deposits([[0, 0, 0], [9, 0, 0]], [[0, 0, 0], [9, 0, 0]], [0.01, 0.03])
    image = voxelise(
        d,
        d.energy_mev,
        np.zeros(1, np.int32),
        np.zeros(1, np.int8),
        GRID.model_copy(update={"threshold_mev": 0.02}),
    )
    assert image.energy_mev.tolist() == pytest.approx([0.03])


def test_an_event_without_deposits_is_an_empty_image(deposits):
    image = voxelise(
        deposits(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0)),
        np.zeros(0), np.zeros(0, np.int32), np.zeros(0, np.int8), GRID,
    )  # fmt: skip
    assert image.voxel.shape == (0, 3)
    assert len(image.fragment) == 0
