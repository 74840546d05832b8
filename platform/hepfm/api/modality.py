"""What an event part of a kind is: its units, their tokens, and what is predicted of hidden ones.

Legend of shapes: B events, U units of a part, V visible ones, H hidden ones, Q points in units, T tokens,
D model width, P position axes, W and F widths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from hepfm.api.events import PartSchema, Ragged, RaggedTables

if TYPE_CHECKING:
    import torch
    from pydantic import BaseModel

    from hepfm.random import Draws


@dataclass(frozen=True, kw_only=True)
class Units:
    """What can be hidden of one part (cells of an image, patches of a trace, particles), in packed order.

    Attributes:
        positions: ``(U, P)`` float32, in the modality's own unit of length between neighbouring units.
        offsets: ``(B+1,)`` int64.
        payload: The modality's own: what its tokenizer and decoder need.
        groups: Name to ``(U,)`` int64: which units of an event belong together and can be hidden as one,
            e.g. `channel`, `plane`.
        places: Name of an axis that parts may share to ``(U, 2)`` float32: the unit's middle along it, and
            how far it reaches to either side, infinity where that is not known. See `Located`.
    """

    positions: torch.Tensor
    offsets: torch.Tensor
    payload: Any
    groups: Mapping[str, torch.Tensor] = field(default_factory=dict)
    places: Mapping[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """N small pieces of V visible units (voxels of a cell, a few samples of a patch), and where they lie.

    Attributes:
        features: ``(N, F)``.
        unit: ``(N,)`` int64, ascending: the visible unit, from 0, that a piece is of.
        places: As `Units.places`, ``(N, 2)`` each.
    """

    features: torch.Tensor
    unit: torch.Tensor
    places: Mapping[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Tokens of B events, packed.

    Attributes:
        x: ``(T, D)``.
        positions: ``(T, P)`` float32.
        offsets: ``(B+1,)`` int64.
        part: ``(T,)`` int64, index of the token's part in the encoder's order of parts.
        reach: ``(T, P)`` float32, how far a token reaches to either side of its position along each axis, and
            infinity where it has none; None where all are points.
    """

    x: torch.Tensor
    positions: torch.Tensor
    offsets: torch.Tensor
    part: torch.Tensor
    reach: torch.Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Encoded(Tokens):
    """Encoded tokens of the visible units, and the points in them.

    Attributes:
        points: Part name to what its tokenizer keeps of the points in visible units, see `Tokenizer`.
    """

    points: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is to be predicted of hidden units.

    Attributes:
        counts: Number of predictions in each loss term; follows from the masks alone.
        payload: The modality's own.
    """

    counts: Mapping[str, int]
    payload: Any


class Tokenizer(Protocol):
    """A ``torch.nn.Module``: units of one part to tokens of width ``d_model``, and back to points.

    Points are what units consist of: voxels of a cell, samples of a patch. A unit of no smaller things is
    one.

    Attributes:
        point_width: Width of a point's features, see `features`.
    """

    point_width: int

    def forward(self, units: Units, visible: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """Tokens of the visible units, and what is kept of their points; hidden units have no influence.

        Args:
            units: All units of the part.
            visible: ``(U,)`` bool.

        Returns:
            ``(V, d_model)``, one row for each visible unit, in order; and ``points``, the tokenizer's own,
            of Q points.
        """

    def position(self, positions: torch.Tensor) -> torch.Tensor:
        """``(K, d_model)`` embedding of positions ``(K, P)``, for queries without content."""

    def spread(self, points: Any, x: torch.Tensor) -> torch.Tensor:
        """``(Q, W)``: values of the visible units ``(V, W)`` at their points."""

    def features(self, points: Any, x: torch.Tensor) -> torch.Tensor:
        """``(Q, point_width)``: what each point is, in the light of encoded units ``(V, d_model)``."""

    def rows(self, units: Units, values: torch.Tensor) -> Ragged:
        """Values ``(Q, F)`` of all points, none hidden, at the primary table's rows, in their order."""


@runtime_checkable
class Containing(Protocol):
    """What a `Tokenizer` has besides if each of its points is in one unit."""

    def unit(self, points: Any) -> torch.Tensor:
        """``(Q,)`` int64: the visible unit that each point is in."""


class Decoder(Protocol):
    """A ``torch.nn.Module``: what is predicted of hidden units, and its loss.

    Attributes:
        terms: Loss term to its weight.
    """

    terms: Mapping[str, float]

    def hints(self, units: Units, visible: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """``(H, d_decoder)``: what points say of the hidden units next to them, added to their queries.

        Zeros where nothing is known, or where a modality has no points that lie next to other units.

        Args:
            units: All units of the part.
            visible: ``(U,)`` bool.
            points: ``(Q, point_width)``, the tokenizer's features of the points in visible units.
        """

    def forward(self, x: torch.Tensor) -> Any:
        """The prediction for hidden units, from their decoded tokens ``(H, d_decoder)``."""

    def loss(self, prediction: Any, target: Target) -> dict[str, torch.Tensor]:
        """The sum of each term over all its predictions, float32 scalars."""

    def observe(self, target: Target) -> None:
        """Adds a target to the marginals of the baseline: all its buffers, sums that ranks add up."""

    def baseline(self, target: Target) -> dict[str, torch.Tensor]:
        """The same sums with the training set's marginals as the prediction."""

    def tables(self, prediction: Any, units: Units, hidden: torch.Tensor) -> RaggedTables:
        """The prediction as tables of the part's schema, for displays."""


@runtime_checkable
class Completing(Protocol):
    """What a `Decoder` has besides if what it fills in has figures of its own, beside the loss."""

    def statistics(self, prediction: Any, target: Target) -> torch.Tensor:
        """``(F,)`` float64: sums over hidden units, which add up over events."""

    def figures(self, sums: Any) -> dict[str, float]:
        """Figure to its value, of summed statistics ``(F,)`` (numpy); those that are not defined left out."""


@runtime_checkable
class Modality(Protocol):
    """What an event part of this kind is. Holds no parameters; its modules are made by its methods."""

    Config: ClassVar[type[BaseModel]]
    schema: PartSchema
    n_positions: int

    def __init__(self, config: Any, schema: PartSchema) -> None:
        """Refuses a schema that it cannot work with (`DataError`: which column, and what is wrong)."""

    def select(self, tables: RaggedTables) -> Mapping[str, Any]:
        """The cut applied on reading: for each table that it cuts, a bool mask of rows to keep (numpy)."""

    def augment(self, tables: RaggedTables, draws: Draws) -> RaggedTables:
        """A random variant of each event (torch); draws depend on the event alone.

        Where a task is learned, the label columns are among the tables: of those that the variant changes
        (places, directions), too. Rows stay what they are, and in their order.
        """

    def units(self, tables: RaggedTables) -> Units:
        """The units of each event (torch), whatever the order of its rows."""

    def target(self, units: Units, hidden: torch.Tensor) -> Target:
        """What is to be predicted of the hidden units ``(U,)`` bool."""

    def visible_tables(self, units: Units, visible: torch.Tensor) -> RaggedTables:
        """The rows of the units kept by the mask ``(U,)`` bool, as tables of the schema, for displays."""

    def tokenizer(self, d_model: int) -> Any:
        """A new `Tokenizer` module."""

    def decoder(self, d_model: int) -> Any:
        """A new `Decoder` module."""


@runtime_checkable
class Ordered(Protocol):
    """What a `Modality` has besides if its units can be predicted one after the other.

    Attributes:
        ordered: Whether the packed order of units is one to predict along. Then a unit's token is of that
            unit alone, and its target is all that there is to know of it.
    """

    ordered: bool


@runtime_checkable
class Located(Protocol):
    """What a `Modality` has besides if its units lie in a frame that other parts can lie in, too.

    An image cell at a drift of 30 cm and the ticks at which its charge arrives are at one place of the axis
    `x`. Where two parts name an axis alike, their units are near one another along it, and attention begins
    by looking there.

    Attributes:
        axes: Names of the axes of its units' `Units.places`; none where the data does not tell.
        piece_width: Width of the features of a piece.
    """

    axes: tuple[str, ...]
    piece_width: int

    def pieces(self, units: Units, visible: torch.Tensor, features: torch.Tensor) -> Pieces:
        """What hidden units of other parts are told of the visible ones that they overlap with.

        Args:
            units: All units of the part.
            visible: ``(U,)`` bool.
            features: ``(Q, point_width)``, the tokenizer's features of the points in visible units.
        """


@runtime_checkable
class Weighed(Protocol):
    """What a `Modality` has besides if it can say how much there is in an event.

    What is told apart by that alone needs no model: the baseline of flash matching.
    """

    def amount(self, units: Units) -> torch.Tensor:
        """``(B,)`` energy, charge or light of each event, in whatever unit the kind counts it.

        Args:
            units: All units of the part.
        """


@runtime_checkable
class Surrounded(Protocol):
    """What a `Modality` has besides if it can say in numbers what lies around each point of its units.

    Attributes:
        point_width: Of its tokenizer's features of points.
        surroundings_width: How many numbers, S.
    """

    point_width: int
    surroundings_width: int

    def surroundings(self, units: Units, visible: torch.Tensor) -> torch.Tensor:
        """``(Q, S)`` float32 of order one: what is around each point of the visible units, hidden or not.

        Args:
            units: All units of the part.
            visible: ``(U,)`` bool.
        """
