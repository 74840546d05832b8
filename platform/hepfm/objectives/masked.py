"""The objective ``masked``: hide a share of the units of each event, predict them from the rest.

As in masked autoencoders (He et al. 2022), the encoder sees visible units alone, and a light decoder that is
thrown away after pretraining fills in the hidden ones.

Legend: U units of a part, V of them visible, H hidden; D encoder width, W decoder width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from hepfm.api import Batch, Modality, Plan, Reconstruction, Target, Tokens, Units
from hepfm.errors import RecipeError
from hepfm.nn.init import linear
from hepfm.nn.layout import PackedLayout
from hepfm.nn.ragged import event_index, offsets_of, pack_parts, segment_sum, unpack
from hepfm.nn.rotary import rotations
from hepfm.nn.transformer import Block
from hepfm.random import Draws


class MaskedConfig(BaseModel):
    """What a recipe may say of the objective ``masked``."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    hide: float = Field(default=0.6, gt=0, lt=1)
    """Share of an event's units that is hidden, of each part."""
    block_units: float = Field(default=1.0, gt=0)
    """Units are hidden in cubes of this side, in units; 1 hides each by itself."""
    decoder_width: int | None = Field(default=None, gt=0)
    """Width of the decoder; by default the encoder's."""
    decoder_layers: int = Field(default=2, ge=1)
    """Layers of the decoder."""
    decoder_heads: int = Field(default=4, gt=0)
    """Attention heads of the decoder."""


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


class Masked(nn.Module):
    """Hidden units ask the visible ones of their event what they hold (`hepfm.api.Objective`).

    A query is a learned token of its part, the embedding of its position, and what points of visible units
    say of a hidden one near them. The decoder's layers attend from queries to encoded tokens only (Fu et al.
    2024, "Rethinking patch dependence for masked autoencoders"): visible tokens pass through no layer of it,
    and hidden ones do not ask one another.

    Args:
        config: Masks and the decoder's size.
        modalities: Part name to its modality.
        d_model: The encoder's width.

    Raises:
        RecipeError: A decoder whose width its heads do not divide.
    """

    Config: ClassVar[type[BaseModel]] = MaskedConfig

    def __init__(self, config: MaskedConfig, *, modalities: Mapping[str, Modality], d_model: int) -> None:
        super().__init__()
        width = config.decoder_width or d_model
        if width % config.decoder_heads:
            raise RecipeError(
                f"The decoder's width {width} is no multiple of its {config.decoder_heads} heads.",
                where="objective.decoder_heads",
                fix="Choose heads that divide the width.",
            )
        self.config = config
        self.modalities = dict(modalities)
        self.head_width = width // config.decoder_heads
        rotations(torch.empty(0, max(m.n_positions for m in modalities.values())), self.head_width)
        self.query = nn.Embedding(len(modalities), width)
        nn.init.trunc_normal_(self.query.weight, std=0.02)
        self.place = linear(d_model, width)
        self.memory = nn.Sequential(linear(d_model, width), nn.LayerNorm(width))
        self.blocks = nn.ModuleList(
            Block(width, config.decoder_heads, n_layers=config.decoder_layers, cross=True)
            for _ in range(config.decoder_layers)
        )
        self.decoders = nn.ModuleList(modality.decoder(width) for modality in modalities.values())

    @property
    def weights(self) -> dict[str, float]:
        """``part/term`` to its weight, as the part's modality gives it."""
        return {
            f"{part}/{term}": weight
            for part, decoder in self._decoders()
            for term, weight in decoder.terms.items()
        }

    def plan(self, batch: Batch, draws: Draws, *, augment: bool = True) -> Plan:
        """Augments the events, cuts them into units, and hides some."""
        payload = {}
        for part, modality in self.modalities.items():
            tables = batch.parts[part]
            units = modality.units(modality.augment(tables, draws) if augment else tables)
            hidden = hidden_units(
                units, draws, share=self.config.hide, block=self.config.block_units, purpose=f"masked/{part}"
            )
            payload[part] = Masking(units=units, visible=~hidden, target=modality.target(units, hidden))
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
        encoded = encoder(
            {part: masking.units for part, masking in maskings.items()},
            {part: masking.visible for part, masking in maskings.items()},
            draws=plan.draws if self.training else None,
        )
        queries = []
        told = unpack(encoded, len(maskings))
        for index, (part, decoder) in enumerate(self._decoders()):
            tokenizer, masking = encoder.tokenizers[index], maskings[part]
            units, hidden = masking.units, ~masking.visible
            positions = units.positions[hidden]
            points = tokenizer.features(encoded.points[part], told[index].values)
            query = (
                self.query(torch.full((1,), index, device=positions.device))
                + self.place(tokenizer.position(positions))
                + decoder.hints(units, masking.visible, points)
            )
            queries.append((query, positions, offsets_of(segment_sum(hidden.long(), units.offsets))))
        asked = pack_parts(queries)
        layout = PackedLayout(asked.offsets, encoded.offsets)
        rotation, memory_rotation = (
            rotations(tokens.positions, self.head_width) for tokens in (asked, encoded)
        )
        x, memory = asked.x, self.memory(encoded.x)
        for block in self.blocks:
            x = block(x, layout, rotation, memory=memory, memory_rotation=memory_rotation)
        tokens = Tokens(x=x, positions=asked.positions, offsets=asked.offsets, part=asked.part)
        return {
            part: decoder(answered.values)
            for (part, decoder), answered in zip(self._decoders(), unpack(tokens, len(maskings)), strict=True)
        }

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


def hidden_units(units: Units, draws: Draws, *, share: float, block: float, purpose: str) -> torch.Tensor:
    """``(U,)`` bool: ``round(share * n)`` of an event's n units, at least one left visible.

    The event's blocks of units are hidden in random order, and the last one in part, until the share is
    reached. The grid of blocks is shifted at random. All of it depends on the event's units and draws alone.
    """
    event = event_index(units.offsets)
    counting = torch.arange(len(event), device=event.device)
    n_axes = units.positions.shape[1]
    if block > 1 and n_axes:
        shift = draws.per_event(f"{purpose}/shift", n_axes)[event]
        blocks = (units.positions.double() / block + shift).floor().long()
        bits = 63 // n_axes
        index = torch.zeros_like(event)
        for axis in range(n_axes):
            index = (index << bits) | (blocks[:, axis] & ((1 << bits) - 1))
    else:
        index = counting - units.offsets[:-1][event]  # each by itself, also where two are at one place
    lot = (draws.uniform(f"{purpose}/hide", event, index) * (1 << 40)).long()
    order = ((event << 40) | lot).argsort(stable=True)
    place = torch.empty_like(order).scatter_(0, order, counting)
    length = units.offsets.diff()
    n_hidden = torch.minimum((share * length).round().long(), (length - 1).clamp_min(0))
    return place - units.offsets[:-1][event] < n_hidden[event]
