"""Absolute positions as features: sines and cosines of several wavelengths along each axis.

Legend of shapes: T rows, P position axes, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hepfm.nn.init import linear

SHORTEST, LONGEST, PER_AXIS = 4.0, 4096.0, 16
"""Wavelengths of the fastest and the slowest feature, in distances between neighbouring units; how many."""


def fourier_features(positions: Tensor) -> Tensor:
    """``(T, 2 * P * PER_AXIS)`` float32 sines and cosines of positions ``(T, P)``."""
    rank = torch.linspace(0, 1, PER_AXIS, device=positions.device)
    frequency = 2 * torch.pi / SHORTEST * (SHORTEST / LONGEST) ** rank
    angle = (positions.float()[..., None] * frequency).flatten(1)
    return torch.cat([angle.sin(), angle.cos()], 1)


class PositionEmbedding(nn.Module):
    """Positions ``(T, P)`` to ``(T, D)``: Fourier features and a linear layer."""

    def __init__(self, n_positions: int, d_model: int) -> None:
        super().__init__()
        self.project = linear(2 * n_positions * PER_AXIS, d_model)

    def forward(self, positions: Tensor) -> Tensor:
        embedded: Tensor = self.project(fourier_features(positions))
        return embedded
