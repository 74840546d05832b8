"""Rotary positions: what a score may depend on, and the definition written out with a matrix."""

from __future__ import annotations

import math

import pytest
import torch

from hepfm.errors import RecipeError
from hepfm.nn.rotary import LONGEST, SHORTEST, rotate, rotations


@pytest.mark.parametrize("n_axes", [1, 2, 3, 4])
def test_scores_depend_on_differences_of_positions_only(n_axes: int) -> None:
    generator = torch.Generator().manual_seed(n_axes)
    positions = torch.randint(0, 128, (20, n_axes), generator=generator).float()
    q, k = torch.randn(2, 20, 2, 32, generator=generator)

    def scores(positions: torch.Tensor) -> torch.Tensor:
        turn = rotations(positions, 32)
        return torch.einsum("qhc,khc->hqk", rotate(q, turn), rotate(k, turn))

    shift = torch.tensor([37.0, -5.0, 100.0, 11.0])[:n_axes]
    torch.testing.assert_close(scores(positions + shift), scores(positions), rtol=0, atol=2e-4)
    for axis in range(n_axes):
        moved = positions.clone()
        moved[3, axis] += 1
        assert (scores(moved) - scores(positions)).abs().max() > 0.01


def test_each_pair_turns_by_the_angle_of_its_axis() -> None:
    positions = torch.tensor([[1.5, -2.0]])
    x = torch.arange(8.0).view(1, 1, 8)
    expected = []
    for pair in range(4):
        wavelength = SHORTEST * (LONGEST / SHORTEST) ** (pair // 2)
        angle = 2 * math.pi * positions[0, pair % 2].item() / wavelength
        a, b = x[0, 0, 2 * pair : 2 * pair + 2].tolist()
        expected += [a * math.cos(angle) - b * math.sin(angle), a * math.sin(angle) + b * math.cos(angle)]
    torch.testing.assert_close(rotate(x, rotations(positions, 8))[0, 0], torch.tensor(expected))


def test_gradient_and_length_zero() -> None:
    turn = rotations(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), 6).to(torch.complex128)
    x = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight = torch.linspace(-1, 1, 36, dtype=torch.float64).view(2, 3, 6)
    x32 = x.float().requires_grad_()
    (rotate(x32, turn.to(torch.complex64)) * weight.float()).sum().backward()
    # The gradient of <w, R x> is R^T w, and R is orthogonal: turning it again gives w back.
    assert x32.grad is not None
    torch.testing.assert_close(rotate(x32.grad, turn.to(torch.complex64)), weight.float())
    assert rotate(torch.empty(0, 3, 6), rotations(torch.empty(0, 3), 6)).shape == (0, 3, 6)


def test_half_precision_is_turned_in_float32() -> None:
    x = torch.randn(50, 2, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    turn = rotations(torch.arange(150.0).view(50, 3) * 7, 32)
    out = rotate(x, turn)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, rotate(x.float(), turn).bfloat16())


def test_heads_too_narrow_for_the_axes_are_refused() -> None:
    with pytest.raises(RecipeError, match="width 6 cannot hold 4"):
        rotations(torch.zeros(1, 4), 6)


def test_a_gradient_of_any_layout_is_turned_back() -> None:
    x = torch.randn(5, 2, 12, requires_grad=True)
    turn = rotations(torch.rand(5, 3), 12)
    rotate(x, turn).sum().backward()  # a gradient that is one number, expanded
    assert x.grad is not None
    torch.testing.assert_close(rotate(x.grad, turn), torch.ones(5, 2, 12))
