"""What a recipe says of what is hidden: a share of each part's units, and now and then a part as a whole.

Legend: U units of a part.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field

from hepfm.api import Units
from hepfm.errors import RecipeError, did_you_mean
from hepfm.nn.ragged import event_index
from hepfm.objectives.hiding import hidden_groups, hidden_units, whole_parts
from hepfm.random import Draws


class PartMask(BaseModel):
    """What is hidden of one part, where that is not what is hidden of all."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    hide: float | None = Field(default=None, ge=0, lt=1)
    """Share of its units; 0 for a part that is only looked at, or hidden as a whole."""
    block_units: float | None = Field(default=None, gt=0)
    """Side of the cubes in which units are hidden, in units."""
    by: str | None = None
    """Hides whole groups of units in place of cubes (`channel`, `plane`: what the part's kind offers)."""


class MaskConfig(BaseModel):
    """What a recipe may say of what is hidden, and of what each part counts for."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    hide: float = Field(default=0.6, gt=0, lt=1)
    """Share of an event's units that is hidden, of each part."""
    block_units: float = Field(default=1.0, gt=0)
    """Units are hidden in cubes of this side, in units; 1 hides each by itself."""
    parts: dict[str, PartMask] = {}
    """Part name to its own `hide`, and `block_units` or `by` (a name of groups)."""
    whole: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    """Part name to the probability that it is hidden as a whole; something of an event is always seen."""
    weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Part name to what its loss is multiplied by; 1 for a part that is not named."""

    def check_parts(self, parts: Mapping[str, Collection[str] | None]) -> None:
        """See `hepfm.api.CheckedParts`."""
        check_masks(self, parts)
        for part, own in self.parts.items():
            groups = parts[part]
            if own.by is not None and groups is not None:
                _check_group(own.by, groups, part)


def check_masks(config: MaskConfig, parts: Collection[str]) -> None:
    """Refuses what makes no sense for these parts.

    Raises:
        RecipeError: A part that there is not, contradictory settings, or nothing to hide.
    """
    for key in ("parts", "whole", "weights"):
        for part in getattr(config, key):
            if part not in parts:
                raise RecipeError(
                    f"There is no part '{part}' in data.parts.",
                    where=f"objective.{key}.{part}",
                    fix=did_you_mean(part, parts),
                )
    for part, own in config.parts.items():
        if own.by is not None and own.block_units is not None:
            raise RecipeError(
                "Units are hidden in groups or in cubes, not in both.",
                where=f"objective.parts.{part}",
                fix="leave out by or block_units",
            )
    if config.whole and len(parts) == 1:
        raise RecipeError(
            "The only part of an event is never hidden as a whole.",
            where="objective.whole",
            fix="leave it out, or name a second part in data.parts",
        )
    hidden = [part for part in parts if share_of(config, part) or config.whole.get(part)]
    if not hidden:
        raise RecipeError(
            "Nothing is ever hidden, so there is nothing to learn.",
            where="objective.parts",
            fix="give a part a share to hide, or a probability in objective.whole",
        )
    if not any(config.weights.get(part, 1.0) for part in hidden):
        raise RecipeError(
            "What is hidden counts for nothing, so there is nothing to learn.",
            where="objective.weights",
            fix="give a part that is hidden a weight above 0",
        )


def hidden_parts(
    units: Mapping[str, Units], config: MaskConfig, draws: Draws, *, purpose: str
) -> dict[str, torch.Tensor]:
    """Part name to ``(U,)`` bool. At least one unit of each event that has any is left visible.

    All of it depends on the event's units and draws alone.

    Raises:
        RecipeError: A part offers no groups of the name asked for.
    """
    whole = whole_parts(
        {part: of_part.offsets for part, of_part in units.items()},
        config.whole,
        draws,
        purpose=f"{purpose}/whole",
    )
    hidden = {}
    for part, of_part in units.items():
        own, name = config.parts.get(part, PartMask()), f"{purpose}/{part}"
        share = share_of(config, part)
        if own.by is not None:
            mask = hidden_groups(
                _group(of_part, own.by, part), of_part.offsets, draws, share=share, purpose=name
            )
        else:
            mask = hidden_units(
                of_part, draws, share=share, block=own.block_units or config.block_units, purpose=name
            )
        hidden[part] = mask | whole[part][event_index(of_part.offsets)] if part in whole else mask
    return hidden


def share_of(config: MaskConfig, part: str) -> float:
    """Share of the part's units that is hidden."""
    own = config.parts.get(part, PartMask()).hide
    return config.hide if own is None else own


def _group(units: Units, by: str, part: str) -> torch.Tensor:
    _check_group(by, units.groups, part)
    return units.groups[by]


def _check_group(by: str, groups: Collection[str], part: str) -> None:
    if by not in groups:
        raise RecipeError(
            f"Units of part '{part}' have no groups '{by}'.",
            where=f"objective.parts.{part}.by",
            fix=did_you_mean(by, groups),
        )
