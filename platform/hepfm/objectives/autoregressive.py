"""The objective ``autoregressive``: predict each unit of an event from those before it, and where it ends.

The encoder looks back only, so one pass predicts all units of an event at once, as in language models (of
jets: Finke et al., arXiv:2303.07364; Birk et al., OmniJet-alpha, arXiv:2403.05618).

Legend: B events, U units of a part, D encoder width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn.functional import logsigmoid

from hepfm.api import Batch, Modality, Ordered, Plan, Reconstruction, Target, Units
from hepfm.errors import RecipeError
from hepfm.nn.init import linear
from hepfm.nn.ragged import event_index
from hepfm.random import Draws

LAST = "is_last"
"""Name of the term for where an event ends, beside those of the part's decoder."""


class AutoregressiveConfig(BaseModel):
    """What a recipe may say of the objective ``autoregressive``."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    last_weight: float = Field(default=1.0, ge=0)
    """Weight of the loss on where an event ends: after each unit, whether it was the last one."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """What is predicted of one part.

    Attributes:
        units: All its units.
        target: Of each one.
        first: ``(U,)`` bool, the first unit of its event.
        last: ``(U,)`` bool, the last one.
        prompt: ``(U,)`` bool, what a display shows as given: the first units of each event, one at least.
    """

    units: Units
    target: Target
    first: torch.Tensor
    last: torch.Tensor
    prompt: torch.Tensor


class Autoregressive(nn.Module):
    """Each unit from those before it (`hepfm.api.Objective`, `hepfm.api.Causal`).

    The encoded token before a unit, in packed order, says what is known of it; a learned vector stands for
    the beginning of the part. Of several parts, the units of one see those of the parts before it. An event
    without units of a part says nothing of that part, not even that it ends.

    Args:
        config: Weights.
        modalities: Part name to its modality.
        d_model: The encoder's width.

    Raises:
        RecipeError: A part whose units are in no order to predict along.
    """

    Config: ClassVar[type[BaseModel]] = AutoregressiveConfig
    causal: ClassVar[bool] = True

    def __init__(
        self, config: AutoregressiveConfig, *, modalities: Mapping[str, Modality], d_model: int
    ) -> None:
        super().__init__()
        for part, modality in modalities.items():
            if not (isinstance(modality, Ordered) and modality.ordered):
                raise RecipeError(
                    f"The units of part '{part}' cannot be predicted one after the other: they are in no "
                    "order, or where they are is given and not predicted.",
                    where=f"data.parts.{part}",
                    fix="of the kind structured, say 'place: []' and 'units: objects'; or take the objective "
                    "masked",
                )
        self.config = config
        self.modalities = dict(modalities)
        self.start = nn.Embedding(len(modalities), d_model)
        nn.init.trunc_normal_(self.start.weight, std=0.02)
        self.ahead = nn.Sequential(linear(d_model, 2 * d_model), nn.GELU(), linear(2 * d_model, d_model))
        self.norm = nn.LayerNorm(d_model)
        self.last = nn.ModuleList(linear(d_model, 1) for _ in modalities)
        self.decoders = nn.ModuleList(modality.decoder(d_model) for modality in modalities.values())
        # Units, and events that ended, of each part.
        self.register_buffer("ends", torch.zeros(len(modalities), 2, dtype=torch.float64))
        self.ends: torch.Tensor

    @property
    def weights(self) -> dict[str, float]:
        """``part/term`` to its weight, as the part's modality gives it, and ``part/is_last``."""
        return {
            f"{part}/{term}": weight
            for part, decoder in self._decoders()
            for term, weight in {**decoder.terms, LAST: self.config.last_weight}.items()
        }

    def plan(self, batch: Batch, draws: Draws, *, augment: bool = True) -> Plan:
        """Augments the events and cuts them into units; of each event it draws how much a display shows."""
        payload: dict[str, Course] = {}
        counts: dict[str, int] = {}
        for part, modality in self.modalities.items():
            tables = batch.parts[part]
            units = modality.units(modality.augment(tables, draws) if augment else tables)
            everything = units.positions.new_ones(len(units.positions)).bool()
            target = modality.target(units, everything)
            event, length = event_index(units.offsets), units.offsets.diff()
            number = torch.arange(len(event), device=event.device) - units.offsets[:-1][event]
            given = 1 + (draws.per_event(f"autoregressive/{part}", 1)[:, 0] * (length - 1)).long()
            payload[part] = Course(
                units=units,
                target=target,
                first=number == 0,
                last=number == length[event] - 1,
                prompt=number < given[event],
            )
            counts |= {f"{part}/{term}": n for term, n in target.counts.items()}
            counts[f"{part}/{LAST}"] = len(event)
        return Plan(counts=counts, draws=draws, payload=payload)

    def forward(self, encoder: Any, plan: Plan) -> dict[str, torch.Tensor]:
        """The sum of each term over all units."""
        predictions, lasts = self._predict(encoder, plan)

        def sums(index: int, decoder: Any, part: str) -> dict[str, torch.Tensor]:
            course, logit = plan.payload[part], lasts[index].float()
            last = -logsigmoid(logit.where(course.last, -logit)).sum()
            return {**decoder.loss(predictions[part], course.target), LAST: last}

        return self._sums(sums)

    def observe(self, plan: Plan) -> None:
        """Adds a plan's targets to the marginals of each part's decoder, and counts units and ends."""
        for index, (part, decoder) in enumerate(self._decoders()):
            course = plan.payload[part]
            decoder.observe(course.target)
            self.ends[index] += torch.stack((torch.ones_like(course.last), course.last)).sum(1)

    def marginals(self) -> list[torch.Tensor]:
        """The buffers of all decoders, and the numbers of units and ends."""
        return [*self.decoders.buffers(), self.ends]

    def baseline(self, plan: Plan) -> dict[str, torch.Tensor]:
        """The sums with the marginals as prediction; an event ends after each unit as often as any."""

        def sums(index: int, decoder: Any, part: str) -> dict[str, torch.Tensor]:
            course = plan.payload[part]
            units, ended = self.ends[index]
            rate = (ended + 0.5) / (units + 1.0)
            last = -torch.where(course.last, rate.log(), (-rate).log1p()).sum()
            return {**decoder.baseline(course.target), LAST: last.float()}

        return self._sums(sums)

    def reconstruct(self, encoder: Any, plan: Plan) -> dict[str, Reconstruction]:
        """The first units of each event, those after them, and what all before each one said of it."""
        parts = {}
        predictions, _ = self._predict(encoder, plan, keep=lambda course: ~course.prompt)
        for part, decoder in self._decoders():
            modality, course = self.modalities[part], plan.payload[part]
            parts[part] = Reconstruction(
                visible=modality.visible_tables(course.units, course.prompt),
                hidden=modality.visible_tables(course.units, ~course.prompt),
                predicted=decoder.tables(predictions[part], course.units, ~course.prompt),
            )
        return parts

    def _predict(
        self, encoder: Any, plan: Plan, keep: Callable[[Course], torch.Tensor] | None = None
    ) -> tuple[dict[str, Any], list[torch.Tensor]]:
        """The decoders' predictions of the units (kept), and the logit ``(U,)`` that each one is the last."""
        assert encoder.causal, "an encoder that sees what comes would know what it is to predict"
        courses: Mapping[str, Course] = plan.payload
        encoded = encoder(
            {part: course.units for part, course in courses.items()},
            draws=plan.draws if self.training else None,
        )
        predictions, lasts = {}, []
        first_of_event = torch.zeros(len(encoded.x) + 1, dtype=torch.bool, device=encoded.x.device)
        first_of_event[encoded.offsets[:-1]] = True
        for index, (part, decoder) in enumerate(self._decoders()):
            course = courses[part]
            row = (encoded.part == index).nonzero()[:, 0]
            start = self.start(torch.full((1,), index, device=row.device))
            before = encoded.x.index_select(0, (row - 1).clamp_min(0))
            known = before * (~first_of_event[row])[:, None] + start * course.first[:, None]
            if keep is not None:
                known = known[keep(course)]
            predictions[part] = decoder(self.norm(known + self.ahead(known)))
            lasts.append(self.last[index](encoded.x.index_select(0, row))[:, 0])
        return predictions, lasts

    def _sums(
        self, of_part: Callable[[int, Any, str], Mapping[str, torch.Tensor]]
    ) -> dict[str, torch.Tensor]:
        return {
            f"{part}/{term}": value
            for index, (part, decoder) in enumerate(self._decoders())
            for term, value in of_part(index, decoder, part).items()
        }

    def _decoders(self) -> Iterable[tuple[str, Any]]:
        return zip(self.modalities, self.decoders, strict=True)
