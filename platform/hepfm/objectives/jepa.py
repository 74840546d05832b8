"""The objective ``jepa``: predict what a teacher makes of hidden units, in place of what they hold.

A joint-embedding predictive architecture (Assran et al., arXiv:2301.08243; data2vec, Baevski et al.,
arXiv:2202.03555): the teacher sees the whole event, the encoder the visible units, and what the teacher makes
of hidden units is to be predicted. The teacher is a moving average of the encoder.

Nothing but the slow teacher keeps all encodings from becoming one, so a validation tells how far they spread.

Legend: B events, T tokens, H hidden units of a part; D encoder width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, Field
from torch import nn
from torch.nn.functional import layer_norm

from hepfm.api import Batch, Modality, Plan, Reconstruction, Units
from hepfm.nn.init import linear
from hepfm.nn.ragged import unpack
from hepfm.nn.teacher import Teacher
from hepfm.objectives.masks import hidden_parts
from hepfm.objectives.queries import Queries, QueriesConfig
from hepfm.objectives.spread import Spread
from hepfm.objectives.units import units_of
from hepfm.random import Draws

_ENCODER = "encoder."
"""What the names of the encoder's weights begin with (`hepfm.api.Taught`)."""


class JepaConfig(QueriesConfig):
    """What a recipe may say of the objective ``jepa``."""

    momentum: float = Field(default=0.996, ge=0, le=1)
    """Share of the teacher's weights that a step leaves, at the beginning."""
    final_momentum: float = Field(default=1.0, ge=0, le=1)
    """The same at the last step; between the two it follows a cosine."""


@dataclass(frozen=True, kw_only=True)
class View:
    """A part of a batch: all its units, and which of them the encoder sees (``(U,)`` bool)."""

    units: Units
    visible: torch.Tensor


class Jepa(Queries):
    """Hidden units ask the visible ones what the teacher makes of them (`hepfm.api.Objective`).

    A teacher's token is brought to mean 0 and variance 1 over its features. The loss of a hidden unit is the
    squared error, averaged over features: 1 for a prediction of zeros, the baseline.

    Args:
        config: Masks, the predictor's size, the teacher's momentum.
        modalities: Part name to its modality.
        d_model: The encoder's width.

    Raises:
        RecipeError: See `Queries`.
    """

    Config: ClassVar[type[BaseModel]] = JepaConfig
    config: JepaConfig

    def __init__(self, config: JepaConfig, *, modalities: Mapping[str, Modality], d_model: int) -> None:
        super().__init__(config, modalities=modalities, d_model=d_model)
        self.out = nn.Sequential(nn.LayerNorm(self.width), linear(self.width, d_model))
        self.spreads: Any = nn.ModuleList(Spread(d_model) for _ in modalities)
        self.teacher: Teacher | None = None

    @property
    def weights(self) -> dict[str, float]:
        """``part/error`` to the recipe's weight of the part."""
        return {f"{part}/error": self.config.weights.get(part, 1.0) for part in self.modalities}

    def begin(self, encoder: nn.Module) -> None:
        """The teacher begins as the encoder."""
        self.teacher = Teacher(encoder)

    def follow(self, weights: Iterable[tuple[str, torch.Tensor]], *, step: int, steps: int) -> None:
        """The teacher follows, ever more slowly."""
        assert self.teacher is not None
        first, last = self.config.momentum, self.config.final_momentum
        keep = last - (last - first) * (1 + math.cos(math.pi * min(1.0, step / max(1, steps)))) / 2
        self.teacher.follow(
            ((name.removeprefix(_ENCODER), value) for name, value in weights if name.startswith(_ENCODER)),
            keep,
        )

    def plan(self, batch: Batch, draws: Draws, *, augment: bool = True) -> Plan:
        """Augments the events, cuts them into units, and hides some."""
        units = units_of(batch, self.modalities, draws if augment else None)
        hidden = hidden_parts(units, self.config, draws, purpose="jepa")
        payload = {part: View(units=units[part], visible=~hidden[part]) for part in units}
        counts = {f"{part}/error": int(mask.sum()) for part, mask in hidden.items()}
        return Plan(counts=counts, draws=draws, payload=payload)

    def forward(self, encoder: Any, plan: Plan) -> dict[str, torch.Tensor]:
        """The sum of squared errors over hidden units, each the mean over features."""
        assert self.teacher is not None, "begin comes first"
        units = {part: view.units for part, view in plan.payload.items()}
        visible = {part: view.visible for part, view in plan.payload.items()}
        taught = unpack(self.teacher(units), len(units))
        encoded = encoder(units, visible, draws=plan.draws if self.training else None)
        features = {} if self.overlaps is None else self.features(encoder, encoded)
        answers = self.answers(encoder, encoded, units, visible, features, {})
        sums = {}
        for part, tokens, spread in zip(units, taught, self.spreads, strict=True):
            target = layer_norm(tokens.values.float(), tokens.values.shape[1:])
            if not self.training:
                spread.add(target)
            error = self.out(answers[part]).float() - target[~visible[part]]
            sums[f"{part}/error"] = error.square().mean(-1).sum()
        return sums

    def observe(self, plan: Plan) -> None:
        """Nothing: the baseline needs nothing of the data."""

    def marginals(self) -> list[torch.Tensor]:
        """None."""
        return []

    def baseline(self, plan: Plan) -> dict[str, torch.Tensor]:
        """The sums for zeros as the prediction: 1 for each hidden unit."""
        device = plan.draws.event_ids.device
        return {term: torch.tensor(float(count), device=device) for term, count in plan.counts.items()}

    def watched(self) -> list[torch.Tensor]:
        """The sums over the teacher's tokens, of all parts."""
        return list(self.spreads.buffers())

    def figures(self) -> dict[str, float]:
        """How far the teacher's tokens spread: see `hepfm.objectives.spread`."""
        return {
            f"{part}/{name}": value
            for part, spread in zip(self.modalities, self.spreads, strict=True)
            for name, value in spread.figures().items()
        }

    def reconstruct(self, encoder: Any, plan: Plan) -> dict[str, Reconstruction]:
        """What was visible and hidden. Of what is predicted there is no picture, so that is empty."""
        del encoder
        parts = {}
        for part, view in plan.payload.items():
            show, units, visible = self.modalities[part].visible_tables, view.units, view.visible
            parts[part] = Reconstruction(
                visible=show(units, visible),
                hidden=show(units, ~visible),
                predicted=show(units, torch.zeros_like(visible)),
            )
        return parts
