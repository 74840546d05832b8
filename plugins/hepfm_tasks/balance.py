"""Weights of classes in a loss: those that are rare in training may count for more.

Legend of shapes: N rows, C classes.
"""

from __future__ import annotations

import torch
from torch import nn


class ClassWeights(nn.Module):
    """Cross-entropy with weights that go as ``frequency ** -power``, one on average over what was observed.

    Args:
        classes: C.
        power: 0 for no weights, 1 for all classes alike. Nothing observed, nothing is weighted.
    """

    def __init__(self, classes: int, power: float) -> None:
        super().__init__()
        self.power = power
        self.register_buffer("rows", torch.zeros(classes, dtype=torch.float64))

    rows: torch.Tensor
    """``(C,)`` float64: rows of each class that were observed."""

    def observe(self, index: torch.Tensor) -> None:
        """Counts classes ``(N,)``; negative ones are not known."""
        self.rows.add_(torch.bincount(index[index >= 0], minlength=len(self.rows)))

    def observed(self) -> list[torch.Tensor]:
        """The counts, where they are needed."""
        return [self.rows] if self.power else []

    def weights(self) -> torch.Tensor:
        """``(C,)`` float32. A class that was not there counts as one that was there once."""
        relative = self.rows.clamp(min=1) ** -self.power
        total = self.rows.sum()
        mean = (self.rows * relative).sum() / total if total else relative.new_ones(())
        return (relative / mean).float()

    def cross_entropy(self, logits: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """Summed over the rows ``(N, C)`` whose class ``(N,)`` is known."""
        weight = self.weights() if self.power else None
        return nn.functional.cross_entropy(logits, index, weight, ignore_index=-1, reduction="sum")
