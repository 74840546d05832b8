"""From the samples of a patch to a token, and back to features of each sample.

Legend: U units, V visible ones, P samples of a patch, Q samples that are known, C width, D model width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from hepfm.api import Ragged, Units
from hepfm.nn.init import linear
from hepfm.nn.position import PositionEmbedding
from hepfm_waveform.windows import Windows


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Samples of visible patches.

    Attributes:
        known: ``(V, P)`` bool, where they are.
        x_VPC: What is known of each sample from those around it.
    """

    known: torch.Tensor
    x_VPC: torch.Tensor  # noqa: N815  the house's suffixes of shapes


class SampleLayer(nn.Module):
    """What a sample learns from those before and after it in its patch: a pre-norm residual layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.around = nn.Conv1d(width, width, 5, padding=2)
        self.out = nn.Conv1d(width, width, 1)

    def forward(self, x_VCP: torch.Tensor) -> torch.Tensor:
        update: torch.Tensor = self.out(nn.functional.gelu(self.around(self.norm(x_VCP))))
        return x_VCP + update


class PatchTokenizer(nn.Module):
    """Convolutions over the samples of each patch by itself, and a linear layer over all of its samples.

    No convolution looks across the end of a patch: what is next to it may be hidden.
    """

    INPUTS = 3
    """Of each sample: its value, whether it is known, whether it is saturated."""

    def __init__(
        self, d_model: int, *, patch: int, n_positions: int, width: int, layers: int, point_width: int
    ) -> None:
        super().__init__()
        self.patch, self.point_width = patch, point_width
        self.lift = nn.Conv1d(self.INPUTS, width, 5, padding=2)
        self.layers = nn.ModuleList(SampleLayer(width) for _ in range(layers))
        self.pool = linear((width + self.INPUTS) * patch, d_model)
        self.position = PositionEmbedding(n_positions, d_model)
        self.told = linear(d_model, patch * point_width)
        self.join = linear(width + self.INPUTS, point_width)

    def forward(self, units: Units, visible: torch.Tensor) -> tuple[torch.Tensor, Samples]:
        """``(V, d_model)`` of the visible patches, and their samples: see `hepfm.api.Tokenizer`."""
        windows: Windows = units.payload
        known = windows.known[visible]
        given_VCP = torch.stack((windows.value[visible], known.float(), windows.clipped[visible].float()), 1)
        x_VCP = self.lift(given_VCP)
        for layer in self.layers:
            x_VCP = layer(x_VCP)
        x_VCP = torch.cat((x_VCP, given_VCP.to(x_VCP.dtype)), 1)
        token: torch.Tensor = self.pool(x_VCP.flatten(1)) + self.position(units.positions[visible])
        return token, Samples(known=known, x_VPC=x_VCP.transpose(1, 2))

    def spread(self, points: Samples, x: torch.Tensor) -> torch.Tensor:
        """Each sample has the values of its patch."""
        return x.index_select(0, points.known.nonzero()[:, 0])

    def features(self, points: Samples, x: torch.Tensor) -> torch.Tensor:
        """``(Q, point_width)``: what is around a sample, and what its token says of its place."""
        told = self.told(x).view(-1, self.patch, self.point_width)
        return nn.functional.gelu(self.join(points.x_VPC) + told)[points.known]

    def rows(self, units: Units, values: torch.Tensor) -> Ragged:
        """Each row has the values of its sample; zeros where it is not known, or in no window."""
        windows: Windows = units.payload
        if not len(values):
            return Ragged(values.new_zeros(len(windows.slot), values.shape[1]), windows.row_offsets)
        # Clamped twice: the first place of all may be no sample, and a row that is in no window looks there.
        point = (windows.known.flatten().long().cumsum(0) - 1).clamp_min(0)[windows.slot.clamp_min(0)]
        there = (windows.slot >= 0)[:, None]
        return Ragged(values.index_select(0, point).where(there, 0.0), windows.row_offsets)
