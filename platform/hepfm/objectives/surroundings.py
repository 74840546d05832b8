"""What points of visible units say of all that lies around them: a linear layer, its loss and its baseline.

Of what is around a point a mask hides a part: to name the whole, its features must know how charge goes on.

Legend: Q points, C width of their features, S numbers that describe what is around a point.
"""

from __future__ import annotations

import torch
from torch import nn

from hepfm.nn.init import linear


class Surroundings(nn.Module):
    """The squared error, a mean over the S numbers.

    Args:
        point_width: C.
        width: S.
    """

    points: torch.Tensor
    total: torch.Tensor

    def __init__(self, point_width: int, width: int) -> None:
        super().__init__()
        self.out = linear(point_width, width)
        self.register_buffer("points", torch.zeros(1, dtype=torch.float64))
        self.register_buffer("total", torch.zeros(width, dtype=torch.float64))

    def forward(self, points: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """The sum over points with features ``(Q, C)``, of which ``(Q, S)`` is the truth; float32."""
        predicted: torch.Tensor = self.out(points)
        return (predicted.float() - truth).square().mean(-1).sum()

    def observe(self, truth: torch.Tensor) -> None:
        """Adds up points and what is around them."""
        self.points += len(truth)
        self.total += truth.double().sum(0)

    def baseline(self, truth: torch.Tensor) -> torch.Tensor:
        """The sum for the mean of all that was observed."""
        mean = self.total / self.points.clamp_min(1.0)
        return (truth - mean).square().mean(-1).sum().float()
