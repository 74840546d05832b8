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
from pydantic import BaseModel, Field
from torch import nn

from hepfm.api import Batch, Completing, Modality, Plan, Reconstruction, Surrounded, Target, Units
from hepfm.objectives.masks import hidden_parts, share_of
from hepfm.objectives.queries import Queries, QueriesConfig
from hepfm.objectives.surroundings import Surroundings
from hepfm.objectives.units import units_of
from hepfm.random import Draws


class MaskedConfig(QueriesConfig):
    """What a recipe may say of the objective ``masked``."""

    around_weight: float = Field(default=2.0, ge=0)
    """Weight of the loss on what visible points say of all that is around them, seen or hidden; of the kinds
    that can put it in numbers (`image3d`), where units are hidden one by one. 0 leaves it out."""


@dataclass(frozen=True, kw_only=True)
class Masking:
    """What is hidden of one part.

    Attributes:
        units: All its units.
        visible: ``(U,)`` bool.
        target: What is to be predicted of the others.
        around: ``(Q, S)`` what is around each point of the visible ones; of a part that can tell.
    """

    units: Units
    visible: torch.Tensor
    target: Target
    around: torch.Tensor | None = None


class Masked(Queries):
    """Hidden units ask the visible ones of their event what they hold (`hepfm.api.Objective`).

    Beside what `Queries` are made of, points of visible units say something of a hidden one near them. And
    they are asked what is around them: tasks read the features of points, which learn from either.

    Args:
        config: Masks and the decoder's size.
        modalities: Part name to its modality.
        d_model: The encoder's width.

    Raises:
        RecipeError: See `Queries`.
    """

    Config: ClassVar[type[BaseModel]] = MaskedConfig
    config: MaskedConfig

    def __init__(self, config: MaskedConfig, *, modalities: Mapping[str, Modality], d_model: int) -> None:
        super().__init__(config, modalities=modalities, d_model=d_model)
        self.decoders = nn.ModuleList(modality.decoder(self.width) for modality in modalities.values())
        self.asked = {
            part: modality
            for part, modality in modalities.items()
            if config.around_weight and share_of(config, part) and isinstance(modality, Surrounded)
        }
        self.around: Any = nn.ModuleDict(
            {part: Surroundings(m.point_width, m.surroundings_width) for part, m in self.asked.items()}
        )

    @property
    def weights(self) -> dict[str, float]:
        """``part/term`` to its weight: the modality's own, times the recipe's of the part."""
        of_part = {part: dict(decoder.terms) for part, decoder in self._decoders()}
        for part in self.around:
            of_part[part]["around"] = self.config.around_weight
        return {
            f"{part}/{term}": weight * self.config.weights.get(part, 1.0)
            for part, terms in of_part.items()
            for term, weight in terms.items()
        }

    def plan(self, batch: Batch, draws: Draws, *, augment: bool = True) -> Plan:
        """Augments the events, cuts them into units, and hides some."""
        units = units_of(batch, self.modalities, draws if augment else None)
        hidden = hidden_parts(units, self.config, draws, purpose="masked")
        around = {part: kind.surroundings(units[part], ~hidden[part]) for part, kind in self.asked.items()}
        payload = {
            part: Masking(
                units=units[part],
                visible=~hidden[part],
                target=modality.target(units[part], hidden[part]),
                around=around.get(part),
            )
            for part, modality in self.modalities.items()
        }
        counts = {
            f"{part}/{term}": n
            for part, masking in payload.items()
            for term, n in masking.target.counts.items()
        }
        counts |= {f"{part}/around": len(truth) for part, truth in around.items()}
        return Plan(counts=counts, draws=draws, payload=payload)

    def forward(self, encoder: Any, plan: Plan) -> dict[str, torch.Tensor]:
        """The sum of each term over all predictions of hidden units."""
        return self._losses(plan, *self._predict(encoder, plan))

    def completed(self, encoder: Any, plan: Plan) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """The same sums, and of each part whose decoder has some (`hepfm.api.Completing`) its statistics."""
        predictions, points = self._predict(encoder, plan)
        return self._losses(plan, predictions, points), {
            part: decoder.statistics(predictions[part], plan.payload[part].target)
            for part, decoder in self.completing().items()
        }

    def completing(self) -> dict[str, Any]:
        """Part name to its decoder, of those that have figures beside the loss."""
        return {part: decoder for part, decoder in self._decoders() if isinstance(decoder, Completing)}

    def observe(self, plan: Plan) -> None:
        """Adds a plan's targets to the marginals of each part's decoder."""
        for part, decoder in self._decoders():
            decoder.observe(plan.payload[part].target)
        for part, around in self.around.items():
            around.observe(plan.payload[part].around)

    def marginals(self) -> list[torch.Tensor]:
        """The buffers of all decoders."""
        return [*self.decoders.buffers(), *self.around.buffers()]

    def baseline(self, plan: Plan) -> dict[str, torch.Tensor]:
        """The sums with the marginals as prediction."""
        return self._sums(
            plan,
            lambda decoder, _part, target: decoder.baseline(target),
            lambda around, _part, truth: around.baseline(truth),
        )

    def reconstruct(self, encoder: Any, plan: Plan) -> dict[str, Reconstruction]:
        """Visible, hidden and predicted tables of each part."""
        predictions, _ = self._predict(encoder, plan)
        parts = {}
        for part, decoder in self._decoders():
            modality, masking = self.modalities[part], plan.payload[part]
            hidden = ~masking.visible
            parts[part] = Reconstruction(
                visible=modality.visible_tables(masking.units, masking.visible),
                hidden=modality.visible_tables(masking.units, hidden),
                predicted=decoder.tables(predictions[part], masking.units, hidden),
            )
        return parts

    def _predict(self, encoder: Any, plan: Plan) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Predictions of each part's hidden units, and features of the points of the visible ones."""
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
        return {part: decoder(answers[part]) for part, decoder in self._decoders()}, features

    def _losses(
        self, plan: Plan, predictions: Mapping[str, Any], points: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        return self._sums(
            plan,
            lambda decoder, part, target: decoder.loss(predictions[part], target),
            lambda around, part, truth: around(points[part], truth),
        )

    def _sums(
        self,
        plan: Plan,
        of_decoder: Callable[[Any, str, Target], Mapping[str, torch.Tensor]],
        of_around: Callable[[Any, str, torch.Tensor], torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        sums = {
            f"{part}/{term}": value
            for part, decoder in self._decoders()
            for term, value in of_decoder(decoder, part, plan.payload[part].target).items()
        }
        return sums | {
            f"{part}/around": of_around(around, part, plan.payload[part].around)
            for part, around in self.around.items()
        }

    def _decoders(self) -> Iterable[tuple[str, Any]]:
        return zip(self.modalities, self.decoders, strict=True)
