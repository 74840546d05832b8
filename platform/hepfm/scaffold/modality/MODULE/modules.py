"""What is learned of NAME: cells to tokens, and decoded tokens to what hidden cells hold.

Legend of shapes: U cells that were hit, V visible and H hidden ones, F numbers of a cell, K places, D width.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from hepfm.api import Ragged, RaggedTable, RaggedTables, Target, Units
from hepfm.nn.init import linear
from hepfm.nn.position import PositionEmbedding
from hepfm.nn.ragged import offsets_of, segment_sum


CONTENT = ("energy",)
"""What a cell holds, each a number and a term of the loss: seen of visible cells, predicted of hidden ones.
The energy is ln(1 + E / MeV)."""


class CellTokenizer(nn.Module):
    """A cell to a token (`hepfm.api.Tokenizer`). It consists of nothing smaller: its point is itself."""

    point_width = len(CONTENT)

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.content = nn.Sequential(linear(len(CONTENT), d_model), nn.GELU(), linear(d_model, d_model))
        self.place = PositionEmbedding(3, d_model)

    def forward(self, units: Units, visible: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens ``(V, D)``, and the content of each visible cell ``(V, F)``."""
        content = units.payload.content[visible]
        return self.content(content) + self.place(units.positions[visible]), content

    def position(self, positions: torch.Tensor) -> torch.Tensor:
        """Places ``(K, 3)`` to ``(K, D)``, for cells whose content is hidden."""
        embedded: torch.Tensor = self.place(positions)
        return embedded

    def spread(self, points: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """``(V, W)`` as it is: cells are points."""
        return x

    def features(self, points: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """``(V, F)``: the content, which tasks read beside the encoded token."""
        return points

    def rows(self, units: Units, values: torch.Tensor) -> Ragged:
        """Values ``(U, ...)`` of all cells at their hits ``(N, ...)``."""
        return Ragged(values[units.payload.unit], units.payload.hits.offsets)


class CellDecoder(nn.Module):
    """Predicts the content of hidden cells (`hepfm.api.Decoder`)."""

    terms: ClassVar[dict[str, float]] = dict.fromkeys(CONTENT, 1.0)
    seen: torch.Tensor
    """``(1 + F,)`` float64: number and sums of the targets that were observed."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.out = linear(d_model, len(CONTENT))
        self.register_buffer("seen", torch.zeros(1 + len(CONTENT), dtype=torch.float64))

    def hints(self, units: Units, visible: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """``(H, D)`` zeros: what other cells say reaches a hidden one by attention."""
        return units.positions.new_zeros(int((~visible).sum()), self.out.in_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(H, F)`` content, from decoded tokens ``(H, D)``."""
        content: torch.Tensor = self.out(x)
        return content

    def loss(self, prediction: torch.Tensor, target: Target) -> dict[str, torch.Tensor]:
        """Squared errors, summed."""
        errors = (prediction.float() - target.payload).square().sum(0)
        return dict(zip(CONTENT, errors, strict=True))

    def observe(self, target: Target) -> None:
        """Adds the targets to the marginals: their mean is what one predicts without learning."""
        self.seen[0] += len(target.payload)
        self.seen[1:] += target.payload.sum(0)

    def baseline(self, target: Target) -> dict[str, torch.Tensor]:
        """Squared errors of the mean."""
        return self.loss(self.seen[1:] / self.seen[0].clamp(min=1), target)

    def tables(self, prediction: torch.Tensor, units: Units, hidden: torch.Tensor) -> RaggedTables:
        """The hidden cells with what is predicted of them."""
        columns = {
            "cell": units.positions[hidden].long(),
            "energy_mev": prediction[:, 0].float().expm1().clamp(min=0),
        }
        return {"hits": RaggedTable(columns, offsets_of(segment_sum(hidden.long(), units.offsets)))}
