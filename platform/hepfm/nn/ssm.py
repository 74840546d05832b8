"""A state-space backbone over packed events: each layer reads its event's rows one after another, both ways.

Mamba-2 (Dao and Gu, arXiv:2405.21060) or S4D (Gu et al., arXiv:2206.11893) in the place of the transformer's
attention; the rest of a block is the transformer's. The cost grows with the length of an event and not with
its square.

A state space needs an order. By default tokens are read along a Hilbert curve through their positions, part
by part; the output is in the order of the input. Positions also enter as an embedding, added to the input.

Legend of shapes: B events, T rows, D model width, H heads, P head width, N state's width, M complex states.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from hepfm.api import Tokens
from hepfm.nn.chunks import ChunkLayout
from hepfm.nn.curve import curve_order
from hepfm.nn.init import linear
from hepfm.nn.position import PositionEmbedding
from hepfm.nn.ragged import event_index
from hepfm.nn.rows import move_rows
from hepfm.nn.s4d import FourierLayout, s4d, s4d_kernel
from hepfm.nn.ssd import ssd
from hepfm.nn.stack import add_branches, check_layers, drop_path_of, through, two_layers
from hepfm.nn.transformer import SIZES
from hepfm.random import Draws

MEMORY = (2.0, 512.0)
"""Rows that heads (of ssd) or channels (of s4d) remember at first, from the shortest to the longest."""


class SsmConfig(BaseModel):
    """A state-space model's size, its scan, and its regularisation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    size: Literal["tiny", "small", "base"] = "tiny"
    """128 x 5 with 4 heads, 384 x 12 with 6, 768 x 12 with 12: the transformer's."""
    d_model: int | None = Field(default=None, gt=0)
    """Width, instead of the size's."""
    n_layers: int | None = Field(default=None, gt=0)
    """Layers, instead of the size's."""
    n_heads: int | None = Field(default=None, gt=0)
    """Heads of ssd, instead of the size's; even: half read forward, half in reverse."""
    scan: Literal["ssd", "s4d"] = "ssd"
    """ssd: tokens say what is remembered (Mamba-2); s4d: a convolution, the same for all events."""
    d_state: int = Field(default=32, gt=0, multiple_of=2)
    """Width of a state: numbers that each channel remembers."""
    chunk: int = Field(default=64, ge=2)
    """Rows that ssd computes at once; changes the speed alone. s4d has none, and no heads."""
    order: Literal["hilbert", "packed"] = "hilbert"
    """hilbert: tokens are read along a Hilbert curve through positions; packed: as the modality has them."""
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Probability that an event skips the last layer's branches; earlier layers in proportion."""

    def shape(self) -> tuple[int, int, int]:
        """Width, layers and heads."""
        d_model, n_layers, n_heads = SIZES[self.size]
        return self.d_model or d_model, self.n_layers or n_layers, self.n_heads or n_heads

    @model_validator(mode="after")
    def _fits_the_scan(self) -> Self:
        d_model, _, n_heads = self.shape()
        if self.scan == "s4d":
            # A resolved recipe spells the defaults out, and goes on.
            given = {name: getattr(self, name) for name in ("n_heads", "chunk")}
            if idle := [n for n, value in given.items() if value != type(self).model_fields[n].default]:
                raise ValueError(f"{' and '.join(idle)}: the scan s4d has none; leave it out, or take ssd")
        elif n_heads % 2 or d_model % n_heads:
            raise ValueError(f"n_heads {n_heads} must be even, and d_model {d_model} a multiple of it")
        return self


class SsdMixer(nn.Module):
    """Mixes rows by `hepfm.nn.ssd.ssd`: half of the heads read forward, half in reverse.

    One matrix gives all that is written, read and forgotten, for both ways. Heads that go one way each cost
    what a model that reads forward costs; the next layer sees both.
    """

    def __init__(self, d_model: int, n_heads: int, d_state: int, *, gain: float) -> None:
        super().__init__()
        self.shape, self.d_state = (n_heads, d_model // n_heads), d_state
        self.into = linear(d_model, 2 * d_model + 4 * d_state + n_heads)
        self.log_rate = nn.Parameter(torch.zeros(n_heads))
        step = _memories(n_heads // 2).repeat(2).reciprocal()
        self.step_bias = nn.Parameter(step.expm1().log())  # softplus of it is the step
        self.skip = nn.Parameter(torch.ones(n_heads))
        self.norm = nn.LayerNorm(d_model)
        self.out = linear(d_model, d_model, gain=gain)

    def forward(self, x: Tensor, layout: ChunkLayout) -> Tensor:
        """``(T, D)`` for ``x (T, D)``."""
        n_heads, width = self.shape
        d_model, half = n_heads * width, n_heads // 2
        sizes = (d_model, d_model, *[self.d_state] * 4, n_heads)
        gate, value, b, c, b_reverse, c_reverse, step = self.into(x).split(sizes, 1)
        step_TH = softplus(step.float() + self.step_bias)
        log_decay_TH = -step_TH * self.log_rate.exp()
        value_THP = value.view(len(x), n_heads, width)
        v_THP = value_THP * step_TH[..., None].to(value.dtype)
        forward = ssd(v_THP[:, :half], log_decay_TH[:, :half], b, c, layout)
        back = ssd(v_THP[:, half:], log_decay_TH[:, half:], b_reverse, c_reverse, layout, reverse=True)
        y_THP = torch.cat((forward, back), 1) + value_THP * self.skip[:, None].to(value.dtype)
        mixed: Tensor = self.out(self.norm(y_THP.flatten(1) * silu(gate)))
        return mixed


class S4dMixer(nn.Module):
    """Mixes rows by `hepfm.nn.s4d.s4d`; each channel looks both ways, with the same poles."""

    def __init__(self, d_model: int, d_state: int, *, gain: float) -> None:
        super().__init__()
        n_states = d_state // 2
        self.into = linear(d_model, 2 * d_model)
        self.log_step = nn.Parameter(-_memories(d_model).log())
        # S4D-Lin, equation 9 of the paper. Vectors, since weight decay, which matrices get, would move poles.
        self.log_rate = nn.Parameter(torch.full((d_model * n_states,), math.log(0.5)))
        self.frequency = nn.Parameter((torch.pi * torch.arange(n_states)).repeat(d_model))
        self.read = nn.Parameter(torch.randn(2 * d_model, n_states, 2) * (2 * n_states) ** -0.5)
        self.skip = nn.Parameter(torch.ones(d_model))
        self.norm = nn.LayerNorm(d_model)
        self.out = linear(d_model, d_model, gain=gain)

    def forward(self, x: Tensor, layout: FourierLayout) -> Tensor:
        """``(T, D)`` for ``x (T, D)``."""
        gate, value = self.into(x).chunk(2, 1)
        with torch.autocast(x.device.type, enabled=False):
            pole = torch.complex(-self.log_rate.exp(), self.frequency).view(len(self.log_step), -1)
            log_step = pole * self.log_step.exp()[:, None]
            # A step of constant input (zero-order hold), equation 2 of the paper.
            read = torch.view_as_complex(self.read) * ((log_step.exp() - 1) / pole).repeat(2, 1)
            after, before = s4d_kernel(log_step.repeat(2, 1), read, layout.longest).chunk(2)
        y = s4d(value, after, before, layout).to(value.dtype) + value * self.skip.to(value.dtype)
        mixed: Tensor = self.out(self.norm(y * silu(gate)))
        return mixed


def _memories(n: int) -> Tensor:
    shortest, longest = (math.log(rows) for rows in MEMORY)
    return torch.linspace(longest, shortest, n).exp()


class SsmBlock(nn.Module):
    """A mixer of rows and a two-layer network, each on normalised input and added to it.

    Args:
        config: The model's.
        layer: Number of this layer, from 1; names its drop-path draws.
    """

    def __init__(self, config: SsmConfig, layer: int) -> None:
        super().__init__()
        d_model, n_layers, n_heads = config.shape()
        self.purpose = f"drop-path/{layer}"
        self.drop_path = drop_path_of(layer, n_layers, config.drop_path)
        gain = (2 * n_layers) ** -0.5
        self.norm_mixer = nn.LayerNorm(d_model)
        self.mixer: SsdMixer | S4dMixer = (
            SsdMixer(d_model, n_heads, config.d_state, gain=gain)
            if config.scan == "ssd"
            else S4dMixer(d_model, config.d_state, gain=gain)
        )
        self.norm_mlp = nn.LayerNorm(d_model)
        self.mlp = two_layers(d_model, gain=gain)

    def forward(
        self, x: Tensor, layout: ChunkLayout | FourierLayout, event: Tensor, draws: Draws | None
    ) -> Tensor:
        """``(T, D)`` for ``x (T, D)`` and the event of each row ``(T,)``."""
        return add_branches(
            x,
            lambda rows: self.mixer(self.norm_mixer(rows), layout),
            lambda rows: self.mlp(self.norm_mlp(rows)),
            event=event,
            draws=draws,
            purpose=self.purpose,
            drop_path=self.drop_path,
        )


class Ssm(nn.Module):
    """Tokens to tokens (`hepfm.api.Backbone`).

    Args:
        config: Its size and scan.
        n_positions: Position axes of its tokens.
    """

    Config: ClassVar[type[SsmConfig]] = SsmConfig

    def __init__(self, config: SsmConfig, *, n_positions: int) -> None:
        super().__init__()
        self.config = config
        self.d_model, self.n_layers, _ = config.shape()
        self.position = PositionEmbedding(n_positions, self.d_model) if n_positions else None
        self.blocks = nn.ModuleList(SsmBlock(config, layer) for layer in range(1, self.n_layers + 1))
        self.norm = nn.LayerNorm(self.d_model)

    def forward(self, tokens: Tokens, *, draws: Draws | None = None, layers: Sequence[int] = ()) -> Tokens:
        """Encoded tokens; arguments as in `hepfm.api.Backbone`.

        Raises:
            RecipeError: If a layer is asked for that there is not.
        """
        check_layers(layers, self.n_layers)
        x = tokens.x if self.position is None else tokens.x + self.position(tokens.positions)
        order = curve_order(tokens) if self.config.order == "hilbert" and len(x) else None
        if order is not None:
            x = move_rows(x, order)
        layout = (
            ChunkLayout(tokens.offsets, self.config.chunk)
            if self.config.scan == "ssd"
            else FourierLayout(tokens.offsets)
        )
        event = event_index(tokens.offsets)
        x = through(x, self.blocks, lambda block, rows: block(rows, layout, event, draws), self.norm, layers)
        if order is not None:
            x = move_rows(x, order.inverse())
        return replace(tokens, x=x)
