"""The objective ``contrastive``: which light belongs to which charge?

Two sides of an event (two parts, or two groups of parts) are encoded each without the other, and the pooled
encodings of one event are to be more alike than those of different events: the symmetric InfoNCE loss (van
den Oord et al., arXiv:1807.03748) with a learned temperature, as in CLIP (Radford et al., arXiv:2103.00020).

An event is compared with those of its group, see `hepfm.api.Comparing` and docs/adr/0010.

Legend: B events, E those compared, D encoder width, W width of the comparison.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn.functional import normalize, softplus

from hepfm.api import Batch, Modality, Plan, Reconstruction, Units
from hepfm.errors import RecipeError, did_you_mean
from hepfm.nn.init import linear
from hepfm.nn.ragged import segment_mean, segment_sum
from hepfm.objectives.units import units_of
from hepfm.random import Draws

COLDEST, HOTTEST = 0.01, 1.0
"""Between these the temperature stays."""


class ContrastiveConfig(BaseModel):
    """What a recipe may say of the objective ``contrastive``."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    first: list[str] = []
    """Parts of one side; by default the first of data.parts."""
    second: list[str] = []
    """Parts of the other side; by default all that are not of the first."""
    group_events: int = Field(default=32, ge=2)
    """Events that are compared with one another. A micro-batch holds whole groups: give it room for one."""
    width: int = Field(default=128, gt=0)
    """Width of what is compared."""
    temperature: float = Field(default=0.07, gt=COLDEST, lt=HOTTEST)
    """By what similarities are divided, at first; it is learned, between 0.01 and 1."""

    def check_parts(self, parts: Mapping[str, Collection[str] | None]) -> None:
        """See `hepfm.api.CheckedParts`."""
        sides_of(self, tuple(parts))


LITTLE = -3.0
"""Where a token's amounts start, before the softplus: over some tens of tokens they add up to order one."""


class Pool(nn.Module):
    """Tokens of an event to one vector: their mean, and logarithms of learned amounts that add up over them.

    How much charge or light there is is a sum. A mean is the same for a track and for two that are like it,
    and attention, which is a mean, does not count either.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.amount = linear(d_model, d_model)
        nn.init.constant_(self.amount.bias, LITTLE)

    def forward(self, x: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """``(T, D)`` tokens of events with these offsets ``(B+1,)`` to ``(B, 2 D)`` float32."""
        amounts = segment_sum(softplus(self.amount(x).float()), offsets)
        return torch.cat((segment_mean(x, offsets), amounts.log1p()), 1)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is compared in a batch.

    Attributes:
        units: Part name to its units.
        rows: ``(E,)`` int64, events that have both sides, and another such event in their group.
        group: ``(E,)`` int64, their groups.
        size: ``(E,)`` int64, how many of these events their group has.
    """

    units: Mapping[str, Units]
    rows: torch.Tensor
    group: torch.Tensor
    size: torch.Tensor


class Contrastive(nn.Module):
    """Tells the events of a group apart by either side (`hepfm.api.Objective`, `hepfm.api.Comparing`).

    Terms: ``match``, the loss; and of weight 0 ``top1``, the share of events of which the other side is found
    (the mean of both directions), and ``chance``, the same for guessing.

    Args:
        config: Sides, groups, and the size of what is compared.
        modalities: Part name to its modality.
        d_model: The encoder's width.

    Raises:
        RecipeError: Sides that are empty, overlap, or leave a part out.
    """

    Config: ClassVar[type[BaseModel]] = ContrastiveConfig
    weights: ClassVar[Mapping[str, float]] = {"match": 1.0, "top1": 0.0, "chance": 0.0}

    def __init__(
        self, config: ContrastiveConfig, *, modalities: Mapping[str, Modality], d_model: int
    ) -> None:
        super().__init__()
        self.modalities = dict(modalities)
        self.group_events = config.group_events
        self.sides = sides_of(config, tuple(modalities))
        self.pool = nn.ModuleList(Pool(d_model) for _ in self.sides)
        self.project = nn.ModuleList(
            nn.Sequential(linear(2 * d_model, d_model), nn.GELU(), linear(d_model, config.width))
            for _ in self.sides
        )
        share = math.log(config.temperature / COLDEST) / math.log(HOTTEST / COLDEST)
        self.heat = nn.Parameter(torch.tensor([math.log(share / (1 - share))]))

    def temperature(self) -> torch.Tensor:
        """``(1,)``. A logistic function keeps it within its bounds: a cut there would end its learning."""
        return COLDEST * (HOTTEST / COLDEST) ** self.heat.sigmoid()

    def plan(self, batch: Batch, draws: Draws, *, augment: bool = True) -> Plan:
        """Augments the events, cuts them into units, and says which are compared with which."""
        units = units_of(batch, self.modalities, draws if augment else None)
        both = self.both(units)
        group = torch.zeros_like(batch.event_ids) if batch.group is None else batch.group
        rows = both.nonzero()[:, 0]
        _, index, size = group[rows].unique(return_inverse=True, return_counts=True)
        rows, index = rows[size[index] > 1], index[size[index] > 1]
        comparison = Comparison(units=units, rows=rows, group=index, size=size[index])
        return Plan(counts=dict.fromkeys(self.weights, len(rows)), draws=draws, payload=comparison)

    def forward(self, encoder: Any, plan: Plan) -> dict[str, torch.Tensor]:
        """The sum over the events that are compared, of both directions' mean."""
        comparison: Comparison = plan.payload
        draws = plan.draws if self.training else None
        first, second = (
            self.embedded(encoder, comparison.units, side, draws=draws).index_select(0, comparison.rows)
            for side in range(len(self.sides))
        )
        with torch.autocast(first.device.type, enabled=False):
            logits = first @ second.T / self.temperature()
        strangers = comparison.group[:, None] != comparison.group
        logits = logits.masked_fill(strangers, -torch.inf)
        own = logits.diagonal()
        match = ((logits.logsumexp(0) + logits.logsumexp(1)) / 2 - own).sum()
        with torch.no_grad():  # as like as the right one is not found: where all are alike, none is
            found = [(logits >= own.unsqueeze(at)).sum(at) == 1 for at in (0, 1)]
            top1 = torch.cat(found).float().sum() / 2
        return {"match": match, "top1": top1, "chance": _chance(comparison)}

    def both(self, units: Mapping[str, Units]) -> torch.Tensor:
        """``(B,)`` bool: which events have both sides."""
        return torch.stack(
            [torch.stack([units[part].offsets.diff() > 0 for part in side]).any(0) for side in self.sides]
        ).all(0)

    def embedded(
        self, encoder: Any, units: Mapping[str, Units], side: int, *, draws: Draws | None = None
    ) -> torch.Tensor:
        """``(B, W)`` float32, of length 1: one side of the events, encoded as if they had no other.

        Args:
            encoder: Encodes it.
            units: Part name to its units, of both sides.
            side: 0 or 1.
            draws: The events' random numbers for drop-path; None switches it off.
        """
        visible = {
            part: of_part.positions.new_full((len(of_part.positions),), part in self.sides[side]).bool()
            for part, of_part in units.items()
        }
        encoded = encoder(units, visible, draws=draws)
        pooled = self.pool[side](encoded.x.float(), encoded.offsets)
        return normalize(self.project[side](pooled).float())

    def observe(self, plan: Plan) -> None:
        """Nothing: the baseline needs nothing of the data."""

    def marginals(self) -> list[torch.Tensor]:
        """None."""
        return []

    def baseline(self, plan: Plan) -> dict[str, torch.Tensor]:
        """The sums for guessing: the logarithm of the number of events to choose from."""
        chance = _chance(plan.payload)
        return {"match": plan.payload.size.float().log().sum(), "top1": chance, "chance": chance}

    def reconstruct(self, encoder: Any, plan: Plan) -> dict[str, Reconstruction]:
        """Nothing: nothing is hidden."""
        del encoder, plan
        return {}


def sides_of(config: ContrastiveConfig, parts: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The parts of either side.

    Raises:
        RecipeError: See `Contrastive`.
    """
    for key in ("first", "second"):
        for part in getattr(config, key):
            if part not in parts:
                raise RecipeError(
                    f"There is no part '{part}' in data.parts.",
                    where=f"objective.{key}",
                    fix=did_you_mean(part, parts),
                )
    first = tuple(config.first) or tuple(part for part in parts if part not in config.second)[:1]
    second = tuple(config.second) or tuple(part for part in parts if part not in first)
    if not first or not second or sorted((*first, *second)) != sorted(parts):
        raise RecipeError(
            f"The sides {list(first)} and {list(second)} do not share out the parts {list(parts)}.",
            where="objective.first, objective.second",
            fix="put each part of data.parts on one side, and at least one on either",
        )
    return first, second


def _chance(comparison: Comparison) -> torch.Tensor:
    return (1.0 / comparison.size).float().sum()
