"""How far vectors spread over the directions that they could: what a collapse of representations takes away.

Legend: T vectors, D their width.
"""

from __future__ import annotations

import torch
from torch import nn


class Spread(nn.Module):
    """Sums over vectors, which add up over batches and ranks, and figures of them.

    Args:
        width: Of the vectors, D.
    """

    count: torch.Tensor
    total: torch.Tensor
    outer: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        for name, shape in (("count", (1,)), ("total", (width,)), ("outer", (width, width))):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64), persistent=False)

    @torch.no_grad()
    def add(self, vectors: torch.Tensor) -> None:
        """Adds vectors ``(T, D)``."""
        wide = vectors.double()
        self.count += len(wide)
        self.total += wide.sum(0)
        self.outer += wide.T @ wide

    def figures(self) -> dict[str, float]:
        """``std`` and ``effective_rank``; nothing for fewer than two vectors.

        ``std`` is the standard deviation over vectors, averaged over features. ``effective_rank`` is the
        exponential of the entropy of the covariance's singular values (Roy and Vetterli, EUSIPCO 2007): 1
        where all vectors lie on a line or in a point, D where they spread alike in all directions.
        """
        if self.count < 2:
            return {}
        mean = self.total / self.count
        covariance = self.outer / self.count - torch.outer(mean, mean)
        values = torch.linalg.eigvalsh(covariance).clamp_min(0)  # singular values, too: it is symmetric
        share = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny)
        return {
            "std": float(covariance.diagonal().clamp_min(0).sqrt().mean()),
            "effective_rank": float(torch.special.entr(share).sum().exp()),
        }
