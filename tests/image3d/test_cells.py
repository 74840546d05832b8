"""Cells and touching voxels against brute force."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepfm_image3d.cells import forward_offsets, group
from hepfm_image3d.neighbours import Convolution, touching

GRID = (13, 12, 7)


def make_cells(events, side=3, grid=GRID):
    """Cells of events given as lists of (x, y, z, energy)."""
    rows = np.array([row for event in events for row in event], dtype=np.float64).reshape(-1, 4)
    offsets = torch.tensor([0, *np.cumsum([len(event) for event in events])], dtype=torch.int64)
    return group(
        torch.from_numpy(rows[:, :3].astype(np.int64)),
        torch.from_numpy(rows[:, 3].astype(np.float32)),
        offsets,
        grid=grid,
        side=side,
    )


def dense_events(seed=0, counts=(150, 0, 1, 200)):
    rng = np.random.default_rng(seed)
    return [[(*rng.integers(GRID), rng.exponential()) for _ in range(n)] for n in counts]


@st.composite
def events(draw):
    voxel = st.tuples(*(st.integers(0, n - 1) for n in GRID), st.floats(0.125, 8, width=16))
    return draw(st.lists(st.lists(voxel, max_size=25), max_size=4))


@given(events(), st.integers(2, 5))
@settings(max_examples=60, deadline=None)
def test_cells_hold_each_voxel_once_with_its_summed_energy(found_events, side) -> None:
    cells, offsets, row = make_cells(found_events, side)
    brute: dict[tuple[int, ...], dict[tuple[int, ...], float]] = defaultdict(lambda: defaultdict(float))
    for e, event in enumerate(found_events):
        for x, y, z, energy in event:
            brute[e, x // side, y // side, z // side][x % side, y % side, z % side] += energy
    keys = sorted(brute)
    counts = [sum(key[0] == e for key in keys) for e in range(len(found_events))]
    assert offsets.tolist() == [0, *np.cumsum(counts)]
    assert cells.coordinates().tolist() == [list(key[1:]) for key in keys]
    assert cells.offsets.diff().tolist() == [len(brute[key]) for key in keys]
    flat = [(*place, energy) for key in keys for place, energy in sorted(brute[key].items())]
    sub = [(x * side + y) * side + z for x, y, z, _ in flat]
    assert cells.sub.tolist() == sub
    np.testing.assert_allclose(cells.energy_mev.numpy(), [energy for *_, energy in flat], rtol=1e-6)
    # Each row finds its voxel again.
    assert cells.voxels()[row].tolist() == [[x, y, z] for event in found_events for x, y, z, _ in event]


@given(events(), st.integers(2, 4))
@settings(max_examples=60, deadline=None)
def test_touching_voxels_are_those_at_distance_one(found_events, side) -> None:
    cells, _, _ = make_cells(found_events, side)
    pairs = touching(cells)
    x_size, y_size, z_size = cells.sizes
    event = (cells.key // (x_size * y_size * z_size))[cells.cell].tolist()
    voxel = cells.voxels().tolist()
    wanted = []
    for k, offset in enumerate(forward_offsets().tolist()):
        wanted += [
            (k, i, j)
            for (i, a), (j, b) in itertools.permutations(enumerate(voxel), 2)
            if event[i] == event[j] and [q - p for p, q in zip(a, b, strict=True)] == offset
        ]
    offset = np.repeat(np.arange(13), pairs.counts)
    assert sorted(wanted) == sorted(
        zip(offset.tolist(), pairs.near.tolist(), pairs.far.tolist(), strict=True)
    )


def test_neighbours_of_cells_do_not_cross_faces_or_events() -> None:
    """The last cell of a row and the first of the next, and of the next event, have keys in sequence."""
    cells, _, _ = make_cells([[(12, 11, 6, 1), (0, 0, 0, 1), (0, 0, 6, 1), (0, 3, 0, 1)], [(0, 0, 0, 1)]])
    table = cells.around
    assert cells.coordinates().tolist() == [[0, 0, 0], [0, 0, 2], [0, 1, 0], [4, 3, 2], [0, 0, 0]]
    others = [
        (i, k, j) for i, row in enumerate(table.tolist()) for k, j in enumerate(row) if j < 5 and k != 13
    ]
    assert others == [(0, 16, 2), (2, 10, 0)]
    assert table[:, 13].tolist() == [0, 1, 2, 3, 4]


def test_keeping_cells_is_grouping_only_their_voxels() -> None:
    cells, offsets, row = make_cells(dense_events())
    mask = torch.rand(len(cells), generator=torch.Generator().manual_seed(0)) < 0.4
    kept = cells.keep(mask)
    rows = mask[cells.cell][row]
    all_rows = [(e, r) for e, event in enumerate(dense_events()) for r in event]
    events = [
        [r for (f, r), keep in zip(all_rows, rows.tolist(), strict=True) if keep and f == e] for e in range(4)
    ]
    wanted, _, _ = make_cells(events)
    for name in ("key", "offsets", "cell", "sub", "energy_mev"):
        assert torch.equal(getattr(kept, name), getattr(wanted, name)), name
    assert offsets[-1] == len(mask)


@pytest.mark.parametrize("factor", [2, 3])
def test_coarser_cells_are_those_of_a_larger_side(factor) -> None:
    cells, _, _ = make_cells(dense_events(), side=2)
    coarse, order = cells.coarser(factor)
    wanted, _, _ = make_cells(dense_events(), side=2 * factor)
    assert torch.equal(coarse.coordinates(), wanted.coordinates())
    assert torch.equal(coarse.offsets, wanted.offsets)
    assert torch.equal(coarse.around, wanted.around)
    assert torch.equal(coarse.voxels(), cells.voxels()[order])
    # Within a cell the order is that of the finer cells.
    for name in ("voxels", "places"):
        found, all_of = (
            torch.cat((getattr(each, name)(), each.cell[:, None], each.energy_mev[:, None]), 1)
            for each in (coarse, wanted)
        )
        assert sorted(found.tolist()) == sorted(all_of.tolist()), name


def test_convolution_is_a_dense_one_at_occupied_voxels() -> None:
    """Against torch's dense convolution in float64, values and gradients."""
    cells, _, _ = make_cells([dense_events()[0]])
    x = torch.randn(len(cells.sub), 5, dtype=torch.float64, requires_grad=True)
    layer = Convolution(5).double()
    found = layer(x, touching(cells))

    offsets = torch.cat((forward_offsets(), -forward_offsets()))
    kernel = torch.zeros(5, 5, 3, 3, 3, dtype=torch.float64)
    kernel[:, :, 1, 1, 1] = layer.centre.weight
    for weight, (dx, dy, dz) in zip(layer.weight, offsets.tolist(), strict=True):
        kernel[:, :, dx + 1, dy + 1, dz + 1] = weight.t()
    at = cells.voxels().unbind(-1)
    dense = torch.zeros(*GRID, 5, dtype=torch.float64).index_put(at, x).movedim(-1, 0)
    wanted = torch.nn.functional.conv3d(dense[None], kernel, layer.centre.bias, padding=1)[0].movedim(0, -1)[
        at
    ]
    torch.testing.assert_close(found, wanted)

    probe = torch.randn_like(found)
    parameters = (x, layer.weight, layer.centre.weight)
    for ours, theirs in zip(
        torch.autograd.grad((found * probe).sum(), parameters),
        torch.autograd.grad((wanted * probe).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_convolution_in_bf16_is_close_and_connected_without_voxels() -> None:
    cells, _, _ = make_cells(dense_events())
    layer, x = Convolution(8), torch.randn(len(cells.sub), 8)
    exact = layer(x, touching(cells))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = layer(x, touching(cells))
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - exact).abs().max() < 0.05 * exact.abs().max()

    empty, _, _ = make_cells([[], []])
    layer(torch.zeros(0, 8), touching(empty)).sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in layer.parameters())


@pytest.mark.parametrize("side", [2, 6])
def test_the_largest_grid_does_not_overflow(side) -> None:
    corner = (65535, 65535, 65535, 1.0)
    cells, offsets, _ = make_cells([[corner], [corner, (0, 0, 0, 1.0)]], side=side, grid=(65536,) * 3)
    assert offsets.tolist() == [0, 1, 3]
    assert cells.voxels().tolist() == [[65535] * 3, [0] * 3, [65535] * 3]
