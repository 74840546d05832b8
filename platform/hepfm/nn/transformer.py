"""A pre-norm transformer over packed events, with rotary positions.

Vaswani et al., arXiv:1706.03762; pre-norm: Xiong et al., arXiv:2002.04745.

Legend of shapes: B events, T rows, D model width, H heads, C head width, P position axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from hepfm.api import Tokens
from hepfm.nn.attention import packed_attention
from hepfm.nn.init import linear
from hepfm.nn.layout import PackedLayout
from hepfm.nn.rotary import rotate, rotations
from hepfm.nn.stack import add_branches, check_layers, drop_path_of, through, two_layers
from hepfm.random import Draws

SIZES = {"tiny": (128, 5, 4), "small": (384, 12, 6), "base": (768, 12, 12)}
"""Width, layers and heads of each size."""

NEAREST = 3.0
"""Constant of the head that starts with the shortest range, see `local_bias`."""


class TransformerConfig(BaseModel):
    """A transformer's size, and its regularisation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    size: Literal["tiny", "small", "base"] = "tiny"
    """128 x 5 with 4 heads, 384 x 12 with 6, 768 x 12 with 12."""
    d_model: int | None = Field(default=None, gt=0)
    """Width, instead of the size's."""
    n_layers: int | None = Field(default=None, gt=0)
    """Layers, instead of the size's."""
    n_heads: int | None = Field(default=None, gt=0)
    """Heads, instead of the size's."""
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Probability that an event skips the last layer's branches; earlier layers in proportion."""

    def shape(self) -> tuple[int, int, int]:
        """Width, layers and heads."""
        d_model, n_layers, n_heads = SIZES[self.size]
        return self.d_model or d_model, self.n_layers or n_layers, self.n_heads or n_heads

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        d_model, _, n_heads = self.shape()
        if d_model % n_heads:
            raise ValueError(f"d_model {d_model} is not a multiple of n_heads {n_heads}")
        return self


class Attention(nn.Module):
    """Attention of each event's rows to one another, or (``cross``) to the rows of a memory.

    Across to a memory, values are turned as keys are, and their mean is turned back: it then says where its
    parts lie as seen from the row. A query that knows nothing but its place needs that.
    """

    def __init__(self, d_model: int, n_heads: int, *, cross: bool = False, gain: float = 1.0) -> None:
        super().__init__()
        self.shape = (n_heads, d_model // n_heads)
        if cross:
            self.q, self.kv = linear(d_model, d_model), linear(d_model, 2 * d_model)
            first: tuple[Tensor, Tensor] = (self.q.bias, self.kv.bias)
        else:
            self.qkv = linear(d_model, 3 * d_model)
            first = (self.qkv.bias, self.qkv.bias[d_model:])
        self.out = linear(d_model, d_model, gain=gain)
        with torch.no_grad():
            for bias in first:
                bias[:d_model] = local_bias(*self.shape).flatten()

    def forward(
        self,
        x: Tensor,
        layout: PackedLayout,
        rotation: Tensor,
        memory: Tensor | None = None,
        memory_rotation: Tensor | None = None,
        turns: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """``(T, D)`` for ``x (T, D)``; arguments as in `Block`."""
        n_heads, width = self.shape
        if memory is None:
            # Queries and keys lie side by side: one turn serves both.
            qk, v = self.qkv(x).unflatten(1, (3 * n_heads, width)).split((2 * n_heads, n_heads), 1)
            q, k = rotate(qk, rotation).chunk(2, 1)
            mixed = packed_attention(q, k, v, layout)
        else:
            assert memory_rotation is not None
            back, there = turns or (rotation, memory_rotation)
            k, v = self.kv(memory).unflatten(1, (2 * n_heads, width)).chunk(2, 1)
            q = rotate(self.q(x).unflatten(1, (n_heads, width)), rotation)
            mixed = packed_attention(q, rotate(k, memory_rotation), rotate(v, there), layout)
            mixed = rotate(mixed, back.conj())
        attended: Tensor = self.out(mixed.flatten(1))
        return attended


def local_bias(n_heads: int, width: int) -> Tensor:
    """``(H, C)`` what queries and keys have in common at first: heads that look near, of several ranges.

    The score of equal constants b in each pair of channels is ``b^2 sum cos(angle) / sqrt(C)``, largest where
    positions are equal. The first head starts without it, the last one sees next neighbours. Attention that
    starts uniform over an event averages away what lies next to a row, and is slow to find it.
    """
    strength = torch.linspace(NEAREST, 0, n_heads).flip(0)
    return torch.stack((strength, torch.zeros(n_heads)), 1).repeat(1, width // 2)


class Block(nn.Module):
    """Attention and a two-layer network, each on normalised input and added to it.

    Args:
        d_model: Width D.
        n_heads: Heads.
        layer: Number of this layer, from 1; names its drop-path draws.
        n_layers: Layers of the stack; what each one adds starts smaller in a deeper one.
        cross: Whether rows attend to a memory instead of to one another.
        drop_path: Probability that an event skips a branch.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        *,
        layer: int = 1,
        n_layers: int = 1,
        cross: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.purpose, self.drop_path = f"drop-path/{layer}", drop_path
        gain = (2 * n_layers) ** -0.5
        self.norm_attention = nn.LayerNorm(d_model)
        self.attention = Attention(d_model, n_heads, cross=cross, gain=gain)
        self.norm_mlp = nn.LayerNorm(d_model)
        self.mlp = two_layers(d_model, gain=gain)

    def forward(
        self,
        x: Tensor,
        layout: PackedLayout,
        rotation: Tensor,
        *,
        memory: Tensor | None = None,
        memory_rotation: Tensor | None = None,
        turns: tuple[Tensor, Tensor] | None = None,
        draws: Draws | None = None,
    ) -> Tensor:
        """``(T, D)`` for ``x (T, D)``.

        Args:
            x: Rows of the events.
            layout: Their offsets; with a memory, the offsets of both.
            rotation: `hepfm.nn.rotary.rotations` of the rows' positions, for the width of a head.
            memory: ``(T_k, D)`` rows to attend to, normalised, if the block was made with ``cross``.
            memory_rotation: The rotations of the memory's positions.
            turns: By which values are turned back at the rows, and turned in the memory, where that is not as
                queries and keys are: a value is turned in full also where a key's place says little.
            draws: The events' random numbers for drop-path; None switches it off.
        """
        return add_branches(
            x,
            lambda rows: self.attention(
                self.norm_attention(rows), layout, rotation, memory, memory_rotation, turns
            ),
            lambda rows: self.mlp(self.norm_mlp(rows)),
            event=None if draws is None else layout.event,
            draws=draws,
            purpose=self.purpose,
            drop_path=self.drop_path,
        )


class Transformer(nn.Module):
    """Tokens to tokens (`hepfm.api.Backbone`, `hepfm.api.Causal`).

    Args:
        config: Its size.
        n_positions: Position axes P of its tokens.

    Raises:
        RecipeError: If the heads are too narrow for the axes.
    """

    Config: ClassVar[type[TransformerConfig]] = TransformerConfig

    def __init__(self, config: TransformerConfig, *, n_positions: int) -> None:
        super().__init__()
        self.d_model, self.n_layers, n_heads = config.shape()
        self.causal = False
        self.head_width = self.d_model // n_heads
        rotations(torch.empty(0, n_positions), self.head_width)  # refuses at once what cannot be turned
        self.blocks = nn.ModuleList(
            Block(
                self.d_model,
                n_heads,
                layer=layer,
                n_layers=self.n_layers,
                drop_path=drop_path_of(layer, self.n_layers, config.drop_path),
            )
            for layer in range(1, self.n_layers + 1)
        )
        self.norm = nn.LayerNorm(self.d_model)

    def forward(self, tokens: Tokens, *, draws: Draws | None = None, layers: Sequence[int] = ()) -> Tokens:
        """Encoded tokens; arguments as in `hepfm.api.Backbone`.

        Raises:
            RecipeError: If a layer is asked for that there is not.
        """
        check_layers(layers, self.n_layers)
        layout = PackedLayout(tokens.offsets, causal=self.causal)
        rotation = rotations(tokens.positions, self.head_width, tokens.reach)
        x = through(
            tokens.x,
            self.blocks,
            lambda block, rows: block(rows, layout, rotation, draws=draws),
            self.norm,
            layers,
        )
        return replace(tokens, x=x)
