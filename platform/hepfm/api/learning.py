"""What learns from tokens: backbones and objectives.

Legend of shapes: B events, N rows, U units of a part.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from hepfm.api.events import Batch, RaggedTables
from hepfm.api.modality import Modality, Tokens

if TYPE_CHECKING:
    import torch
    from pydantic import BaseModel

    from hepfm.random import Draws


@runtime_checkable
class Causal(Protocol):
    """What a `Backbone` has besides if it can look back only, and an `Objective` that needs one which does.

    Attributes:
        causal: Of a backbone, set to True: each token sees itself and those before it in its event alone. Of
            an objective's class: True.
    """

    causal: bool


@runtime_checkable
class Backbone(Protocol):
    """A ``torch.nn.Module``: tokens to tokens of the same width; an event never sees another."""

    Config: ClassVar[type[BaseModel]]
    d_model: int
    n_layers: int

    def __init__(self, config: Any, *, n_positions: int) -> None: ...

    def forward(self, tokens: Tokens, *, draws: Draws | None = None, layers: Sequence[int] = ()) -> Tokens:
        """Encoded tokens.

        Args:
            tokens: Input.
            draws: For drop-path and dropout, per event; None switches them off.
            layers: Layers (1 to n_layers) whose outputs are concatenated in width; none for the output, which
                is that of the last layer.
        """


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an objective does with a batch; made before the first forward of a step, without parameters.

    Attributes:
        counts: Number of predictions in each loss term; summed over ranks and micro-batches by the step.
        draws: The events' random numbers.
        payload: The objective's own.
    """

    counts: Mapping[str, int]
    draws: Draws
    payload: Any


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """What a part's display shows beside the loss: tables of the schema, packed."""

    visible: RaggedTables
    hidden: RaggedTables
    predicted: RaggedTables


@runtime_checkable
class CheckedParts(Protocol):
    """What the ``Config`` of an `Objective` has besides if its options name parts; checked on loading."""

    def check_parts(self, parts: Mapping[str, Collection[str] | None]) -> None:
        """Refuses options that do not fit the parts of the events.

        Args:
            parts: Name of each part to the names of its `Units.groups`; None where no event was seen.

        Raises:
            RecipeError: Which option (``objective.whole.light``), and what is wrong with it.
        """


@runtime_checkable
class Objective(Protocol):
    """A ``torch.nn.Module``: a self-supervised loss over any modality that offers what it needs.

    Attributes:
        weights: Loss term to its weight. The loss is the sum over terms of weight * sum / global count. A
            term of weight 0 is a figure that is logged beside it.
    """

    Config: ClassVar[type[BaseModel]]
    weights: Mapping[str, float]

    def __init__(self, config: Any, *, modalities: Mapping[str, Modality], d_model: int) -> None: ...

    def plan(self, batch: Batch, draws: Draws, *, augment: bool = True) -> Plan:
        """Masks and targets of a torch batch."""

    def forward(self, encoder: Any, plan: Plan) -> dict[str, torch.Tensor]:
        """The sum of each loss term, also for a batch without events.

        Connected to all its parameters, and to those of the encoder that tokens depend on.
        """

    def observe(self, plan: Plan) -> None:
        """Adds a plan's targets to the marginals (buffers that ranks add up, see `marginals`)."""

    def marginals(self) -> list[torch.Tensor]:
        """The buffers that `observe` adds to; none where `baseline` needs nothing of the data."""

    def baseline(self, plan: Plan) -> dict[str, torch.Tensor]:
        """The sums with the training set's marginals as the prediction: without learning.

        Empty where the objective has no such baseline.
        """

    def reconstruct(self, encoder: Any, plan: Plan) -> dict[str, Reconstruction]:
        """What was visible, hidden and predicted of each part, for displays; empty if it hides nothing."""


@runtime_checkable
class Labelled(Protocol):
    """What an `Objective` has besides if it learns from labels: then the batches that it plans have them.

    Attributes:
        labels: Of the objective's class: True.
    """

    labels: bool


@runtime_checkable
class Comparing(Protocol):
    """What an `Objective` has besides if its loss compares events with one another.

    Attributes:
        group_events: Events in a group. Groups are successive events of a global batch; dealing keeps each in
            one micro-batch, so that the loss is the same at any number of ranks and micro-batches.
    """

    group_events: int


@runtime_checkable
class Taught(Protocol):
    """What an `Objective` has besides if its targets come from a teacher that follows the model.

    The teacher lies in the objective's persistent buffers, so that checkpoints hold it.
    """

    def begin(self, encoder: Any) -> None:
        """Makes the teacher, of an encoder with initial weights; called once, before anything else."""

    def follow(self, weights: Iterable[tuple[str, torch.Tensor]], *, step: int, steps: int) -> None:
        """Moves the teacher, after a step that was taken. All ranks call it, and go through all the weights.

        Args:
            weights: Name (``encoder...``, ``objective...``) and value of each parameter, one after the other;
                whole where ranks hold shards, and there only until the next one is asked for.
            step: The step's number, from 1.
            steps: Of the whole run.
        """


@runtime_checkable
class Watched(Protocol):
    """What an `Objective` has besides if a validation has figures that are no sum over events."""

    def watched(self) -> list[torch.Tensor]:
        """The buffers that a forward pass in evaluation adds to: sums, which ranks add up.

        They are zeroed before a validation, and need not be saved.
        """

    def figures(self) -> dict[str, float]:
        """The figures, of what the buffers hold."""
