"""From the numbers of a unit to a token, and back to features of each object.

Legend: U units, V visible ones, R records, S slots, D model width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from hepfm.api import Ragged, Units
from hepfm.nn.init import linear
from hepfm.nn.position import PositionEmbedding
from hepfm_structured.records import Records
from hepfm_structured.slots import REACH, Slot

WAVES = (16.0, 4.0, 1.0)
"""Lengths, on the map, of the waves that numbers are told by beside themselves."""
TURNS = (1, 2, 4)
"""Of a periodic number: sines and cosines of so many times the angle."""


class Lift(nn.Module):
    """What is known of rows, as vectors: linear in features of each number, and a vector for each class.

    The vector for a class without a name begins at zero, as do those for what is missing: what training never
    showed adds nothing.
    """

    def __init__(self, slots: Sequence[Slot], d_model: int) -> None:
        super().__init__()
        kinds = [slot.kind for slot in slots]
        self.numbers = [i for i, kind in enumerate(kinds) if kind in {"continuous", "positive"}]
        self.angles = [i for i, kind in enumerate(kinds) if kind == "periodic"]
        self.classes = [i for i, kind in enumerate(kinds) if kind == "categorical"]
        sizes = [len(slots[i].classes) + 1 for i in self.classes]
        self.register_buffer("first", torch.tensor([0, *sizes]).cumsum(0)[:-1], persistent=False)
        self.first: torch.Tensor
        width = len(self.numbers) * (2 + 2 * len(WAVES)) + len(self.angles) * (1 + 2 * len(TURNS))
        self.features = linear(width, d_model) if width else None
        self.of_class = nn.Embedding(sum(sizes), d_model) if sizes else None
        if self.of_class is not None:
            nn.init.trunc_normal_(self.of_class.weight, std=0.5)
            with torch.no_grad():
                self.of_class.weight[self.first] = 0

    def forward(self, value: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
        """``(N, D)`` of values ``(N, S)`` on the map, where they are shown ``(N, S)`` bool."""
        parts = []
        for slots, lengths in ((self.numbers, WAVES), (self.angles, [1.0 / n for n in TURNS])):
            seen, number = shown[:, slots, None].float(), value[:, slots, None]
            angle = number * torch.tensor([2 * math.pi / length for length in lengths], device=value.device)
            given = (seen, seen * angle.sin(), seen * angle.cos())
            parts += [x.flatten(1) for x in given]
            if slots is self.numbers:
                parts.append((seen * number * (4.0 / REACH)).flatten(1))
        x: torch.Tensor = 0.0  # type: ignore[assignment]
        if self.features is not None:
            x = self.features(torch.cat(parts, 1))
        if self.of_class is not None:
            number = value[:, self.classes].long() + self.first
            x = x + (self.of_class(number) * shown[:, self.classes, None]).sum(1)
        return x


@dataclass(frozen=True, kw_only=True)
class Objects:
    """Visible units.

    Attributes:
        x: ``(V, D)`` what each one is by itself.
    """

    x: torch.Tensor


class ObjectTokenizer(nn.Module):
    """A token of what is known of a unit; where units are single fields, beside the visible ones of its row.

    Args:
        d_model: Width.
        slots: Numbers of a row.
        n_place: Axes of the place.
        n_codes: Kinds of units: objects and records, or columns. The last position axis says which, if there
            are several.
        whole: Whether units are whole records.
        point_width: See `hepfm.api.Tokenizer`.
    """

    def __init__(
        self,
        d_model: int,
        *,
        slots: Sequence[Slot],
        n_place: int,
        n_codes: int,
        whole: bool,
        point_width: int,
    ) -> None:
        super().__init__()
        self.n_place, self.n_codes, self.whole, self.point_width = n_place, n_codes, whole, point_width
        self.lift = Lift(slots, d_model)
        if whole:
            self.missing = nn.Parameter(torch.zeros(len(slots), d_model))
        else:
            self.beside = Lift(slots, d_model)
        self.mix = nn.Sequential(
            nn.LayerNorm(d_model), linear(d_model, 2 * d_model), nn.GELU(), linear(2 * d_model, d_model)
        )
        self.code = nn.Embedding(n_codes, d_model)
        nn.init.trunc_normal_(self.code.weight, std=0.5)
        self.place = PositionEmbedding(n_place, d_model) if n_place else None
        self.join = linear(2 * d_model, point_width)

    def forward(self, units: Units, visible: torch.Tensor) -> tuple[torch.Tensor, Objects]:
        """``(V, d_model)`` of the visible units, and what each is by itself: see `hepfm.api.Tokenizer`."""
        records: Records = units.payload
        record, own = records.unit[visible], records.own[visible]
        known = records.known[record]
        x = self.lift(records.value[record], own & known)
        if self.whole:
            x = x + (own & ~known).float() @ self.missing
        else:
            seen = torch.zeros_like(records.known, dtype=torch.float32).index_add(0, record, own.float()) > 0
            given = records.known & (seen | ~records.own.any(0))  # the place makes no unit
            x = x + self.beside(records.value, given).index_select(0, record)
        x = x + self.mix(x)
        return x + self.position(units.positions[visible]), Objects(x=x)

    def position(self, positions: torch.Tensor) -> torch.Tensor:
        """``(K, d_model)``: what kind of unit, and where."""
        code = (
            positions[:, -1].round().long()
            if self.n_codes > 1
            else positions.new_zeros(len(positions)).long()
        )
        x: torch.Tensor = self.code(code)
        return x if self.place is None else x + self.place(positions[:, : self.n_place])

    def spread(self, points: Objects, x: torch.Tensor) -> torch.Tensor:
        """A unit is its own point."""
        del points
        return x

    def features(self, points: Objects, x: torch.Tensor) -> torch.Tensor:
        """``(V, point_width)``: what a unit is, in the light of its event."""
        return nn.functional.gelu(self.join(torch.cat((x, points.x.to(x.dtype)), 1)))

    def rows(self, units: Units, values: torch.Tensor) -> Ragged:
        """Each row has the values of its unit, or the mean over those of its fields; zeros if it has none."""
        records: Records = units.payload
        total = values.new_zeros(len(records.table), values.shape[1]).index_add(0, records.unit, values)
        count = torch.bincount(records.unit, minlength=len(total)).clamp_min(1)
        of_record = total / count[:, None].to(values.dtype)
        return Ragged(of_record.index_select(0, records.row), records.row_offsets)
