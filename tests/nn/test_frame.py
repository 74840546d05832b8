"""Where tokens of several parts lie: apart, or near one another along the axes that they share."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from hepfm.api import Units
from hepfm.nn.frame import APART, Frame
from hepfm.nn.ragged import pack_parts
from hepfm.nn.rotary import rotate, rotations
from hepfm.nn.transformer import Transformer, TransformerConfig


def located(**attributes):
    return SimpleNamespace(**attributes, piece_width=1, pieces=len)


def scores(tokens):
    """Attention weights of the head that starts most local, before anything is learned."""
    torch.manual_seed(0)
    attention = Transformer(TransformerConfig(d_model=64, n_layers=1, n_heads=2), n_positions=3).blocks[0]
    bias = attention.attention.qkv.bias.view(3, 2, 32)
    q, k = bias[:2].expand(len(tokens.x), -1, -1, -1).unbind(1)
    turn = rotations(tokens.positions, 32, tokens.reach)
    found = torch.einsum("qhc,khc->hqk", rotate(q, turn), rotate(k, turn)) / 32**0.5
    return found[-1].softmax(-1)


def packed(frame, units):
    everything = {part: torch.ones(len(each.positions), dtype=torch.bool) for part, each in units.items()}
    return pack_parts(
        [
            (torch.zeros(len(each.positions), 64), *frame(part, each, everything[part]), each.offsets)
            for part, each in units.items()
        ]
    )


def units_at(positions, **places):
    return Units(positions=positions, offsets=torch.tensor([0, len(positions)]), payload=None, places=places)


def test_parts_without_a_common_axis_are_not_neighbours():
    """Attention that starts local looks at its own part, also where another's tokens have the same numbers."""
    grid = torch.cartesian_prod(*[torch.arange(0.0, 24.0, 4)] * 3)
    frame = Frame({"image": SimpleNamespace(n_positions=3), "trace": SimpleNamespace(n_positions=2)})
    assert (frame.axes, frame.n_positions) == ((), 3)
    tokens = packed(frame, {"image": units_at(grid), "trace": units_at(grid[::6, :2])})
    assert tokens.reach is None
    assert torch.equal(tokens.positions[tokens.part == 0], grid)
    assert (tokens.positions[tokens.part == 1, 2] == APART).all()
    weights = scores(tokens)[tokens.part == 0]
    assert weights[:, tokens.part == 1].sum(-1).max() < 0.01
    assert weights[:, tokens.part == 0].diagonal().min() > 0.5


def test_parts_that_share_axes_find_one_another_there():
    """A wire that sees x and u looks at the cells at its x and u, whatever their v; others do not matter."""
    cell = torch.cartesian_prod(*[torch.arange(0.0, 36.0, 6)] * 3)
    point = torch.ones(len(cell))
    image = units_at(cell, **{axis: torch.stack((cell[:, i], point), 1) for i, axis in enumerate("xuv")})
    wire = units_at(
        torch.zeros(1, 1), x=torch.tensor([[18.0, 4.0]]), u=torch.tensor([[6.0, 0.2]]),
        v=torch.tensor([[3.0, torch.inf]]),
    )  # fmt: skip
    modalities = {
        "image": located(n_positions=3, axes=("x", "u", "v")),
        "wire": located(n_positions=1, axes=("x", "u", "v")),
    }
    frame = Frame(modalities)
    assert (frame.axes, frame.n_positions) == (("x", "u", "v"), 3)
    tokens = packed(frame, {"image": image, "wire": wire})
    (weights,) = scores(tokens)[tokens.part == 1][:, tokens.part == 0]
    best = weights.view(6, 6, 6)
    assert best.flatten(1).sum(1).argmax() == 3
    assert best.sum((0, 2)).argmax() == 1
    torch.testing.assert_close(best[3, 1], best[3, 1, :1].expand(6))  # v says nothing
    assert best[3, 1].sum() > 5 * best[0, 4].sum()


def test_a_part_without_named_axes_lies_apart_in_a_common_frame():
    frame = Frame(
        {
            "a": located(n_positions=3, axes=("x",)),
            "b": located(n_positions=3, axes=("x", "t")),
            "c": SimpleNamespace(n_positions=4),
        }
    )
    assert (frame.axes, frame.n_positions) == (("x", "t"), 4)
    positions, reach = frame("c", units_at(torch.ones(2, 4)), torch.tensor([True, False]))
    assert torch.equal(positions, torch.full((1, 4), 1 + 2 * APART))
    assert torch.equal(reach, torch.zeros(1, 4))
    positions, reach = frame(
        "a", units_at(torch.ones(1, 3), x=torch.tensor([[5.0, 2.0]])), torch.tensor([True])
    )
    assert torch.equal(positions, torch.tensor([[5.0, 0.0, 0.0, 0.0]]))
    assert torch.equal(reach, torch.tensor([[2.0, *[torch.inf] * 3]]))


@pytest.mark.parametrize("reach", [0.0, 0.5, 3.0, 40.0])
def test_what_reaches_over_a_length_is_turned_by_the_mean_over_it(reach):
    x = torch.tensor([[7.0, -3.0]])
    steps = (torch.arange(2000, dtype=torch.float64) + 0.5) / 1000 - 1
    along = (7.0 + reach * steps).float()[:, None] * torch.tensor([1.0, 0.0]) + torch.tensor([0.0, -3.0])
    wanted = rotations(along, 16).mean(0)
    found = rotations(x, 16, torch.tensor([[reach, 0.0]]))[0]
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-4)


def test_an_axis_of_unknown_place_adds_nothing_to_a_score():
    found = rotations(torch.zeros(1, 2), 16, torch.tensor([[torch.inf, 0.0]]))[0, 0]
    assert found.abs().tolist() == [0.0, 1.0] * 4
