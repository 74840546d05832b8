"""Initialisation of linear layers: a truncated normal, as vision transformers have it."""

from __future__ import annotations

from torch import nn


def linear(d_in: int, d_out: int, *, std: float = 0.02) -> nn.Linear:
    """A linear layer with weights from a normal of this standard deviation, cut at two of it; biases zero."""
    layer = nn.Linear(d_in, d_out)
    nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
    nn.init.zeros_(layer.bias)
    return layer
