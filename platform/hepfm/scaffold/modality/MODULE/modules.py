"""What is learned of NAME: cells to tokens, and decoded tokens to the energies of hidden cells.

Legend of shapes: U cells that were hit, V visible ones, H hidden ones, K places, D width.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from hepfm.api import Ragged, RaggedTable, RaggedTables, Target, Units
from hepfm.nn.init import linear
from hepfm.nn.position import PositionEmbedding
from hepfm.nn.ragged import offsets_of, segment_sum


class CellTokenizer(nn.Module):
    """A cell to a token (`hepfm.api.Tokenizer`). It consists of nothing smaller: its point is itself."""

    point_width = 1

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.content = nn.Sequential(linear(1, d_model), nn.GELU(), linear(d_model, d_model))
        self.place = PositionEmbedding(3, d_model)

    def forward(self, units: Units, visible: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens ``(V, D)``, and of each visible cell the logarithm of its energy ``(V, 1)``."""
        log_energy = units.payload.energy_mev[visible, None].log1p()
        return self.content(log_energy) + self.place(units.positions[visible]), log_energy

    def position(self, positions: torch.Tensor) -> torch.Tensor:
        """Places ``(K, 3)`` to ``(K, D)``, for cells whose content is hidden."""
        embedded: torch.Tensor = self.place(positions)
        return embedded

    def spread(self, points: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """``(V, W)`` as it is: cells are points."""
        return x

    def features(self, points: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """``(V, 1)``: the logarithm of the energy, which tasks read beside the encoded token."""
        return points

    def rows(self, units: Units, values: torch.Tensor) -> Ragged:
        """Values ``(U, F)`` of all cells at the hits ``(N, F)``."""
        return Ragged(values[units.payload.unit], units.payload.hits.offsets)


class CellDecoder(nn.Module):
    """Predicts the energies of hidden cells (`hepfm.api.Decoder`)."""

    terms: ClassVar[dict[str, float]] = {"energy": 1.0}
    seen: torch.Tensor
    """``(2,)`` float64: number and sum of the targets that were observed."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.out = linear(d_model, 1)
        self.register_buffer("seen", torch.zeros(2, dtype=torch.float64))

    def hints(self, units: Units, visible: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """``(H, D)`` zeros: what other cells say reaches a hidden one by attention."""
        return units.positions.new_zeros(int((~visible).sum()), self.out.in_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(H,)`` logarithms of energies, from decoded tokens ``(H, D)``."""
        log_energy: torch.Tensor = self.out(x)[:, 0]
        return log_energy

    def loss(self, prediction: torch.Tensor, target: Target) -> dict[str, torch.Tensor]:
        """Squared errors, summed."""
        return {"energy": (prediction.float() - target.payload).square().sum()}

    def observe(self, target: Target) -> None:
        """Adds the targets to the marginals: their mean is what one predicts without learning."""
        self.seen[0] += len(target.payload)
        self.seen[1] += target.payload.sum()

    def baseline(self, target: Target) -> dict[str, torch.Tensor]:
        """Squared errors of the mean."""
        return self.loss(self.seen[1] / self.seen[0].clamp(min=1), target)

    def tables(self, prediction: torch.Tensor, units: Units, hidden: torch.Tensor) -> RaggedTables:
        """The hidden cells with their predicted energies."""
        columns = {
            "cell": units.positions[hidden].long(),
            "energy_mev": prediction.float().expm1().clamp(min=0),
        }
        return {"hits": RaggedTable(columns, offsets_of(segment_sum(hidden.long(), units.offsets)))}
