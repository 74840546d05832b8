"""The objective NAME: units are hidden at random, and predicted from the mean of what is seen.

A masked autoencoder whose decoder does not attend: a hidden unit is told the mean of its event's encoded
tokens, its place, and what points next to it say. All that it is to know of the event must pass that mean.

Legend of shapes: B events, U units of a part, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from hepfm.api import Batch, Modality, Plan, Reconstruction, Target, Units
from hepfm.nn.init import linear
from hepfm.nn.ragged import event_index, segment_mean, unpack
from hepfm.random import Draws


class Masked(NamedTuple):
    """What is hidden of a part: its units, which of them ``(U,)`` bool, and what is to be predicted."""

    units: Units
    hidden: torch.Tensor
    target: Target


class CLASS(nn.Module):
    """Works with any modality (`hepfm.api.Objective`): its decoder says what is predicted of a unit.

    Args:
        config: How much is hidden.
        modalities: Part name to its modality.
        d_model: The encoder's width.
    """

    class Config(BaseModel):
        """What a recipe may say of the objective."""

        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        hide: float = Field(default=0.5, gt=0, lt=1)
        """Probability that a unit is hidden."""

    def __init__(self, config: Config, *, modalities: Mapping[str, Modality], d_model: int) -> None:
        super().__init__()
        self.hide = config.hide
        self.modalities = dict(modalities)
        self.decoders = nn.ModuleList(modality.decoder(d_model) for modality in modalities.values())
        self.mix = nn.Sequential(nn.LayerNorm(d_model), linear(d_model, d_model), nn.GELU())

    @property
    def weights(self) -> dict[str, float]:
        """``part/term`` to its weight, as the part's decoder gives it."""
        return {f"{part}/{term}": weight for part, d in self._decoders() for term, weight in d.terms.items()}

    def plan(self, batch: Batch, draws: Draws, *, augment: bool = True) -> Plan:
        """Hides units of each part; that depends on the event and its draws alone."""
        payload = {}
        for part, modality in self.modalities.items():
            tables = batch.parts[part]
            units = modality.units(modality.augment(tables, draws) if augment else tables)
            hidden = draws.per_item(f"NAME/{part}", units.offsets) < self.hide
            payload[part] = Masked(units, hidden, modality.target(units, hidden))
        counts = {
            f"{part}/{term}": n for part, each in payload.items() for term, n in each.target.counts.items()
        }
        return Plan(counts=counts, draws=draws, payload=payload)

    def forward(self, encoder: Any, plan: Plan) -> dict[str, torch.Tensor]:
        """The sum of each part's loss terms."""
        predictions = self._predict(encoder, plan)
        return {
            f"{part}/{term}": value
            for part, decoder in self._decoders()
            for term, value in decoder.loss(predictions[part], plan.payload[part].target).items()
        }

    def _predict(self, encoder: Any, plan: Plan) -> dict[str, Any]:
        """What each part's decoder makes of its hidden units."""
        encoded = encoder(
            {part: each.units for part, each in plan.payload.items()},
            {part: ~each.hidden for part, each in plan.payload.items()},
            draws=plan.draws if self.training else None,
        )
        mean = segment_mean(encoded.x, encoded.offsets)
        of_part = unpack(encoded, len(self.modalities))
        predictions = {}
        for index, (part, decoder) in enumerate(self._decoders()):
            units, hidden, _ = plan.payload[part]
            tokenizer = encoder.tokenizers[index]
            points = tokenizer.features(encoded.points[part], of_part[index].values)
            query = (
                mean[event_index(units.offsets)[hidden]]
                + tokenizer.position(units.positions[hidden])
                + decoder.hints(units, ~hidden, points)
            )
            predictions[part] = decoder(self.mix(query))
        return predictions

    def observe(self, plan: Plan) -> None:
        """Adds the targets to the marginals of the decoders."""
        for part, decoder in self._decoders():
            decoder.observe(plan.payload[part].target)

    def marginals(self) -> list[torch.Tensor]:
        """The buffers of the decoders."""
        return list(self.decoders.buffers())

    def baseline(self, plan: Plan) -> dict[str, torch.Tensor]:
        """The sums with the marginals as prediction."""
        return {
            f"{part}/{term}": value
            for part, decoder in self._decoders()
            for term, value in decoder.baseline(plan.payload[part].target).items()
        }

    def reconstruct(self, encoder: Any, plan: Plan) -> dict[str, Reconstruction]:
        """Visible, hidden and predicted tables of each part, for displays."""
        predictions, shown = self._predict(encoder, plan), {}
        for part, decoder in self._decoders():
            units, hidden, _ = plan.payload[part]
            rows = self.modalities[part].visible_tables
            shown[part] = Reconstruction(
                visible=rows(units, ~hidden),
                hidden=rows(units, hidden),
                predicted=decoder.tables(predictions[part], units, hidden),
            )
        return shown

    def _decoders(self) -> list[tuple[str, Any]]:
        return list(zip(self.modalities, self.decoders, strict=True))
