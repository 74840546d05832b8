"""Units of all parts of an event to encoded tokens: tokenizers, part embedding, backbone.

Legend of shapes: U units, T tokens, D model width, W width of what is read out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from hepfm.api import Backbone, Causal, Encoded, Features, Modality, Need, Ragged, Tokens, Units
from hepfm.errors import RecipeError
from hepfm.nn.frame import Frame
from hepfm.nn.ragged import event_index, offsets_of, only_part, pack_parts, pool, segment_sum, unpack
from hepfm.random import Draws


class Encoder(nn.Module):
    """What pretraining learns and tasks use.

    Args:
        modalities: Part name to its modality; the order of the parts is the order of their tokens.
        backbone: A `Backbone` made for the ``n_positions`` of the modalities' `Frame`.
        causal: Whether a token sees itself and those before it in its event alone. Its position is then its
            number in the event: where units lie is for their tokenizers to tell.

    Attributes:
        frozen: Whether it is in evaluation, and without drop-path, while what stands on it is trained.

    Raises:
        RecipeError: A backbone that cannot look back only.
    """

    def __init__(
        self, modalities: Mapping[str, Modality], backbone: Backbone, *, causal: bool = False
    ) -> None:
        super().__init__()
        if causal and not isinstance(backbone, Causal):
            raise RecipeError(
                f"The backbone {type(backbone).__name__} always sees the whole event, and this objective "
                "needs one that looks back only.",
                where="model.backbone",
                fix="choose the backbone transformer, or another objective",
            )
        if causal:
            backbone.causal = True  # type: ignore[attr-defined]
        self.causal, self.frozen = causal, False
        self.parts = tuple(modalities)
        self.d_model = backbone.d_model
        self.frame = Frame(modalities)
        self.tokenizers: Iterable[Any] = nn.ModuleList(m.tokenizer(self.d_model) for m in modalities.values())
        self.part_embedding = nn.Embedding(len(self.parts), self.d_model)
        nn.init.trunc_normal_(self.part_embedding.weight, std=0.02)
        self.backbone: Any = backbone

    def train(self, mode: bool = True) -> Self:
        """As torch's, but that a frozen encoder stays in evaluation."""
        return super().train(mode and not self.frozen)

    def forward(
        self,
        units: Mapping[str, Units],
        visible: Mapping[str, Tensor] | None = None,
        *,
        draws: Draws | None = None,
        layers: Sequence[int] = (),
    ) -> Encoded:
        """Encoded tokens of the visible units, ``x (T, W)``: events in order, in each one the parts in order.

        Args:
            units: Part name to its units (without rows where an event lacks it). A part that is left out is
                one that all events lack; in training every part must be there, or ranks would differ.
            visible: Part name to a bool mask ``(U,)`` of the units seen; of a part not named, all.
            draws: The events' random numbers for drop-path; None switches it off.
            layers: Layers whose outputs are concatenated (W = len(layers) * D); none for the output (W = D).
        """
        packed, points = [], {}
        for part, tokenizer in zip(self.parts, self.tokenizers, strict=True):
            if part not in units:
                packed.append(self._absent(units))
                continue
            of_part = units[part]
            seen = visible.get(part) if visible else None
            if seen is None:
                seen = of_part.positions.new_ones(len(of_part.positions)).bool()
            offsets = offsets_of(segment_sum(seen.long(), of_part.offsets))
            x, points[part] = tokenizer(of_part, seen)
            packed.append((x, *self.frame(part, of_part, seen), offsets))
        tokens = pack_parts(packed)
        x = tokens.x + self.part_embedding(tokens.part)
        positions, reach = tokens.positions, tokens.reach
        if self.causal:
            within = torch.arange(len(x), device=x.device) - tokens.offsets[:-1][event_index(tokens.offsets)]
            positions, reach = within.float()[:, None], None
        tokens = replace(tokens, x=x, positions=positions, reach=reach)
        encoded: Tokens = self.backbone(tokens, draws=None if self.frozen else draws, layers=layers)
        return Encoded(
            x=encoded.x,
            positions=encoded.positions,
            offsets=encoded.offsets,
            part=encoded.part,
            reach=encoded.reach,
            points=points,
        )

    def width(self, need: Need, part: str = "", *, layers: Sequence[int] = ()) -> int:
        """How wide `features` are of a need, a part and these layers."""
        point_width = self._tokenizer(part).point_width if need == "points" else 0
        return width_of(need, self.d_model, layers=layers, point_width=point_width)

    def features(
        self,
        units: Mapping[str, Units],
        *,
        needs: Collection[Need],
        part: str = "",
        layers: Sequence[int] = (),
        draws: Draws | None = None,
    ) -> Features:
        """What a head needs to know of events, of which no unit is hidden.

        Args:
            units: As of the forward pass.
            needs: Which features.
            part: Whose tokens and points, of those in ``units``; empty for the tokens of all parts.
            layers: Layers whose outputs are read, side by side; none for the output.
            draws: As of the forward pass.
        """
        encoded = self(units, draws=draws, layers=(*layers, self.backbone.n_layers))
        read = encoded.x[:, : -self.d_model] if layers else encoded.x
        tokens = Tokens(
            x=read,
            positions=encoded.positions,
            offsets=encoded.offsets,
            part=encoded.part,
            reach=encoded.reach,
        )
        if part and len(self.parts) > 1:
            tokens = only_part(tokens, self.parts.index(part))
        if part:  # where its units lie: parts may have been moved apart, or tokens numbered
            tokens = Tokens(
                x=tokens.x, positions=units[part].positions, offsets=tokens.offsets, part=tokens.part
            )
        points = None
        if "points" in needs:
            output = unpack(encoded, len(self.parts))[self.parts.index(part)].values[:, -self.d_model :]
            points = self._points(units[part], part, encoded.points[part], tokens, output)
        return Features(
            tokens=tokens if "tokens" in needs else None,
            points=points,
            pooled=pool(tokens.x, tokens.offsets) if "pooled" in needs else None,
            events=len(tokens.offsets) - 1,
        )

    def _points(self, units: Units, part: str, points: Any, tokens: Tokens, output: Tensor) -> Tokens:
        tokenizer = self._tokenizer(part)
        x = torch.cat((tokenizer.spread(points, tokens.x), tokenizer.features(points, output)), 1)
        rows: Ragged = tokenizer.rows(units, x)
        places: Ragged = tokenizer.rows(units, tokenizer.spread(points, units.positions))
        of_part = torch.full_like(places.values[:, 0], self.parts.index(part), dtype=torch.int64)
        return Tokens(x=rows.values, positions=places.values, offsets=rows.offsets, part=of_part)

    def _tokenizer(self, part: str) -> Any:
        return list(self.tokenizers)[self.parts.index(part)]

    def _absent(self, units: Mapping[str, Units]) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """No tokens, of as many events as the parts that are there have."""
        like = next(iter(units.values()))
        x = like.positions.new_empty(0, self.d_model)
        positions = x.new_empty(0, self.frame.n_positions)
        return x, positions, positions if self.frame.axes else None, torch.zeros_like(like.offsets)


def width_of(need: Need, d_model: int, *, layers: Sequence[int] = (), point_width: int = 0) -> int:
    """How wide the features of a need are.

    Args:
        need: Which.
        d_model: The encoder's width.
        layers: Layers that are read side by side; none for the output.
        point_width: What the part's tokenizer adds to each point.
    """
    read = d_model * (len(layers) or 1)
    return {"tokens": read, "points": read + point_width, "pooled": 3 * read}[need]
