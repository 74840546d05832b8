"""Hidden units that ask the visible ones of their event: what the objectives `masked` and `jepa` share.

Legend: V visible units, H hidden ones; D encoder width, W decoder width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from pydantic import Field
from torch import nn

from hepfm.api import Encoded, Located, Modality, Units
from hepfm.errors import RecipeError
from hepfm.nn.frame import Frame
from hepfm.nn.init import linear
from hepfm.nn.layout import PackedLayout
from hepfm.nn.ragged import offsets_of, pack_parts, segment_sum, unpack
from hepfm.nn.rotary import rotations
from hepfm.nn.transformer import Block
from hepfm.objectives.masks import MaskConfig, check_masks
from hepfm.objectives.overlaps import Overlaps


class QueriesConfig(MaskConfig):
    """What is hidden, and the size of the decoder that fills it in."""

    decoder_width: int | None = Field(default=None, gt=0)
    """Width of the decoder; by default the encoder's."""
    decoder_layers: int = Field(default=2, ge=1)
    """Layers of the decoder."""
    decoder_heads: int = Field(default=4, gt=0)
    """Attention heads of the decoder."""


class Queries(nn.Module):
    """A query is a learned token of its part, the embedding of its position, and what is known of it besides.

    The layers attend from queries to encoded tokens only (Fu et al. 2024, "Rethinking patch dependence for
    masked autoencoders"): visible tokens pass through none of them, and hidden ones do not ask one another.

    Args:
        config: Masks and the decoder's size.
        modalities: Part name to its modality.
        d_model: The encoder's width.

    Raises:
        RecipeError: Masks that cannot be (`check_masks`), or a width that the heads do not divide.
    """

    def __init__(self, config: QueriesConfig, *, modalities: Mapping[str, Modality], d_model: int) -> None:
        super().__init__()
        check_masks(config, modalities)
        self.width = width = config.decoder_width or d_model
        if width % config.decoder_heads:
            raise RecipeError(
                f"The decoder's width {width} is no multiple of its {config.decoder_heads} heads.",
                where="objective.decoder_heads",
                fix="Choose heads that divide the width.",
            )
        self.config = config
        self.modalities = dict(modalities)
        self.head_width = width // config.decoder_heads
        self.frame = Frame(modalities)
        rotations(torch.empty(0, self.frame.n_positions), self.head_width)
        self.query = nn.Embedding(len(modalities), width)
        nn.init.trunc_normal_(self.query.weight, std=0.02)
        self.place = linear(d_model, width)
        self.memory = nn.Sequential(linear(d_model, width), nn.LayerNorm(width))
        # Of parts without a common frame nobody knows what overlaps.
        self.overlaps = Overlaps(width, self.frame, modalities) if self.frame.axes else None
        self.blocks = nn.ModuleList(
            Block(width, config.decoder_heads, n_layers=config.decoder_layers, cross=True)
            for _ in range(config.decoder_layers)
        )

    def features(self, encoder: Any, encoded: Encoded) -> dict[str, torch.Tensor]:
        """Part name to the features of the points in its visible units, from its tokenizer."""
        told = unpack(encoded, len(self.modalities))
        return {
            part: tokenizer.features(encoded.points[part], tokens.values)
            for part, tokenizer, tokens in zip(self.modalities, encoder.tokenizers, told, strict=True)
        }

    def answers(
        self,
        encoder: Any,
        encoded: Encoded,
        units: Mapping[str, Units],
        visible: Mapping[str, torch.Tensor],
        features: Mapping[str, torch.Tensor],
        hints: Mapping[str, torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        """Part name to the decoded tokens ``(H, W)`` of its hidden units.

        Args:
            encoder: Whose tokenizers embed positions.
            encoded: Its tokens of the visible units.
            units: Part name to all its units.
            visible: Part name to a bool mask of them.
            features: Part name to `features` of its points.
            hints: Part name to ``(H, W)``, added to its queries; of some parts, or none.
        """
        queries = []
        for index, part in enumerate(self.modalities):
            hidden = ~visible[part]
            positions = units[part].positions[hidden]
            query = self.query(torch.full((1,), index, device=positions.device)) + self.place(
                encoder.tokenizers[index].position(positions)
            )
            if part in hints:
                query = query + hints[part]
            offsets = offsets_of(segment_sum(hidden.long(), units[part].offsets))
            queries.append((query, *self.frame(part, units[part], hidden), offsets))
        asked = pack_parts(queries)
        layout = PackedLayout(asked.offsets, encoded.offsets)
        rotation, memory_rotation = (
            rotations(tokens.positions, self.head_width, tokens.reach) for tokens in (asked, encoded)
        )
        turns = None
        if self.frame.axes:
            turns = tuple(rotations(tokens.positions, self.head_width) for tokens in (asked, encoded))
        x, memory = asked.x, self.memory(encoded.x)
        if self.overlaps is not None:
            pieces = {
                part: modality.pieces(units[part], visible[part], features[part])
                for part, modality in self.modalities.items()
                if isinstance(modality, Located) and part in self.frame.placed
            }
            x = x + self.overlaps(asked, encoded, pieces)
        for block in self.blocks:
            x = block(x, layout, rotation, memory=memory, memory_rotation=memory_rotation, turns=turns)
        answered = unpack(replace(asked, x=x), len(self.modalities))
        return {part: each.values for part, each in zip(self.modalities, answered, strict=True)}
