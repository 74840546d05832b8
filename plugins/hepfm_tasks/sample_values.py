"""The task ``sample-values``: a number of each sample of a waveform. It denoises, and it unfolds.

Without its noise and unfolded, a waveform is a filtered one, where the best filter depends on what is there:
a track across the wires, one along them, nothing. So the head is a bank of linear filters, and how much of
each a sample takes is said by its features. The first filter is the best one of the training events, plane by
plane; before learning it is all that there is. Heights pass through linearly: twice as high need not be
learned anew.

Legend of shapes: N samples, B events, C filters, W taps, D width of the features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn.functional import huber_loss, softplus

from hepfm.api import Batch, Features, Need, PartSchema, RaggedTable, RaggedTables
from hepfm.errors import DataError
from hepfm_tasks.against import Edges
from hepfm_tasks.labels import label_column, the_part
from hepfm_tasks.network import mlp
from hepfm_tasks.sample_figures import SampleFigures
from hepfm_tasks.traces import PLANE, Heights, check_waveforms, truth_of

LINEAR_FROM = 3.0
"""Residuals above so many times the noise count linearly (Huber): few high pulses do not outweigh all."""
SHARPNESS = 4.0
"""How soon an amount is as linear as the filters, in units of the mean of what is not zero (softplus)."""
_FLOOR = 1e-4
"""No expectation is smaller, in units of the mean of what is not zero: its logarithm stays finite."""


class Prediction(NamedTuple):
    """``(N,)`` float32 in units of the scale, and what the samples are."""

    values: torch.Tensor
    heights: Heights


class SampleValuesConfig(BaseModel):
    """What a recipe may say of the head ``sample-values``."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    part: str = ""
    """The part of waveforms; empty where there is but one."""
    label: str = "signal_adc"
    """Column of numbers in the part's table of samples: the true signal, charge, or photoelectrons."""
    nonnegative: bool = False
    """Whether the numbers are amounts, of which most samples have none: electrons, photoelectrons. Then
    they are never below zero, and learned by Poisson's likelihood; else by Huber's loss."""
    width: int = Field(default=64, ge=0)
    """Width of the hidden layer; 0 for a linear one."""
    filters: int = Field(default=16, ge=1)
    """Learned linear filters of the waveform, that each sample mixes."""
    taps: int = Field(default=65, ge=1)
    """Samples that a filter is long, an odd number: as long as what one charge leaves, or longer."""
    signal: float = Field(default=1.0, gt=0)
    """In figures, a sample whose truth is so far from zero has a signal, the others have none."""
    amplitudes: Edges | None = None
    """Edges of bins of the size of a sample's truth, in which figures are told, too."""
    sums: Edges | None = None
    """Edges of bins of a trace's true sum, in which its bias and resolution are told, too."""


class SampleValues(nn.Module):
    """A bank of filters, mixed by a small network on each sample's features (`hepfm.api.Head`).

    Samples that are in no token (quiet ones, where the part suppresses them) and those that are not known are
    predicted as zero.

    Args:
        config: Which number.
        schema: Part name to schema, with the labels.
        d_in: Width of the features of a need and a part.

    Raises:
        DataError: The part, its labels or pedestals are missing.
    """

    Config: ClassVar[type[BaseModel]] = SampleValuesConfig
    needs: ClassVar[tuple[Need, ...]] = ("points", "inputs")

    def __init__(
        self,
        config: SampleValuesConfig,
        *,
        schema: Mapping[str, PartSchema],
        d_in: Callable[[Need, str], int],
    ) -> None:
        super().__init__()
        self.config = config
        self.part = part = the_part(config.part, schema)
        data = schema[part]
        check_waveforms(part, data)
        self.table = data.primary
        column = label_column(data, self.table, config.label, part=part)
        if column.vocabulary or column.shape:
            raise DataError(
                f"'{config.label}' is no number of a sample.",
                where=f"part {part}, table {self.table}",
                fix="name a column of numbers with objective.head.label",
            )
        self.term = "poisson" if config.nonnegative else "huber"
        self.weights: Mapping[str, float] = {self.term: 1.0}
        predicted = replace(column, dtype="float32", label=False)
        self.predictions = {
            part: PartSchema(
                kind=data.kind, primary=self.table, tables={self.table: {config.label: predicted}}
            )
        }
        self.figures_of = SampleFigures(
            counts=column.unit == "ADC",
            amounts=config.nonnegative,
            signal=config.signal,
            amplitudes=config.amplitudes,
            sums=config.sums,
        )
        taps = config.taps + 1 - config.taps % 2
        fading = torch.exp(-8.0 * (torch.arange(taps) - taps // 2).abs() / taps)
        drawn = torch.randn(config.filters, taps) * fading
        self.filters = nn.Parameter(drawn / drawn.norm(dim=1, keepdim=True))
        self.network = mlp(d_in("points", part), config.width, config.filters + 2, gain=0.01)
        *_, bias = self.network.parameters()
        with torch.no_grad():
            bias[0] = 1.0  # before learning, the best linear filter
        planes = max((each.value + 1 for each in data.vocabularies.get(PLANE, ())), default=1)
        self.register_buffer("normal", torch.zeros(planes, taps, taps + 1, dtype=torch.float64))
        self.register_buffer("moments", torch.zeros(4, dtype=torch.float64))

    normal: torch.Tensor
    """``(P, W, W + 1)`` float64 of each plane: products of heights around a sample, and with the truth."""
    moments: torch.Tensor
    """``(4,)`` float64: samples, and the sum of their squared heights, or of the noise of those without a
    signal; samples with a truth above zero, and the sum of that."""

    def forward(self, features: Features) -> Prediction:
        """The number of each sample, of features ``(N, D)`` and the waveforms themselves."""
        assert features.points is not None
        assert features.inputs is not None
        x, heights = features.points.x, Heights.of(features.inputs, self.table)
        mixture = self.network(x).float()
        with torch.autocast(x.device.type, enabled=False):  # counts have more digits than bf16
            scale, unit = self._scales()
            best = heights.filtered(self._best() / unit)
            best = best.gather(1, heights.plane.clamp(0, best.shape[1] - 1)[:, None])
            filtered = torch.cat((best, heights.filtered(self.filters / scale)), 1)
            values = (mixture[:, :-1] * filtered).sum(1) + mixture[:, -1]
        if self.config.nonnegative:
            values = softplus(values, beta=SHARPNESS)
        answered = heights.known & x.any(1)
        return Prediction(values.where(answered, 0.0), heights)

    def observe(self, batch: Batch) -> None:
        """Gathers the scales, and what the best linear filter follows from (`hepfm.api.Observing`)."""
        heights, truth, known = self._targets(batch)
        amounts = self.config.nonnegative
        spread, there = heights.values if amounts else heights.values - truth, known & (truth > 0)
        counting = known if amounts else known & (truth.abs() < self.config.signal)
        for plane, sums in enumerate(self.normal):
            mine = known & (heights.plane.clamp(0, len(self.normal) - 1) == plane)
            around = heights.around(sums.shape[0])[mine].double()
            self.normal[plane] += around.T @ torch.cat((around, truth[mine, None].double()), 1)
        self.moments += torch.stack(
            (
                counting.sum().double(),
                spread.double().square().where(counting, 0.0).sum(),
                there.sum().double(),
                truth.double().where(there, 0.0).sum(),
            )
        )

    def observed(self) -> list[torch.Tensor]:
        """Its sums."""
        return [self.moments, self.normal]

    def counts(self, batch: Batch) -> dict[str, int]:
        """Samples whose truth is known.

        Raises:
            DataError: An amount is below zero; names the event's id.
        """
        _, truth, known = self._targets(batch)
        if self.config.nonnegative and bool((below := known & (truth < 0)).any()):
            row = int(below.nonzero()[0])
            offsets = torch.as_tensor(batch.labels[self.part][self.table].offsets)
            event = int(torch.searchsorted(offsets, row, right=True)) - 1
            raise DataError(
                f"'{self.config.label}' is {truth[row]:g}, and an amount is never below zero.",
                where=f"part {self.part}, event id {int(batch.event_ids[event]) & 0xFFFFFFFFFFFFFFFF:#018x}, "
                f"sample {row - int(offsets[event])}",
                fix="set objective.head.nonnegative to false, or mark what is not known as NaN",
            )
        return {self.term: int(known.sum())}

    def loss(self, prediction: Prediction, batch: Batch) -> dict[str, torch.Tensor]:
        """Summed over the samples whose truth is known, in units of the scale.

        Of amounts: the negative logarithm of Poisson's density, less its smallest value. It is smallest at
        the mean of what may be there, and sums of means are right on average: so charge is conserved. A loss
        of absolute values would ask for the median, which of sparse amounts is zero.
        """
        _, truth, known = self._targets(batch)
        truth = truth.where(known, 0.0) / self._scales()[1]
        if self.config.nonnegative:
            expected = prediction.values.clamp_min(_FLOOR)
            each = expected - truth - torch.xlogy(truth, expected / truth.clamp_min(_FLOOR))
        else:
            each = huber_loss(prediction.values, truth, reduction="none", delta=LINEAR_FROM)
        return {self.term: each.where(known, 0.0).sum()}

    def predict(self, prediction: Prediction) -> dict[str, RaggedTables]:
        """The number of each sample, in the label's unit."""
        values = (prediction.values * self._scales()[1]).float()
        return {self.part: {self.table: RaggedTable({self.config.label: values}, prediction.heights.samples)}}

    def statistics(
        self, predicted: Mapping[str, RaggedTables], batch: Batch
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Those of `SampleFigures`."""
        heights, truth, known = self._targets(batch)
        found = torch.from_numpy(predicted[self.part][self.table].columns[self.config.label])
        return self.figures_of.statistics(found, truth, known, heights)

    def figures(self, sums: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, float]:
        """Those of `SampleFigures`."""
        return self.figures_of.figures(sums)

    def _targets(self, batch: Batch) -> tuple[Heights, torch.Tensor, torch.Tensor]:
        """Heights, truth ``(N,)`` and whether both are known ``(N,)``."""
        heights = Heights.of(batch.parts[self.part], self.table)
        truth = truth_of(batch, self.part, self.table, self.config.label)
        return heights, truth, heights.known & truth.isfinite()

    def _best(self) -> torch.Tensor:
        """``(P, W)`` float32: of each plane the linear filter nearest to the truth in the mean square.

        Where nothing was observed: the waveform as it is, or for amounts nothing.
        """
        products, truth = self.normal[..., :-1], self.normal[..., -1:]
        size = products.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
        eye = torch.eye(products.shape[1], dtype=torch.float64, device=products.device)
        seen = size > 0
        found: torch.Tensor = torch.linalg.solve((products + 1e-6 * size * eye).where(seen, eye), truth)[
            ..., 0
        ]
        middle = eye[len(eye) // 2] * (0.0 if self.config.nonnegative else 1.0)
        return found.where(seen[..., 0], middle).float()

    def _scales(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Float32 units of heights (ADC) and of the truth; 1 where nothing was observed."""
        number, squares, there, total = self.moments
        height = (squares / number.clamp_min(1)).sqrt()
        height = height.where(height > 0, 1.0).float()
        amount = (total / there.clamp_min(1)).float()
        return height, amount.where(amount > 0, 1.0) if self.config.nonnegative else height
