"""Where events come from: files and simulators."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from hepfm.api.events import Batch, PartSchema, Sample

if TYPE_CHECKING:
    import numpy as np
    from pydantic import BaseModel


@runtime_checkable
class Reader(Protocol):
    """Events of one file or folder, with random access by index. Handles are opened lazily, per process.

    ``Reader(path, options)`` refuses what it cannot read with `DataError` (what, where, what to do).
    A class with a static method ``write(path, batches, parts, provenance) -> number of events`` beside these
    can also be written to (``hepfm data convert --to NAME``); its ``left_out(parts) -> list of
    part.table.column`` then says what the format has no place for. One with a class method
    ``nearly(path) -> str`` says of a file that nobody recognises what keeps it from being of its format, or
    nothing where it is far from it.
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
