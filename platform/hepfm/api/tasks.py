"""What a model is used for: heads, which turn encoded events into predictions, and how these are judged.

Legend of shapes: B events, N rows of a table, T tokens, W width of what is read of one, C classes, K values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from hepfm.api.events import Batch, PartSchema, Ragged, RaggedTables
from hepfm.api.modality import Tokens

if TYPE_CHECKING:
    import numpy as np
    import torch
    from pydantic import BaseModel

Need = Literal["tokens", "points", "pooled", "inputs"]
"""What a head can ask for, see `Features`."""


@dataclass(frozen=True, kw_only=True)
class Features:
    """Encoded events, none of their units hidden, and what was encoded. What a head does not need is None.

    Attributes:
        tokens: ``x (T, W)``, of the head's part, with the positions of its units; or of all.
        points: ``x (N, W + point_width)``, a row for each of the primary table of the head's part, in its
            order: the tokens' values at the row, beside what the point itself is. Positions ``(N, P)`` are in
            units, as those of tokens.
        pooled: ``(B, 3 W)``: mean, spread and largest of each event's tokens; zeros where there are none.
        inputs: The tables of the head's part that were encoded, without labels: for answers that begin with
            what was measured, as a waveform without its noise does. Graphs for other programs have none.
        events: B.
    """

    tokens: Tokens | None = None
    points: Tokens | None = None
    pooled: torch.Tensor | None = None
    inputs: RaggedTables | None = None
    events: int


@runtime_checkable
class Head(Protocol):
    """A ``torch.nn.Module``: a task on encoded tokens, points or pooled events. It draws nothing at random.

    The order of an event's rows does not matter to it.

    Attributes:
        needs: What it reads of `Features`.
        part: The part whose tokens, points or inputs it reads; empty for the tokens of all parts.
        predictions: Part name to the schema of what it predicts, none of it labels; as it is written to the
            event store.
        weights: Loss term to its weight. A term of weight 0 is a figure that is logged beside the loss.
    """

    Config: ClassVar[type[BaseModel]]
    needs: ClassVar[Sequence[Need]]
    part: str
    predictions: Mapping[str, PartSchema]
    weights: Mapping[str, float]

    def __init__(
        self, config: Any, *, schema: Mapping[str, PartSchema], d_in: Callable[[Need, str], int]
    ) -> None:
        """Refuses a schema without the labels that it learns from (`DataError`: which are missing).

        Args:
            config: An instance of ``Config``.
            schema: Part name to schema of the data, labels included.
            d_in: Width of the features of a need (not of inputs), and of a part:
                ``d_in("points", self.part)``.
        """

    def forward(self, features: Features) -> Any:
        """The prediction for B events."""

    def counts(self, batch: Batch) -> dict[str, int]:
        """Number of targets in each loss term, of a torch batch with labels; known before any prediction."""

    def loss(self, prediction: Any, batch: Batch) -> dict[str, torch.Tensor]:
        """The sum of each term over all its targets in the torch batch, float32 scalars."""

    def predict(self, prediction: Any) -> dict[str, RaggedTables]:
        """Part name to tables of predictions (torch), with the columns of `predictions`."""

    def statistics(
        self, predicted: Mapping[str, RaggedTables], batch: Batch
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Name to ``(B, ...)`` float64: what the figures need of each event (numpy, as its arguments).

        Those of many events are their sums: a table of true and predicted classes, sums of squares, counts in
        bins. So figures come from any number of processes, and their intervals from drawing events again.
        """

    def figures(self, sums: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, float]:
        """Figures of events whose `statistics` were summed; one that is not defined for them is left out."""


@runtime_checkable
class Probed(Protocol):
    """What a `Head` has besides if a model of scikit-learn can take the place of its network.

    It has one need, and a target for each row of that.

    Attributes:
        outputs: ``C`` classes, or ``K`` values.
        answers: Which of the two.
    """

    outputs: int
    answers: Literal["classes", "values"]

    def targets(self, batch: Batch) -> Ragged:
        """Of a torch batch: ``(N,)`` int64 classes, -1 where not known; or ``(N, K)`` values, NaN there."""

    def from_outputs(self, outputs: Ragged) -> Any:
        """A prediction, from ``(N, C)`` logarithms of probabilities or ``(N, K)`` values."""


@runtime_checkable
class Observing(Protocol):
    """What a `Head` has besides if it is told of training events before it learns: for scales, or weights.

    What it gathers are buffers that are saved with its weights; without any events it works as well.
    """

    def observe(self, batch: Batch) -> None:
        """Adds a torch batch of training events to the buffers."""

    def observed(self) -> list[torch.Tensor]:
        """The buffers: sums over events, which ranks add up."""


@runtime_checkable
class Answered(Protocol):
    """What a `Head` has besides if the right answers are no columns of labels named as the predicted ones.

    Displays draw them beside the predictions.
    """

    def truth(self, batch: Batch) -> Mapping[str, RaggedTables]:
        """Of a numpy batch with labels: what a perfect prediction would say.

        Part name to tables with columns of `Head.predictions`; those without a truth are left out. NaN, a
        value that is no class, or no row is what is not known. A table of points has a row for each, others
        may have any number: several places may be right.
        """


@runtime_checkable
class Plotted(Protocol):
    """What a `Head` has besides if its figures are made of more than numbers tell: curves, tables."""

    def plots(self, sums: Mapping[str, np.ndarray[Any, Any]]) -> Sequence[Any]:
        """Panels (`hepfm.display`, some are made in ``hepfm.display.plots``) of summed `Head.statistics`.

        Figures in bins need none: those named ``FIGURE/COLUMN/LOW-HIGH`` are drawn for every head.
        """
