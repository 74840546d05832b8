"""The objective ``task``: a head learns from labels, on what the encoder makes of events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from hepfm.api import (
    Answered,
    Batch,
    Features,
    Modality,
    Need,
    Observing,
    Plan,
    RaggedTable,
    RaggedTables,
    Reconstruction,
    Tokens,
    Units,
)
from hepfm.data.tensors import tables_to_numpy, to_numpy, to_torch
from hepfm.nn.encoder import width_of
from hepfm.nn.frame import Frame
from hepfm.objectives.units import augmented, units_of
from hepfm.random import Draws
from hepfm.readers.pack import pack
from hepfm.recipe.components import configured
from hepfm.recipe.schema import Component


class TaskConfig(BaseModel):
    """What a recipe may say of the objective ``task``."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    head: Component
    """The head, and its options beside its name."""
    layers: list[int] = Field(default=[])
    """Layers of the backbone, from 1, that the head reads side by side; none for the output alone."""


@dataclass(frozen=True, kw_only=True)
class Learning:
    """Events that a head learns from.

    Attributes:
        batch: With their labels, varied alike.
        units: Part name to its units.
    """

    batch: Batch
    units: Mapping[str, Units]


class Task(nn.Module):
    """A head and its loss (`hepfm.api.Objective`).

    Args:
        config: Which head, and what it reads.
        modalities: Part name to its modality.
        d_model: The encoder's width.

    Raises:
        DataError: The data has no such labels.
        PluginError: There is no such head.
        RecipeError: It refuses its options.
    """

    Config: ClassVar[type[BaseModel]] = TaskConfig
    labels: ClassVar[bool] = True

    def __init__(self, config: TaskConfig, *, modalities: Mapping[str, Modality], d_model: int) -> None:
        super().__init__()
        name = config.head.name
        cls, options = configured("heads", name, config.head.options(), label=f"options of the head '{name}'")
        self.config = config
        self.modalities = dict(modalities)
        schema = {part: modality.schema for part, modality in modalities.items()}

        def d_in(need: Need, part: str) -> int:
            point_width = 0
            if need == "points":
                with torch.random.fork_rng(devices=[]):  # made to be asked, and thrown away
                    point_width = self.modalities[part].tokenizer(d_model).point_width
            return width_of(need, d_model, layers=config.layers, point_width=point_width)

        self.head: Any = cls(options, schema=schema, d_in=d_in)
        nothing = to_torch(pack([], schema, labels=True))
        with torch.no_grad():
            features = no_features(self.head, d_in, self.modalities)
            prediction = self.head(with_inputs(features, self.head, nothing))
        for statistic, values in self.statistics(prediction, nothing).items():
            self.register_buffer(f"sum_{statistic}", torch.from_numpy(values.sum(0)), persistent=False)

    @property
    def weights(self) -> Mapping[str, float]:
        """The head's."""
        weights: Mapping[str, float] = self.head.weights
        return weights

    def plan(self, batch: Batch, draws: Draws, *, augment: bool = True) -> Plan:
        """Augments the events, and counts the head's targets."""
        batch = augmented(batch, self.modalities, draws) if augment else batch
        units = units_of(batch, self.modalities)
        counts = self.head.counts(batch)
        return Plan(counts=counts, draws=draws, payload=Learning(batch=batch, units=units))

    def forward(self, encoder: Any, plan: Plan) -> dict[str, torch.Tensor]:
        """The head's sums. In evaluation, what its figures need is gathered, too."""
        learning: Learning = plan.payload
        prediction = self.prediction(
            encoder, learning.batch, learning.units, draws=plan.draws if self.training else None
        )
        if not self.training:
            for name, values in self.statistics(prediction, learning.batch).items():
                getattr(self, f"sum_{name}").add_(
                    torch.from_numpy(values.sum(0)).to(plan.draws.event_ids.device)
                )
        sums: dict[str, torch.Tensor] = self.head.loss(prediction, learning.batch)
        return sums

    def prediction(
        self, encoder: Any, batch: Batch, units: Mapping[str, Units], *, draws: Draws | None = None
    ) -> Any:
        """The head's prediction for a torch batch, with its units, where the encoder is."""
        head, layers = self.head, self.config.layers
        features = encoder.features(units, needs=head.needs, part=head.part, layers=layers, draws=draws)
        return head(with_inputs(features, head, batch))

    def observe(self, plan: Plan) -> None:
        """Tells the head of training events, where it asks for them (`hepfm.api.Observing`)."""
        if isinstance(self.head, Observing):
            self.head.observe(plan.payload.batch)

    def marginals(self) -> list[torch.Tensor]:
        """What the head gathered of them."""
        return self.head.observed() if isinstance(self.head, Observing) else []

    def baseline(self, plan: Plan) -> dict[str, torch.Tensor]:  # noqa: ARG002
        """None: what learning nothing gets is seen in a task's figures."""
        return {}

    def reconstruct(self, encoder: Any, plan: Plan) -> dict[str, Reconstruction]:  # noqa: ARG002
        """Nothing is hidden."""
        return {}

    def watched(self) -> list[torch.Tensor]:
        """The sums of the head's statistics (`hepfm.api.Watched`)."""
        return list(self._sums().values())

    def figures(self) -> dict[str, float]:
        """The head's figures, of the events that were evaluated."""
        figures: dict[str, float] = self.head.figures(
            {name: v.cpu().numpy() for name, v in self._sums().items()}
        )
        return figures

    def figure_names(self) -> list[str]:
        """Of all figures that the head may tell; which of them are defined, the events decide."""
        every = {name: np.ones(tuple(buffer.shape)) for name, buffer in self._sums().items()}
        return list(self.head.figures(every))

    def _sums(self) -> dict[str, torch.Tensor]:
        return {
            name[4:]: buffer for name, buffer in self.named_buffers(recurse=False) if name.startswith("sum_")
        }

    @torch.no_grad()
    def statistics(self, prediction: Any, batch: Batch) -> dict[str, np.ndarray[Any, Any]]:
        """The head's statistics of a prediction, for a torch batch with labels: ``(B, ...)`` each."""
        found = self.head.statistics(self.predicted(prediction, batch.event_ids.device), to_numpy(batch))
        statistics: dict[str, np.ndarray[Any, Any]] = found
        return statistics

    @torch.no_grad()
    def predicted(self, prediction: Any, device: torch.device) -> dict[str, dict[str, RaggedTable]]:
        """A prediction as tables (numpy)."""
        # In float32, as whoever predicts with the finished head does.
        with torch.autocast(device.type, enabled=False):
            found = self.head.predict(prediction)
        return {part: tables_to_numpy(tables) for part, tables in found.items()}

    def truth(self, batch: Batch) -> Mapping[str, RaggedTables]:
        """The right answers of a numpy batch with labels, as far as they are known.

        Those that the head tells (`hepfm.api.Answered`), else the labels with the names of what it predicts.
        """
        if isinstance(self.head, Answered):
            return self.head.truth(batch)
        found: dict[str, RaggedTables] = {}
        for part, schema in self.head.predictions.items():
            labels = batch.labels.get(part, {})
            found[part] = {
                name: RaggedTable(
                    {c: table.columns[c] for c in schema.tables[name] if c in table.columns}, table.offsets
                )
                for name, table in labels.items()
                if name in schema.tables
            }
        return found


def with_inputs(features: Features, head: Any, batch: Batch) -> Features:
    """Features with the tables of a torch batch, where the head needs them."""
    return replace(features, inputs=batch.parts[head.part]) if "inputs" in head.needs else features


def no_features(head: Any, d_in: Callable[[Need, str], int], modalities: Mapping[str, Modality]) -> Features:
    """What a head needs of no events at all."""
    n_positions = Frame(modalities).n_positions

    def none(need: Need) -> Tokens | None:
        if need not in head.needs:
            return None
        rows = torch.empty(0, dtype=torch.int64)
        x, positions = torch.empty(0, d_in(need, head.part)), torch.empty(0, n_positions)
        return Tokens(x=x, positions=positions, offsets=torch.zeros(1, dtype=torch.int64), part=rows)

    pooled = torch.empty(0, d_in("pooled", head.part)) if "pooled" in head.needs else None
    return Features(tokens=none("tokens"), points=none("points"), pooled=pooled, events=0)
