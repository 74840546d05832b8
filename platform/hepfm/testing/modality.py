"""The contract of a modality, with its tokenizer and decoder, as checks."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hepfm.api import Modality, PartSchema, RaggedTables, Tables, Units
from hepfm.testing.checks import empty_event, run_checks, tables_of
from hepfm.testing.modality_losses import LOSSES
from hepfm.testing.modality_tokens import TOKENS


def modality_contract(modality: Modality, events: Sequence[Tables], *, content: Sequence[str]) -> None:
    """Checks a modality against the contract of `hepfm.api.Modality`, `Tokenizer` and `Decoder`.

    Args:
        modality: Made of the class, a configuration and the events' schema.
        events: At least three events with several units each: table to column to array, inputs only.
        content: Floating-point columns of the primary table that can change without moving a row to another
            unit, e.g. ``("energy_mev",)``; what hidden units hold is told by them.

    Raises:
        AssertionError: Names each rule that is broken.
    """
    assert len(events) >= 3, "the contract needs three events or more"
    run_checks("modality", (*TOKENS, *LOSSES), Subject(modality, tuple(events), tuple(content)))


@dataclass(frozen=True)
class Subject:
    """What is checked: a modality, with tokenizer and decoder of a width, and some events.

    Attributes:
        modality: Made of the class, a configuration and the events' schema.
        events: Inputs only.
        content: Columns of the primary table that can change without moving a row to another unit.
        width: Of the tokens.
    """

    modality: Modality
    events: tuple[Tables, ...]
    content: tuple[str, ...]
    width: int = 32

    @property
    def schema(self) -> PartSchema:
        return self.modality.schema

    @property
    def nothing(self) -> Tables:
        return empty_event(self.schema)

    def tables(self, events: Sequence[Tables]) -> RaggedTables:
        return tables_of(events, self.schema)

    def units(self, events: Sequence[Tables]) -> Units:
        return self.modality.units(self.tables(events))

    @functools.cached_property
    def tokenizer(self) -> Any:
        torch.manual_seed(0)
        return self.modality.tokenizer(self.width)

    def tokens(self, units: Units, visible: Tensor) -> Tensor:
        """Tokens of the visible units."""
        return self.tokenizer(units, visible)[0]  # type: ignore[no-any-return]

    def points(self, units: Units, visible: Tensor) -> Tensor:
        """``(Q, point_width)`` features of the visible units' points, from tokens as they are."""
        tokens, points = self.tokenizer(units, visible)
        return self.tokenizer.features(points, tokens)  # type: ignore[no-any-return]

    @functools.cached_property
    def decoder(self) -> Any:
        torch.manual_seed(0)
        return self.modality.decoder(self.width)

    def hidden(self, units: Units) -> Tensor:
        """A share of the units, the same ones whatever else is in the batch."""
        index = torch.arange(len(units.positions)) - units.offsets[:-1].repeat_interleave(
            units.offsets.diff()
        )
        return index * 7 % 10 < 6

    def losses(self, decoder: Any, events: Sequence[Tables]) -> dict[str, Tensor]:
        """Sums of the loss where a hidden unit's decoded token is its query."""
        units = self.units(events)
        hidden = self.hidden(units)
        tokens = self.queries(decoder, units, hidden)
        return decoder.loss(decoder(tokens), self.modality.target(units, hidden))  # type: ignore[no-any-return]

    def queries(self, decoder: Any, units: Units, hidden: Tensor) -> Tensor:
        """Embedded positions of hidden units, and what the points of the others say of them."""
        hints = decoder.hints(units, ~hidden, self.points(units, ~hidden))
        return self.tokenizer.position(units.positions[hidden]) + hints  # type: ignore[no-any-return]

    def all(self, units: Units, value: bool = True) -> Tensor:
        """A mask that is the same for all units."""
        return torch.full((len(units.positions),), value)
