"""The Hilbert curve: next cells touch, all are visited, and in 3D it is the store's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepfm.api import Tokens
from hepfm.nn.curve import curve_index, curve_order
from hepfm.nn.frame import APART
from hepfm.nn.rows import move_rows
from hepfm.readers.hilbert import hilbert_index


@pytest.mark.parametrize(("n_axes", "side"), [(1, 64), (2, 16), (3, 8), (4, 4)])
def test_every_cell_is_visited_and_the_next_one_touches(n_axes, side) -> None:
    cells = torch.cartesian_prod(*[torch.arange(side)] * n_axes).view(-1, n_axes)
    index = curve_index(cells + 0.5)
    assert len(index.unique()) == len(cells)
    walk = cells[index.argsort()]
    assert bool((walk.diff(dim=0).abs().sum(1) == 1).all())


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_in_three_axes_it_is_the_curve_of_the_store(seed) -> None:
    voxel = np.random.default_rng(seed).integers(0, 1024, (100, 3)).astype(np.uint16)
    ours = curve_index(torch.from_numpy(voxel.astype(np.float32)))
    assert ours.tolist() == hilbert_index(voxel).tolist()


def test_tokens_stay_with_their_event_and_part_and_can_go_back() -> None:
    generator = torch.Generator().manual_seed(0)
    positions = 100 * torch.rand(60, 3, generator=generator) - 5
    tokens = Tokens(
        x=torch.arange(60.0)[:, None],
        positions=positions,
        offsets=torch.tensor([0, 25, 25, 60]),
        part=torch.tensor([0] * 10 + [1] * 15 + [0] * 20 + [1] * 15),
    )
    order = curve_order(tokens)
    moved = move_rows(tokens.x, order)
    for rows in (slice(0, 10), slice(10, 25), slice(25, 45), slice(45, 60)):
        assert sorted(moved[rows, 0].tolist()) == tokens.x[rows, 0].tolist()
        walked = positions[moved[rows, 0].long()].double() + 2**15  # the origin is the middle
        assert bool((curve_index(walked).diff() >= 0).all())
    assert torch.equal(move_rows(moved, order.inverse()), tokens.x)


@pytest.mark.parametrize("shape", [(-60, -600), (12, 9000, 3), (300, 300, 3), (-40, -40, -40, -40)])
def test_neighbours_stay_close_wherever_a_part_lies(shape) -> None:
    """Negative places, channels by the thousand, and a fifth part, which is moved by a large number."""
    low = torch.tensor([float(min(side, 0)) for side in shape])
    size = torch.tensor([abs(side) for side in shape])
    generator = torch.Generator().manual_seed(1)
    positions = (torch.rand(4000, len(shape), generator=generator) * size).floor() + low
    for part in (0, 4):
        tokens = Tokens(
            x=positions.clone(),
            positions=positions + part * APART,
            offsets=torch.tensor([0, len(positions)]),
            part=torch.full((len(positions),), part),
        )
        walk = move_rows(tokens.x, curve_order(tokens))
        # The distance of neighbours in a grid of as many; of tokens in another order it is 10 to 600 times that.
        spacing = (size.double().prod() / len(positions)) ** (1 / len(shape))
        assert walk.diff(dim=0).abs().sum(1).median() < 2 * spacing


def test_without_positions_the_order_is_kept() -> None:
    tokens = Tokens(
        x=torch.zeros(5, 1),
        positions=torch.zeros(5, 0),
        offsets=torch.tensor([0, 2, 5]),
        part=torch.zeros(5, dtype=torch.int64),
    )
    assert curve_order(tokens).source.tolist() == [0, 1, 2, 3, 4]
