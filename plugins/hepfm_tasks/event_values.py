"""The task ``event-values``: numbers of an event, e.g. energy, momentum or direction, and how sure they are.

The network says a mean and a width for each number; the loss is the negative logarithm of the normal density
(Nix and Weigend, ICNN 1994, p. 55). The target is scaled, to mean 0 and spread 1 over training events.

Legend of shapes: B events, N rows of a table of labels, K numbers, D width of the features, H bins, E bins of
what figures are told against.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import nn

from hepfm.api import Batch, Features, Need, PartSchema, Ragged, RaggedTable, RaggedTables
from hepfm.display.panels import Axis, Panel
from hepfm.display.plots import histogram_panel
from hepfm.metrics.residuals import histogram, residual_figures, two_sided
from hepfm_tasks.against import Edges, binned, named, of_event
from hepfm_tasks.labels import the_part
from hepfm_tasks.network import mlp
from hepfm_tasks.numbers import Numbers
from hepfm_tasks.rows import EVENT, Rows, RowsConfig, one_each

RESIDUALS = two_sided(1e-4, 1e5, per_decade=30)
PULLS = two_sided(1e-2, 1e2, per_decade=30)
COVERAGE = {"coverage68": 1.0, "coverage95": 1.959964}
"""Figure to the half width of an interval, in predicted widths: 68.3 % and 95 % of a normal density."""


class Prediction(NamedTuple):
    """Means and logarithms of widths, ``(B, K)`` each, of scaled numbers."""

    mean: torch.Tensor
    log_width: torch.Tensor


class EventValuesConfig(RowsConfig):
    """What a recipe may say of the head ``event-values``."""

    labels: list[str] = Field(default=["momentum_gev"], min_length=1)
    """Columns of numbers, or of vectors. One that is not finite is not known, and teaches nothing."""
    log: list[str] = Field(default=[])
    """Those that are learned as logarithms: of wide range, above zero. Others of them are not known."""
    take: Literal["first", "largest", "sum"] = "first"  # type: ignore[assignment]  # one more
    """The row that tells the event's truth: the first that counts, that of the largest ``by``, or the sum."""
    width: int = Field(default=128, ge=0)
    """Width of the hidden layer; 0 for a linear head."""
    against: dict[str, Edges] = Field(default={})
    """Columns of the table to edges of bins, in which figures are told, too."""


class EventValues(nn.Module):
    """A small network on each event's pooled tokens (`hepfm.api.Head`).

    Args:
        config: Which numbers.
        schema: Part name to schema, with the labels.
        d_in: Width of the features of a need and a part.

    Raises:
        DataError: Parts or labels are missing, or the labels are classes.
    """

    Config: ClassVar[type[BaseModel]] = EventValuesConfig
    needs: ClassVar[tuple[Need, ...]] = ("pooled",)
    weights: ClassVar[Mapping[str, float]] = {"likelihood": 1.0}
    answers: Literal["classes", "values"] = "values"

    def __init__(
        self, config: EventValuesConfig, *, schema: Mapping[str, PartSchema], d_in: Callable[[Need, str], int]
    ) -> None:
        super().__init__()
        self.config = config
        self.part = the_part(config.part, schema) if config.part else ""
        self.rows = Rows(config, schema)
        for name in config.against:
            self.rows.column(name)
        self.numbers = Numbers(self.rows, config.labels, config.log)
        self.outputs = len(self.numbers.names)
        self.predictions = {
            self.rows.part: PartSchema(
                kind=self.rows.schema.kind, primary=EVENT, tables={EVENT: self.numbers.columns()}
            )
        }
        # Small at first: what is predicted before learning is the training events' mean and spread.
        self.network = mlp(d_in("pooled", self.part), config.width, 2 * self.outputs, gain=0.1)

    def forward(self, features: Features) -> Prediction:
        """Means and widths of the numbers, of pooled features ``(B, D)``."""
        assert features.pooled is not None
        mean, log_width = self.network(features.pooled).float().chunk(2, 1)
        return Prediction(mean, log_width.clamp(-7, 7))

    def observe(self, batch: Batch) -> None:
        """Gathers the numbers' scale (`hepfm.api.Observing`)."""
        self.numbers.observe(batch)

    def observed(self) -> list[torch.Tensor]:
        """Its sums."""
        return self.numbers.observed()

    def targets(self, batch: Batch) -> Ragged:
        """``(B, K)`` scaled numbers, NaN where they are not known (`hepfm.api.Probed`)."""
        values = self.numbers.scaled(self.numbers.truth(batch))
        return Ragged(values.float(), one_each(len(values), device=values.device))

    def from_outputs(self, outputs: Ragged) -> Prediction:
        """What another model says of the scaled numbers; as sure as the training events are spread."""
        return Prediction(outputs.values.float(), torch.zeros_like(outputs.values, dtype=torch.float32))

    def counts(self, batch: Batch) -> dict[str, int]:
        """Numbers that are known."""
        return {"likelihood": int(self.targets(batch).values.isfinite().sum())}

    def loss(self, prediction: Prediction, batch: Batch) -> dict[str, torch.Tensor]:
        """Negative logarithm of the density, less its constant, summed over the numbers that are known."""
        target = self.targets(batch).values
        known = target.isfinite()
        mean, log_width = prediction
        # Filled, not left out: the gradient of a NaN would be one, even if it is multiplied by zero.
        pull = (torch.where(known, target, mean) - mean) * (-log_width).exp()
        density = 0.5 * pull.square() + log_width
        return {"likelihood": density.masked_fill(~known, 0.0).sum()}

    def predict(self, prediction: Prediction) -> dict[str, RaggedTables]:
        """Each number, and its standard deviation, in the label's unit."""
        columns = self.numbers.predicted(prediction.mean, prediction.log_width)
        offsets = one_each(len(prediction.mean), device=prediction.mean.device)
        return {self.rows.part: {EVENT: RaggedTable(columns, offsets)}}

    def truth(self, batch: Batch) -> dict[str, RaggedTables]:
        """The true numbers of each event, NaN where they are not known (`hepfm.api.Answered`)."""
        columns = self.numbers.as_columns(self.numbers.truth(batch).numpy())
        return {self.rows.part: {EVENT: RaggedTable(columns, one_each(len(batch)).numpy())}}

    def statistics(
        self, predicted: Mapping[str, RaggedTables], batch: Batch
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Histograms of residuals and pulls ``(B, K, H + 2)``, and what intervals cover ``(B, K, 3)``.

        Residuals are in the label's unit; those of numbers learned as logarithms are parts of the true value.
        """
        truth = self.numbers.truth(batch).numpy()
        events = len(truth)
        cell = np.arange(events * self.outputs)
        residual, pull = (
            each.reshape(-1)
            for each in self.numbers.residuals(predicted[self.rows.part][EVENT].columns, truth)
        )
        within = np.stack([~np.isnan(pull), *(np.abs(pull) <= sigmas for sigmas in COVERAGE.values())], -1)
        shape = (events, self.outputs)
        found: dict[str, np.ndarray[Any, Any]] = {
            "residuals": histogram(residual, cell, len(cell), RESIDUALS).reshape(*shape, len(RESIDUALS) + 1),
            "pulls": histogram(pull, cell, len(cell), PULLS).reshape(*shape, len(PULLS) + 1),
            "covered": within.astype(np.float64).reshape(*shape, 1 + len(COVERAGE)),
        }
        for name, edges in self.config.against.items():
            value = of_event(self.rows, batch, name, self.numbers.rows_of(batch))
            found[f"residuals/{name}"] = binned(found["residuals"], value, edges)
        return found

    def figures(self, sums: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, float]:
        """For each number ``bias``, ``resolution``, ``pull_bias``, ``pull_width`` and what intervals cover.

        The first two in bins of what the recipe names, too: ``resolution/NAME/COLUMN/LOW-HIGH``.
        """
        found: dict[str, float] = {}
        for k, name in enumerate(self.numbers.names):
            told = residual_figures(sums["residuals"][k], RESIDUALS)
            pulls = residual_figures(sums["pulls"][k], PULLS)
            told |= {"pull_bias": pulls["bias"], "pull_width": pulls["resolution"]} if pulls else {}
            known, *covered = sums["covered"][k]
            if known:
                told |= {figure: float(n / known) for figure, n in zip(COVERAGE, covered, strict=True)}
            found |= {f"{figure}/{name}": value for figure, value in told.items()}
            for column, edges in self.config.against.items():
                for where, counts in zip(
                    named(column, edges), sums[f"residuals/{column}"][:, k], strict=True
                ):
                    told = residual_figures(counts, RESIDUALS)
                    found |= {f"{figure}/{name}/{where}": value for figure, value in told.items()}
        return found

    def plots(self, sums: Mapping[str, np.ndarray[Any, Any]]) -> list[Panel]:
        """Residuals and pulls of each number (`hepfm.api.Plotted`)."""
        panels: list[Panel] = []
        pull = Axis("(predicted - true) / predicted sigma")
        for k, (name, unit) in enumerate(self.numbers.units().items()):
            part = Axis("(predicted - true) / true")
            residual = part if unit is None else Axis("predicted - true", unit)
            panels += [
                histogram_panel(sums["residuals"][k], RESIDUALS, residual, title=f"{name}, residuals"),
                histogram_panel(sums["pulls"][k], PULLS, pull, title=f"{name}, pulls", normal=True),
            ]
        return panels
