"""Initialisation of linear layers."""

from __future__ import annotations

from torch import nn


def linear(d_in: int, d_out: int, *, gain: float = 1.0) -> nn.Linear:
    """A linear layer that keeps the scale of what passes through it, times ``gain``; biases zero.

    Weights are normal with variance ``2 / (d_in + d_out)`` (Glorot and Bengio 2010), cut at two sigma. A
    fixed 0.02, as large models have it, lets a narrow one's tokens fade: it learns the marginals and no more.
    """
    layer = nn.Linear(d_in, d_out)
    std = gain * (2.0 / (d_in + d_out)) ** 0.5
    nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
    nn.init.zeros_(layer.bias)
    return layer
