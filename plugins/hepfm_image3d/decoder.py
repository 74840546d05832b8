"""What is predicted of hidden cells: which of their voxels are occupied, and the energies of those.

Legend: H hidden cells, S = s^3 voxels of a cell, M occupied voxels in hidden cells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import softplus

from hepfm.api import RaggedTable, RaggedTables, Target, Units
from hepfm.nn.init import linear
from hepfm.nn.ragged import offsets_of, segment_sum
from hepfm_image3d.cells import Cells, sub_coordinates
from hepfm_image3d.energy import EnergyMap
from hepfm_image3d.hints import Hints


@dataclass(frozen=True, kw_only=True)
class HiddenVoxels:
    """The truth of H hidden cells.

    Attributes:
        n_cells: H.
        slot: ``(M,)`` int64, ascending: hidden cell times S plus the voxel's index in the cell.
        energy: ``(M,)`` float32 on the energy map.
    """

    n_cells: int
    slot: torch.Tensor
    energy: torch.Tensor


def hidden_voxels(cells: Cells, hidden: torch.Tensor, energy: EnergyMap) -> Target:
    """The target for the cells of a mask ``(U,)`` bool."""
    kept, volume = cells.keep(hidden), cells.side**3
    voxels = HiddenVoxels(
        n_cells=len(kept), slot=kept.cell * volume + kept.sub, energy=energy(kept.energy_mev)
    )
    return Target(counts={"occupancy": len(kept) * volume, "energy": len(kept.sub)}, payload=voxels)


class CellDecoder(nn.Module):
    """Occupancy (cross-entropy over all voxels of a cell) and energy (squared error over the occupied ones).

    Attributes:
        terms: Loss term to its weight.
    """

    cells: torch.Tensor
    occupied: torch.Tensor
    energy_sum: torch.Tensor

    def __init__(
        self, d_model: int, *, side: int, point_width: int, energy: EnergyMap, terms: Mapping[str, float]
    ) -> None:
        super().__init__()
        self.side, self.energy, self.terms = side, energy, dict(terms)
        self.volume = side**3
        self.hint = Hints(point_width, d_model, side=side)
        self.norm = nn.LayerNorm(d_model)
        # Predictions start near the marginals: a straight track fills about s of a cell's s^3 voxels, and a
        # muon leaves some 0.5 MeV in a voxel. Larger weights would add noise,
        # which the layers before would learn to suppress, and what they know of the event with it.
        self.out = linear(d_model, 2 * self.volume, gain=0.02)
        nn.init.constant_(self.out.bias[: self.volume], -math.log(side * side - 1))
        nn.init.constant_(self.out.bias[self.volume :], float(energy(torch.tensor(0.5))))
        self.register_buffer("cells", torch.zeros(1, dtype=torch.float64))
        self.register_buffer("occupied", torch.zeros(self.volume, dtype=torch.float64))
        self.register_buffer("energy_sum", torch.zeros(1, dtype=torch.float64))

    def hints(self, units: Units, visible: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """What visible voxels say of hidden cells near them."""
        hint: torch.Tensor = self.hint(units.payload.cells, visible, points)
        return hint

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(H, d_model)`` to ``(H, 2, S)`` float32: logits of occupancy, and energies on the energy map."""
        prediction: torch.Tensor = self.out(self.norm(x))
        return prediction.float().view(-1, 2, self.volume)

    def loss(self, prediction: torch.Tensor, target: Target) -> dict[str, torch.Tensor]:
        """Sums over the hidden cells' voxels, and over the occupied ones among them."""
        truth: HiddenVoxels = target.payload
        logits, energy = (plane.flatten() for plane in prediction.unbind(1))
        # -log p(empty) of all, and for the occupied log p(empty) - log p(occupied) = -logit.
        occupancy = softplus(logits).sum() - logits.index_select(0, truth.slot).sum()
        squared = (energy.index_select(0, truth.slot) - truth.energy).square().sum()
        return {"occupancy": occupancy, "energy": squared}

    def observe(self, target: Target) -> None:
        """Adds up cells, occupied voxels at each place in a cell, and their energies."""
        truth: HiddenVoxels = target.payload
        self.cells += truth.n_cells
        self.occupied += torch.bincount(truth.slot % self.volume, minlength=self.volume)
        self.energy_sum += truth.energy.double().sum()

    def baseline(self, target: Target) -> dict[str, torch.Tensor]:
        """The sums for each place's rate of occupancy (Jeffreys' estimate) and the mean energy."""
        truth: HiddenVoxels = target.payload
        rate = (self.occupied + 0.5) / (self.cells + 1.0)
        occupied = torch.bincount(truth.slot % self.volume, minlength=self.volume).double()
        occupancy = -(occupied * rate.log() + (truth.n_cells - occupied) * (-rate).log1p()).sum()
        mean = self.energy_sum / self.occupied.sum().clamp_min(1.0)
        return {"occupancy": occupancy.float(), "energy": (truth.energy - mean).square().sum().float()}

    def statistics(self, prediction: torch.Tensor, target: Target) -> torch.Tensor:
        """``(7,)``: occupied voxels that are among the most probable, these, and all that are occupied.

        Then the energy in MeV of the two latter; and of the former the sum, and that of squares, of the
        logarithm of predicted over true energy.
        """
        truth: HiddenVoxels = target.payload
        logits, energy = prediction.unbind(1)
        cell, sub, _ = _most_probable(logits)
        chosen, predicted = cell * self.volume + sub, self.energy.inverse(energy).double().flatten()
        true_mev = self.energy.inverse(truth.energy).double()
        hit = torch.isin(truth.slot, chosen)
        ratio = (predicted[truth.slot[hit]].clamp_min(1e-3) / true_mev[hit].clamp_min(1e-3)).log()
        counts = true_mev.new_tensor([len(ratio), len(chosen), len(truth.slot)])
        energies = torch.stack((predicted[chosen].sum(), true_mev.sum(), ratio.sum(), ratio.square().sum()))
        return torch.cat((counts, energies))

    def figures(self, sums: Any) -> dict[str, float]:
        """``precision`` and ``recall`` of occupied voxels, as many taken as are expected.

        ``energy_ratio`` is all energy that was filled in over all that was hidden; ``energy_bias`` and
        ``energy_spread`` are mean and standard deviation of the logarithm of predicted over true energy, of
        voxels that were found.
        """
        hits, chosen, occupied, predicted_mev, true_mev, ratio, squares = map(float, sums)
        found = {}
        if chosen:
            found["precision"] = hits / chosen
        if occupied:
            found |= {"recall": hits / occupied, "energy_ratio": predicted_mev / true_mev}
        if hits:
            found["energy_bias"] = ratio / hits
            found["energy_spread"] = math.sqrt(max(squares / hits - (ratio / hits) ** 2, 0.0))
        return found

    def tables(self, prediction: torch.Tensor, units: Units, hidden: torch.Tensor) -> RaggedTables:
        """In each hidden cell its most probable voxels, as many as are expected, with their energies."""
        logits, energy = prediction.unbind(1)
        cell, sub, expected = _most_probable(logits)
        corner = units.payload.cells.coordinates()[hidden] * self.side
        per_unit = expected.new_zeros(len(hidden)).masked_scatter_(hidden, expected)
        return {
            "voxels": RaggedTable(
                columns={
                    "voxel": corner[cell] + sub_coordinates(sub, self.side),
                    "energy_mev": self.energy.inverse(energy[cell, sub]),
                },
                offsets=offsets_of(segment_sum(per_unit, units.offsets)),
            )
        }


def _most_probable(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cell and place of each cell's most probable voxels; as many as are expected, ``(H,)``, the third."""
    expected = logits.sigmoid().sum(-1).round().long()
    by_probability = logits.argsort(dim=-1, descending=True, stable=True)
    taken = torch.arange(logits.shape[1], device=logits.device) < expected[:, None]
    cell, rank = taken.nonzero(as_tuple=True)
    return cell, by_probability[cell, rank], expected
