"""What is predicted of hidden units: each of their numbers, as a distribution over bins.

A cross-entropy for all kinds of fields: in nats, so that terms can be compared and added, and blind to
nothing that a distribution can be (several peaks, edges, a mass at one value).

Legend: H hidden units, S slots, L bins of all slots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from hepfm.api import PartSchema, RaggedTables, Target, Units
from hepfm.nn.init import linear
from hepfm_structured.rebuild import predicted_tables
from hepfm_structured.records import Records
from hepfm_structured.slots import Slot, runs


@dataclass(frozen=True, kw_only=True)
class HiddenNumbers:
    """The truth of H hidden units.

    Attributes:
        asked: ``(H, S)`` bool: it is the unit's, and known.
        bin: ``(H, S)`` int64, 0 where not asked.
    """

    asked: torch.Tensor
    bin: torch.Tensor


def hidden_numbers(
    records: Records, hidden: torch.Tensor, slots: Sequence[Slot], *, given: torch.Tensor, bins: int
) -> Target:
    """The target of the units of a mask ``(U,)`` bool; slots ``given (S,)`` bool are not asked for."""
    record = records.unit[hidden]
    asked = records.own[hidden] & records.known[record] & ~given
    value = records.value[record]
    bin_ = torch.zeros_like(value, dtype=torch.int64)
    for i, slot in enumerate(slots):
        bin_[:, i] = slot.bin(value[:, i], bins).where(asked[:, i], 0)
    n = asked.sum(0).tolist()
    counts = {
        term: sum(n[i] for i in mine) for term, mine in runs(slots) if not all(bool(given[i]) for i in mine)
    }
    return Target(counts=counts, payload=HiddenNumbers(asked=asked, bin=bin_))


class FieldDecoder(nn.Module):
    """A distribution over bins for each number of a row.

    Attributes:
        terms: Column to the weight of its loss.
    """

    count: torch.Tensor

    def __init__(
        self,
        d_model: int,
        *,
        schema: PartSchema,
        slots: Sequence[Slot],
        terms: Mapping[str, float],
        bins: int,
        whole: bool,
        point_width: int,
    ) -> None:
        super().__init__()
        self.schema, self.slots, self.terms, self.bins = schema, tuple(slots), dict(terms), bins
        self.sizes = [slot.n_bins(bins) for slot in slots]
        self.norm = nn.LayerNorm(d_model)
        self.out = linear(d_model, sum(self.sizes), gain=0.02)
        self.same_row = None if whole else nn.Linear(point_width, d_model, bias=False)
        self.width = d_model
        self.register_buffer("count", torch.zeros(sum(self.sizes), dtype=torch.float64))

    def hints(self, units: Units, visible: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """``(H, d_model)``: what visible fields of its row say of a hidden one; zeros for whole objects."""
        records: Records = units.payload
        if self.same_row is None:
            return points.new_zeros(int((~visible).sum()), self.width)
        total = points.new_zeros(len(records.table), points.shape[1])
        total = total.index_add(0, records.unit[visible], points)
        hint: torch.Tensor = self.same_row(total.index_select(0, records.unit[~visible]))
        return hint

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(H, d_model)`` to logits ``(H, L)`` float32."""
        logits: torch.Tensor = self.out(self.norm(x))
        return logits.float()

    def loss(self, prediction: torch.Tensor, target: Target) -> dict[str, torch.Tensor]:
        """The sum of each column's cross-entropy over the hidden numbers that are known."""
        truth: HiddenNumbers = target.payload
        logits = torch.split(prediction, self.sizes, 1)
        return {
            term: torch.stack(
                [
                    cross_entropy(
                        logits[i][truth.asked[:, i]], truth.bin[truth.asked[:, i], i], reduction="sum"
                    )
                    for i in mine
                ]
            ).sum()
            for term, mine in self._asked()
        }

    def observe(self, target: Target) -> None:
        """Counts the bins."""
        truth: HiddenNumbers = target.payload
        self.count += torch.cat(
            [
                torch.bincount(truth.bin[truth.asked[:, i], i], minlength=size)
                for i, size in enumerate(self.sizes)
            ]
        )

    def baseline(self, target: Target) -> dict[str, torch.Tensor]:
        """The sums for how often each bin was seen (Jeffreys' estimate)."""
        truth: HiddenNumbers = target.payload
        rates = [((n + 0.5) / (n + 0.5).sum()).log() for n in torch.split(self.count, self.sizes)]
        return {
            term: -torch.stack(
                [rates[i].index_select(0, truth.bin[truth.asked[:, i], i]).sum() for i in mine]
            )
            .sum()
            .float()
            for term, mine in self._asked()
        }

    def tables(self, prediction: torch.Tensor, units: Units, hidden: torch.Tensor) -> RaggedTables:
        """The rows of hidden units, with the median of each number or the likeliest class."""
        predicted = torch.full((len(prediction), len(self.slots)), torch.inf, dtype=torch.float64)
        predicted = predicted.to(prediction.device)
        logits, asked = torch.split(prediction, self.sizes, 1), dict(self._asked())
        for i in [i for mine in asked.values() for i in mine]:
            slot = self.slots[i]
            if slot.kind in {"continuous", "positive"}:
                bin_ = (logits[i].softmax(1).cumsum(1) < 0.5).sum(1).clamp_max(self.sizes[i] - 1)
            else:
                bin_ = logits[i].argmax(1)
            predicted[:, i] = slot.middle(bin_, self.bins)
        return predicted_tables(units.payload, hidden, self.schema, self.slots, predicted)

    def _asked(self) -> list[tuple[str, list[int]]]:
        return [(term, mine) for term, mine in runs(self.slots) if term in self.terms]
