"""Rotary position embedding for several axes: queries and keys are turned by angles of their positions.

Su et al., "RoFormer: enhanced transformer with rotary position embedding" (arXiv:2104.09864); with several
axes, each pair of channels belongs to one axis in turn. A score then depends on the difference of two
positions only.

Legend of shapes: T rows, H heads, C head width, P position axes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hepfm.errors import RecipeError

SHORTEST, LONGEST = 4.0, 256.0
"""Wavelengths of the fastest and the slowest pair, in distances between neighbouring units."""


def rotations(positions: Tensor, width: int, reach: Tensor | None = None) -> Tensor:
    """``(T, 1, C/2)`` complex64: the turn of each pair of channels, computed once and shared by all layers.

    What reaches over a length is turned by the mean over it, whose modulus is below 1 (as Barron et al.,
    arXiv:2103.13415, integrate positional encodings): wavelengths that are shorter than the length say
    nothing of where it is. A score then is that of all pairs of points within the two.

    Args:
        positions: ``(T, P)``, in distances between neighbouring units.
        width: Head width C, even, with at least one pair for each axis.
        reach: ``(T, P)``, how far each reaches to either side; infinity for an axis that says nothing of it.
            None for points.

    Raises:
        RecipeError: If the heads are too narrow for the axes.
    """
    if not positions.shape[1]:
        positions = positions.new_zeros(positions.shape[0], 1)
    n_axes, pairs = positions.shape[1], width // 2
    if width % 2 or pairs < n_axes:
        raise RecipeError(
            f"heads of width {width} cannot hold {n_axes} position axes",
            where="model.backbone",
            fix=f"make d_model / n_heads even, and at least {2 * n_axes}",
        )
    pair = torch.arange(pairs, device=positions.device)
    rank = pair // n_axes / max(1, (pairs - 1) // n_axes)
    frequency = 2 * torch.pi / SHORTEST * (SHORTEST / LONGEST) ** rank
    angle = (positions.float()[:, pair % n_axes] * frequency)[:, None]
    turn = torch.polar(torch.ones_like(angle), angle)
    if reach is None:
        return turn
    half = reach.float()[:, pair % n_axes] * frequency
    modulus = torch.sinc(half.nan_to_num(posinf=0.0) / torch.pi).where(half.isfinite(), 0.0)
    return turn * modulus[:, None]


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """``x (T, H, C)`` turned, computed in float32, in its own type.

    Args:
        x: Queries or keys (or both: heads side by side).
        rotation: From `rotations`.
    """
    turned: Tensor = _Rotate.apply(x, rotation)  # type: ignore[no-untyped-call]
    return turned


class _Rotate(torch.autograd.Function):
    # A turn's gradient is the turn back: nothing but the rotation is kept for the backward pass.

    @staticmethod
    def forward(ctx: Any, x: Tensor, rotation: Tensor) -> Tensor:
        ctx.save_for_backward(rotation)
        return _turn(x, rotation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (rotation,) = ctx.saved_tensors
        return _turn(grad, rotation.conj()), None


def _turn(x: Tensor, rotation: Tensor) -> Tensor:
    pairs = torch.view_as_complex(x.float().contiguous().view(*x.shape[:-1], x.shape[-1] // 2, 2))
    return torch.view_as_real(pairs * rotation).flatten(-2).to(x.dtype)
