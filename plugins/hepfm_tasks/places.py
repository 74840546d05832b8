"""Where the points of an event lie as seen from anchors: distances from middles and axes of what is there.

They are quadratic in a point's place: one matrix product with the places' monomials makes them for all pairs
of anchor and point.

Legend of shapes: N points of one event, A anchors, R rows, P position axes, M = P * P + P + 1 monomials.
"""

from __future__ import annotations

import torch
from torch import Tensor

NEAR = 1.5
"""Distance, in units, within which the points around an anchor tell the local axis."""

LEAST = 0.25
"""Distances, in units, below which places are the same: somewhat more than a voxel of a cell of six."""

DISTANCES = 4
"""How many distances there are, see `Places.distances`."""


class Places:
    """The places of one event's points, and its anchors.

    Args:
        positions: ``(N, P)``, in units.
        anchors: ``(A,)`` int64 rows.
    """

    def __init__(self, positions: Tensor, anchors: Tensor) -> None:
        # Around their own middle, where squares are small and their differences exact.
        x = positions - positions.mean(0) if len(positions) else positions
        square = (x[:, :, None] * x[:, None, :]).flatten(1)
        self.monomials = torch.cat((square, x, torch.ones_like(x[:, :1])), 1)
        self.axes = x.shape[1]
        apart = torch.cdist(x[anchors], x, compute_mode="donot_use_mm_for_euclid_dist").square()
        blob, axis = self._of((apart * -(NEAR**-2)).clamp(min=-20.0).exp())  # denormal numbers are slow
        self.fixed = torch.stack((_log(apart * LEAST**-2), axis), 1)
        self.near = torch.cat((self.fixed, torch.stack((blob, axis), 1)), 1)

    @torch.no_grad()
    def distances(self, mask: Tensor | None) -> Tensor:
        """``(A, 4, N)`` logarithms of the distances of each point.

        They are those from the anchor; from the axis of the points near the anchor; from the middle of a
        mask, in units of its spread in that direction (Mahalanobis); and from the axis of the mask. No
        gradient passes.

        Args:
            mask: ``(A, N)`` logits; None for the points near the anchor.
        """
        if mask is None:
            return self.near
        blob, axis = self._of(mask.float().sigmoid().square())
        return torch.cat((self.fixed, torch.stack((blob, axis), 1)), 1)

    def _of(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """``(A, N)`` log distances from the middle and from the axis of points that weigh ``(A, N)``."""
        axes = self.axes
        with torch.autocast(weight.device.type, enabled=False):
            weight = weight / weight.sum(1, keepdim=True).clamp(min=1e-6)
            moments = weight @ self.monomials
            mean = moments[:, -axes - 1 : -1]
            spread = moments[:, : axes * axes].reshape(-1, axes, axes)
            spread = spread - mean[:, :, None] * mean[:, None, :]
            one = torch.eye(axes, device=mean.device)
            spread = spread + LEAST**2 * one
            axis = spread
            for _ in range(2):  # towards the longest axis alone, and smooth where none is longest
                axis = axis @ axis
                axis = axis / axis.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
            across = (one - axis) * LEAST**-2
            both = torch.cat((_form(torch.linalg.inv(spread), mean), _form(across, mean)))
            from_middle, from_axis = _log(both @ self.monomials.T).chunk(2)
        return from_middle, from_axis


def _form(matrix: Tensor, y: Tensor) -> Tensor:
    """``(R, M)`` coefficients of ``(x - y) matrix (x - y)`` in the monomials of x."""
    towards = ((matrix + matrix.mT) @ y[:, :, None])[:, :, 0]
    constant = (towards * y).sum(1, keepdim=True) / 2
    return torch.cat((matrix.flatten(1), -towards, constant), 1)


def _log(square: Tensor) -> Tensor:
    """The logarithm of a distance from its square ``(A, N)``, zero where it is none."""
    return square.clamp(min=0).log1p() / 2


def directions(positions: Tensor) -> Tensor:
    """``(N, P * P)``: places along the axes and along their diagonals, of places ``(N, P)``."""
    axes = positions.shape[1]
    first, second = torch.triu_indices(axes, axes, 1, device=positions.device)
    a, b = positions[:, first], positions[:, second]
    return torch.cat((positions, (a + b) * 0.5**0.5, (a - b) * 0.5**0.5), 1)
