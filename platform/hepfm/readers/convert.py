"""Conversion of events from any format to the event store, or to a format whose reader can write.

The work is cut into units, one for each file that comes out. A file is complete or it does not exist, so a
conversion that was stopped goes on with the units whose files are missing: no event is lost or doubled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepfm.api import Batch, PartSchema, Reader
from hepfm.errors import DataError, RecipeError
from hepfm.plugins import plugins
from hepfm.readers.batches import batches
from hepfm.readers.checks import refuse_twins
from hepfm.readers.hilbert import order_rows
from hepfm.readers.plan import CONVERSION, agree
from hepfm.readers.sniff import SUFFIXES, open_reader
from hepfm.readers.storing import storing
from hepfm.readers.writer import Compression, StoreWriter, schema_differences


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How events are read and written.

    Attributes:
        reader: The reader's name; None to recognise the format.
        options: The reader's options.
        to: ``store``, or a reader that can write.
        compression: Of an event store.
        shard_events: Events of a file, where a folder of files is written.
    """

    reader: str | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    to: str = "store"
    compression: Compression = "none"
    shard_events: int = 16_384

    def open(self, path: Path) -> Reader:
        """The reader of a source."""
        return open_reader(path, self.reader, self.options)


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One file to write: events ``start`` to ``stop`` of each piece ``(source, start, stop)``, in order."""

    target: Path
    pieces: tuple[tuple[Path, int, int], ...]
    settings: Settings

    @property
    def events(self) -> int:
        return sum(stop - start for _, start, stop in self.pieces)


def plan(sources: Sequence[Path], target: Path, settings: Settings) -> list[Unit]:
    """The units of a conversion that are still to be done; writes the plan into a target folder.

    Args:
        sources: Files or stores, whose order is the order of events.
        target: A file (by its ending), or a folder of files.
        settings: How.

    Raises:
        DataError: A source is broken, sources have different schemas, or the target holds something else.
        RecipeError: The target format cannot be written.
    """
    if settings.to != "store" and not hasattr(plugins().load("readers", settings.to), "write"):
        raise RecipeError(f"the reader '{settings.to}' cannot write", where="--to", fix="use --to store")
    if twice := [path for path in sources if sources.count(path) > 1]:
        raise DataError("a source is named twice", where=str(twice[0]), fix="name each one once")
    first: Mapping[str, PartSchema] | None = None
    known: list[dict[str, Any]] = []
    for source in sources:
        reader = settings.open(source)
        first = first or reader.parts
        if differences := schema_differences(first, reader.parts):
            what = f"the sources have different schemas; from {sources[0].name}: " + "; ".join(
                differences[:3]
            )
            fix = "convert them apart, or set the reader's options (--option) so that they agree"
            raise DataError(what, where=str(source), fix=fix)
        known.append({"name": source.name, "digest": reader.digest(), "events": len(reader)})
        reader.close()
    refuse_twins({p: s["digest"] for p, s in zip(sources, known, strict=True) if s["events"]})
    counts = [source["events"] for source in known]
    if target.suffix in SUFFIXES:
        if target.exists():
            raise DataError("the target exists already", where=str(target), fix="remove it, or give another")
        pieces = tuple((source, 0, n) for source, n in zip(sources, counts, strict=True))
        return [Unit(target=target, pieces=pieces, settings=settings)]
    agree(target, CONVERSION, {"sources": known, "settings": dataclasses.asdict(settings)})
    cuts = [
        (source, start, min(start + settings.shard_events, n))
        for source, n in zip(sources, counts, strict=True)
        for start in range(0, n, settings.shard_events)
    ] or [(sources[0], 0, 0)]
    units = [
        Unit(target=target / f"{k:05d}.h5", pieces=(cut,), settings=settings) for k, cut in enumerate(cuts)
    ]
    return [unit for unit in units if not unit.target.exists()]


def left_out(source: Path, settings: Settings) -> list[str]:
    """Columns of a source that the target format cannot hold, as ``part.table.column``."""
    if settings.to == "store":
        return []
    reader = settings.open(source)
    names: list[str] = plugins().load("readers", settings.to).left_out(reader.parts)
    reader.close()
    return names


def convert(unit: Unit, progress: Callable[[int], None] = lambda _: None) -> int:
    """Writes one unit's file; returns its events.

    Args:
        unit: What to write.
        progress: Told of the number of events after each read.

    Raises:
        DataError: A source cannot be read.
    """
    settings = unit.settings
    readers = {source: settings.open(source) for source, _, _ in unit.pieces}
    first = next(iter(readers.values()))
    whole = [dict(readers[source].provenance) for source, _, _ in unit.pieces]
    provenance = {
        **whole[0],
        "sources": [{**p, "digest": r.digest()} for p, r in zip(whole, readers.values(), strict=True)],
    }

    def events() -> Iterator[Batch]:
        for source, start, stop in unit.pieces:
            for batch in batches(readers[source], range(start, stop)):
                yield batch
                progress(len(batch))

    unit.target.parent.mkdir(parents=True, exist_ok=True)
    if settings.to == "store":
        provenance["converted_by"] = _version()
        writer = StoreWriter(unit.target, first.parts, provenance, compression=settings.compression)
        with storing(unit.target), writer:
            for batch in events():
                writer.write(order_rows(batch, first.parts))
    else:
        plugins().load("readers", settings.to).write(unit.target, events(), first.parts, provenance)
    for reader in readers.values():
        reader.close()
    return unit.events


def _version() -> str:
    from hepfm import __version__

    return f"hepfm {__version__}"
