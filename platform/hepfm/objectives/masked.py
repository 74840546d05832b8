"""The objective ``masked``: hide a share of the units of each event, predict them from the rest.

As in masked autoencoders (He et al. 2022), the encoder sees visible units alone, and a light decoder that is
thrown away after pretraining fills in the hidden ones.

Legend: U units of a part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import BaseModel
from torch import nn

from hepfm.api import Batch, Modality, Plan, Reconstruction, Target, Units
from hepfm.objectives.masks import hidden_parts
from hepfm.objectives.queries import Queries, QueriesConfig
from hepfm.objectives.units import units_of
from hepfm.random import Draws


class MaskedConfig(QueriesConfig):
    """What a recipe may say of the objective ``masked``."""


@dataclass(frozen=True, kw_only=True)
class Masking:
    """What is hidden of one part.

    Attributes:
        units: All its units.
        visible: ``(U,)`` bool.
        target: What is to be predicted of the others.
    """

    units: Units
    visible: torch.Tensor
    target: Target


class Masked(Queries):
    """Hidden units ask the visible ones of their event what they hold (`hepfm.api.Objective`).

    Beside what `Queries` are made of, points of visible units say something of a hidden one near them.

    Args:
        config: Masks and the decoder's size.
        modalities: Part name to its modality.
        d_model: The encoder's width.

    Raises:
        RecipeError: See `Queries`.
    """

    Config: ClassVar[type[BaseModel]] = MaskedConfig

    def __init__(self, config: MaskedConfig, *, modalities: Mapping[str, Modality], d_model: int) -> None:
        super().__init__(config, modalities=modalities, d_model=d_model)
        self.decoders = nn.ModuleList(modality.decoder(self.width) for modality in modalities.values())

    @property
    def weights(self) -> dict[str, float]:
        """``part/term`` to its weight: the modality's own, times the recipe's of the part."""
        return {
            f"{part}/{term}": weight * self.config.weights.get(part, 1.0)
            for part, decoder in self._decoders()
            for term, weight in decoder.terms.items()
        }

    def plan(self, batch: Batch, draws: Draws, *, augment: bool = True) -> Plan:
        """Augments the events, cuts them into units, and hides some."""
        units = units_of(batch, self.modalities, draws, augment=augment)
        hidden = hidden_parts(units, self.config, draws, purpose="masked")
        payload = {
            part: Masking(
                units=units[part], visible=~hidden[part], target=modality.target(units[part], hidden[part])
            )
            for part, modality in self.modalities.items()
        }
        counts = {
            f"{part}/{term}": n
            for part, masking in payload.items()
            for term, n in masking.target.counts.items()
        }
        return Plan(counts=counts, draws=draws, payload=payload)

    def forward(self, encoder: Any, plan: Plan) -> dict[str, torch.Tensor]:
        """The sum of each term over all predictions of hidden units."""
        predictions = self._predict(encoder, plan)
        return self._sums(plan, lambda decoder, part, target: decoder.loss(predictions[part], target))

    def observe(self, plan: Plan) -> None:
        """Adds a plan's targets to the marginals of each part's decoder."""
        for part, decoder in self._decoders():
            decoder.observe(plan.payload[part].target)

    def marginals(self) -> list[torch.Tensor]:
        """The buffers of all decoders."""
        return list(self.decoders.buffers())

    def baseline(self, plan: Plan) -> dict[str, torch.Tensor]:
        """The sums with the marginals as prediction."""
        return self._sums(plan, lambda decoder, _part, target: decoder.baseline(target))

    def reconstruct(self, encoder: Any, plan: Plan) -> dict[str, Reconstruction]:
        """Visible, hidden and predicted tables of each part."""
        predictions, parts = self._predict(encoder, plan), {}
        for part, decoder in self._decoders():
            modality, masking = self.modalities[part], plan.payload[part]
            hidden = ~masking.visible
            parts[part] = Reconstruction(
                visible=modality.visible_tables(masking.units, masking.visible),
                hidden=modality.visible_tables(masking.units, hidden),
                predicted=decoder.tables(predictions[part], masking.units, hidden),
            )
        return parts

    def _predict(self, encoder: Any, plan: Plan) -> dict[str, Any]:
        maskings: Mapping[str, Masking] = plan.payload
        units = {part: masking.units for part, masking in maskings.items()}
        visible = {part: masking.visible for part, masking in maskings.items()}
        encoded = encoder(units, visible, draws=plan.draws if self.training else None)
        features = self.features(encoder, encoded)
        hints = {
            part: decoder.hints(units[part], visible[part], features[part])
            for part, decoder in self._decoders()
        }
        answers = self.answers(encoder, encoded, units, visible, features, hints)
        return {part: decoder(answers[part]) for part, decoder in self._decoders()}

    def _sums(
        self, plan: Plan, of_decoder: Callable[[Any, str, Target], Mapping[str, torch.Tensor]]
    ) -> dict[str, torch.Tensor]:
        return {
            f"{part}/{term}": value
            for part, decoder in self._decoders()
            for term, value in of_decoder(decoder, part, plan.payload[part].target).items()
        }

    def _decoders(self) -> Iterable[tuple[str, Any]]:
        return zip(self.modalities, self.decoders, strict=True)
