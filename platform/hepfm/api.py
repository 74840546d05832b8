"""The contracts between hepfm and its plugins: stable, versioned, and imported without numpy or torch.

How an event flows, and which contract it meets on its way::

    file -> Reader -> Batch (numpy) -> Modality.select -> Batch (torch) -> Modality.augment -> Modality.units
         -> Objective.plan (what is hidden) -> Tokenizer -> Tokens -> Backbone -> Objective -> {term: sum}

Legend of shapes: B events, N rows of a table, U units of a part, V visible ones, H hidden ones, Q points in
units, T tokens, D model width, P position axes, W and F widths.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import pluggy

if TYPE_CHECKING:
    import numpy as np
    import torch
    from pydantic import BaseModel

    from hepfm.random import Draws

API_VERSION = (1, 0)
"""(major, minor). A plugin declares ``HEPFM_API = (major, minor)``; another major is refused."""

hookimpl = pluggy.HookimplMarker("hepfm")
"""Marks a plugin's functions as implementations of the hooks in ``hepfm.hookspecs``."""


# --- What a plugin registers ----------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One thing that a plugin offers.

    Attributes:
        name: What recipes and command lines call it.
        target: ``"package.module:Name"``, imported only when it is asked for.
        summary: One line for ``hepfm plugin show``.
    """

    name: str
    target: str
    summary: str = ""


@dataclass(frozen=True, kw_only=True)
class ModalitySpec(Spec):
    """A kind of event part. The target is a `Modality`."""


@dataclass(frozen=True, kw_only=True)
class ReaderSpec(Spec):
    """A file format. The target is a `Reader`.

    Attributes:
        suffixes: File name endings that are worth sniffing, e.g. ``(".h5", ".hdf5")``; empty for all.
    """

    suffixes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GeneratorSpec(Spec):
    """A simulator. The target is a `Generator`."""


@dataclass(frozen=True, kw_only=True)
class BackboneSpec(Spec):
    """Tokens to tokens. The target is a `Backbone`."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveSpec(Spec):
    """A self-supervised loss. The target is an `Objective`."""


@dataclass(frozen=True, kw_only=True)
class HeadSpec(Spec):
    """A task. The target is a `Head`."""


@dataclass(frozen=True, kw_only=True)
class MetricSpec(Spec):
    """A figure for a task. The target is a callable ``(truth, prediction, **options) -> {name: float}``."""


@dataclass(frozen=True, kw_only=True)
class DisplaySpec(Spec):
    """A picture of parts of one kind. The target is a `Display`; ``name`` is the kind."""


@dataclass(frozen=True, kw_only=True)
class RecipeSpec(Spec):
    """A named recipe. The target is ``"package:path/in/package.yaml"``."""


@dataclass(frozen=True, kw_only=True)
class CallbackSpec(Spec):
    """Told of a run's start, validations, checkpoints and end. The target is a `Callback`."""


@dataclass(frozen=True, kw_only=True)
class HealthCheckSpec(Spec):
    """A check for ``hepfm doctor``. The target is a callable without arguments that yields `Finding`."""


@dataclass(frozen=True, kw_only=True)
class CommandSpec(Spec):
    """A command of ``hepfm``. The target is a typer app (a group) or a function (one command)."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a health check found: ``status`` is ``ok``, ``warning`` or ``error``; ``fix`` says what to do."""

    subject: str
    status: str
    found: str
    fix: str = ""


# --- What the data is -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        dtype: numpy name, e.g. ``"uint16"``.
        shape: Trailing shape of a row's entry, ``()`` for a number, ``(3,)`` for a voxel index.
        unit: ``"MeV"``, ``"ns"``, ``"voxel"``; empty for what has none.
        label: True for truth that a model may not see as input.
        vocabulary: For classes, the name of a vocabulary of the part.
        lengths_of: For a column of lengths, the table it cuts into runs (nesting).
    """

    dtype: str
    shape: tuple[int, ...] = ()
    unit: str = ""
    label: bool = False
    vocabulary: str = ""
    lengths_of: str = ""
    doc: str = ""


@dataclass(frozen=True, kw_only=True)
class ClassName:
    """One class of a vocabulary: its integer value in the data, its name, and a colour (``#rrggbb``)."""

    value: int
    name: str
    colour: str = ""


@dataclass(frozen=True, kw_only=True)
class PartSchema:
    """What is in a part: named tables of columns, each table ragged over the events.

    Attributes:
        kind: The registered modality that understands it.
        primary: The table whose length is the event's cost, and whose rows per-point tasks label.
        tables: Table name to column name to `Column`.
        vocabularies: Class vocabularies, by name.
        attributes: What else belongs to the part, as JSON (voxel size in mm, grid, origin, detector).
            ``truth: true`` marks truth; with ``nan: missing`` NaN is what is not known, elsewhere a defect.
    """

    kind: str
    primary: str
    tables: Mapping[str, Mapping[str, Column]]
    vocabularies: Mapping[str, tuple[ClassName, ...]] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)


Tables = Mapping[str, Mapping[str, "np.ndarray[Any, Any]"]]
"""Table name to column name to array ``(N, ...)``, of one event."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One event: its 64-bit id, its parts' input tables, and their label tables apart.

    A generator leaves the id out: the core gives it, see `Generator`.
    """

    event_id: int = 0
    parts: Mapping[str, Tables]
    labels: Mapping[str, Tables] = field(default_factory=dict)


@dataclass(frozen=True)
class Ragged:
    """Rows of B events end to end: ``values (N, ...)`` and ``offsets (B+1,)`` int64; numpy or torch."""

    values: Any
    offsets: Any

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, event: int) -> Any:
        """The rows of one event, a view."""
        return self.values[int(self.offsets[event]) : int(self.offsets[event + 1])]

    @property
    def lengths(self) -> Any:
        """Rows of each event, ``(B,)``."""
        return self.offsets[1:] - self.offsets[:-1]


@dataclass(frozen=True)
class RaggedTable:
    """A table of B events: columns ``(N, ...)`` that share ``offsets (B+1,)``; numpy or torch."""

    columns: Mapping[str, Any]
    offsets: Any

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, column: str) -> Ragged:
        return Ragged(self.columns[column], self.offsets)

    @property
    def lengths(self) -> Any:
        """Rows of each event, ``(B,)``."""
        return self.offsets[1:] - self.offsets[:-1]


RaggedTables = Mapping[str, RaggedTable]
"""Table name to `RaggedTable`, of one part."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B events, packed without padding. An event without a part has no rows in the part's tables.

    Attributes:
        event_ids: ``(B,)`` int64, the bits of the unsigned ids.
        cost: ``(B,)`` int64, rows of the primary tables as stored, before any cut.
        parts: Part name to its input tables.
        labels: Part name to its label tables, row for row with ``parts`` where a table is in both.
        group: ``(B,)`` int64, the same for events that an objective compares with one another
            (`Comparing`); None where it looks at each by itself.
    """

    event_ids: Any
    cost: Any
    parts: Mapping[str, RaggedTables]
    labels: Mapping[str, RaggedTables] = field(default_factory=dict)
    group: Any = None

    def __len__(self) -> int:
        return len(self.event_ids)

    def event(self, row: int) -> Sample:
        """One event of a numpy batch, as views."""

        def cut(parts: Mapping[str, RaggedTables]) -> dict[str, Tables]:
            return {
                part: {name: {c: table[c][row] for c in table.columns} for name, table in tables.items()}
                for part, tables in parts.items()
            }

        event_id = int(self.event_ids[row]) & 0xFFFFFFFFFFFFFFFF
        return Sample(event_id=event_id, parts=cut(self.parts), labels=cut(self.labels))


@runtime_checkable
class Reader(Protocol):
    """Events of one file or folder, with random access by index. Handles are opened lazily, per process.

    ``Reader(path, options)`` refuses what it cannot read with `DataError` (what, where, what to do).
    A class with a static method ``write(path, batches, parts, provenance) -> number of events`` beside these
    can also be written to (``hepfm data convert --to NAME``); its ``left_out(parts) -> list of
    part.table.column`` then says what the format has no place for.
    """

    Config: ClassVar[type[BaseModel]]
    path: Path
    parts: Mapping[str, PartSchema]
    provenance: Mapping[str, Any]

    @classmethod
    def sniff(cls, path: Path) -> bool:
        """Whether the path looks like this format. Cheap; never raises for a file of another format."""

    def __init__(self, path: Path, config: Any) -> None: ...

    def __len__(self) -> int: ...

    def event_ids(self) -> np.ndarray[Any, Any]:
        """``(len,)`` uint64, stable."""

    def lengths(self, part: str) -> np.ndarray[Any, Any]:
        """``(len,)`` int64: rows of the part's primary table, known without reading events."""

    def read(self, indices: Sequence[int], *, labels: bool = True) -> Batch:
        """The events at these indices, in this order, as a numpy batch."""

    def digest(self) -> str:
        """A hex digest of the content and of options that change what is read, for provenance and resume."""

    def check(self) -> Iterator[str]:
        """Reads everything; yields one sentence for each bad event or field, with where it is."""

    def close(self) -> None: ...


@runtime_checkable
class Generator(Protocol):
    """A simulator. Event i depends on (configuration, seed, i) alone: not on what was asked for before it.

    ``Generator(config, seed=seed)`` is made anew in each process that makes events, and more than once, so it
    is cheap: tables that take time are made for the first event. The core gives events their ids, from
    generator, `digest`, seed and index.

    Attributes:
        Config: A pydantic model. Its fields are options of ``hepfm simulate`` and of
            recipes, explained by their docstrings. `GENERATOR_KEYS` are taken.
        parts: Part name to schema, of the parts that were asked for.

    It may have these beside, which are asked for where they are there:

    - ``doubts``: sentences about what is odd in its configuration and may yet be meant; told as warnings.
    - ``records()``: what events take from files, as the digest of each file to the part of it, two numbers
      from 0 to 1. Training and validation may have no part in common.
    - ``counts()``: what was left out or changed in this process since it was made, as words to numbers
      (particles that were skipped, say). They are told at the end, and kept in provenance.
    """

    Config: ClassVar[type[BaseModel]]
    parts: Mapping[str, PartSchema]

    def __init__(self, config: Any, *, seed: int, parts: Collection[str] | None = None) -> None:
        """Refuses a configuration that makes no sense with `RecipeError`.

        Args:
            config: An instance of ``Config``.
            seed: 0 or more.
            parts: Those that are wanted, of all that the configuration offers; None for all. What an event
                has in a part does not depend on which others are wanted.
        """

    def digest(self) -> str:
        """A hex digest of all that events depend on but seed and index: configuration, files that it names.

        The same whichever parts are wanted.
        """

    def event(self, index: int) -> Sample:
        """Event ``index`` (0 or more), with its labels; the columns have the dtypes of the schemas."""

    def close(self) -> None:
        """Frees what it holds. It may be asked for events again."""


GENERATOR_KEYS = frozenset({"generator", "events", "seed", "first"})
"""What a recipe says of generated events beside the generator's own options, which need other names."""


# --- What a model is made of ----------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Units:
    """What can be hidden of one part (cells of an image, patches of a trace, particles), in packed order.

    Attributes:
        positions: ``(U, P)`` float32, in the modality's own unit of length between neighbouring units.
        offsets: ``(B+1,)`` int64.
        payload: The modality's own: what its tokenizer and decoder need.
        groups: Name to ``(U,)`` int64: which units of an event belong together and can be hidden as one,
            e.g. `channel`, `plane`.
    """

    positions: torch.Tensor
    offsets: torch.Tensor
    payload: Any
    groups: Mapping[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Tokens of B events, packed.

    Attributes:
        x: ``(T, D)``.
        positions: ``(T, P)`` float32.
        offsets: ``(B+1,)`` int64.
        part: ``(T,)`` int64, index of the token's part in the encoder's order of parts.
    """

    x: torch.Tensor
    positions: torch.Tensor
    offsets: torch.Tensor
    part: torch.Tensor


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
        """A random variant of each event (torch); draws depend on the event alone."""

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
        """The sums with the training set's marginals as the prediction: without learning."""

    def reconstruct(self, encoder: Any, plan: Plan) -> dict[str, Reconstruction]:
        """What was visible, hidden and predicted of each part, for displays; empty if it hides nothing."""


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


@runtime_checkable
class Head(Protocol):
    """A ``torch.nn.Module``: a task on encoded tokens, points or pooled events. It draws nothing at random.

    Attributes:
        needs: ``"tokens"``, rows of an event's encoded tokens; ``"points"``, rows of a part's primary table;
            or ``"pooled"``, one row for each event, also for an empty one.
        part: The part whose tokens or points it reads; empty for tokens of all parts, and for pooled events.
        predictions: Part name to the schema of what it predicts, none of it labels; as it is written to the
            event store.
    """

    Config: ClassVar[type[BaseModel]]
    needs: ClassVar[str]
    part: str
    predictions: Mapping[str, PartSchema]

    def __init__(self, config: Any, *, schema: Mapping[str, PartSchema], d_in: int) -> None:
        """Refuses a schema without the labels that it learns from (`DataError`: which are missing).

        Args:
            config: An instance of ``Config``.
            schema: Part name to schema of the data, labels included.
            d_in: Width of the features.
        """

    def forward(self, features: Ragged) -> Any:
        """The prediction, of features ``(N, d_in)`` of B events."""

    def loss(self, prediction: Any, batch: Batch) -> dict[str, tuple[torch.Tensor, int]]:
        """``{term: (sum, count)}``: a float32 scalar over all its targets in the torch batch; how many."""

    def predict(self, prediction: Any) -> dict[str, RaggedTables]:
        """Part name to tables of predictions (torch), with the columns of `predictions`."""


class Callback(Protocol):
    """Told of a run's milestones, on the rank that records it; never called inside a step."""

    def on_start(self, run: Mapping[str, Any]) -> None: ...

    def on_validation(self, step: int, figures: Mapping[str, float]) -> None: ...

    def on_checkpoint(self, step: int, path: Path) -> None: ...

    def on_end(self, run: Mapping[str, Any]) -> None: ...


class Display(Protocol):
    """Pictures of one event's part, described as panels that the core draws as HTML and as PNG."""

    def __call__(
        self, tables: Tables, schema: PartSchema, *, labels: Tables | None = None, title: str = ""
    ) -> list[Any]:
        """Panels of ``hepfm.display``."""
