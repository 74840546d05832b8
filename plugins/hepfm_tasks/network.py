"""The network of a head: small, since the features are what was pretrained."""

from __future__ import annotations

from torch import nn

from hepfm.nn.init import linear


def mlp(d_in: int, width: int, d_out: int, *, gain: float = 1.0) -> nn.Sequential:
    """A norm, a hidden layer of ``width`` (none if 0), and outputs whose scale is times ``gain``."""
    hidden = [linear(d_in, width), nn.GELU()] if width else []
    return nn.Sequential(nn.LayerNorm(d_in), *hidden, linear(width or d_in, d_out, gain=gain))
