"""Simulated events as an event store: cut into shards, each written whole by one process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from hepfm.data.generator import GeneratedEvents
from hepfm.readers.layout import COUNTS
from hepfm.readers.pack import nbytes
from hepfm.readers.plan import SIMULATION, agree, planned
from hepfm.readers.storing import storing
from hepfm.readers.writer import Compression, StoreWriter

_FEWEST_EVENTS, _MOST_EVENTS = 16, 1024
"""Of a shard, by default."""
_SHARDS_PER_WORKER = 8
_BLOCK_EVENTS = 1024
_BLOCK_BYTES = 1 << 26
"""A block is in memory several times while it is written; events with waveforms can be megabytes each."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One shard to write: events ``first`` to ``stop``."""

    target: Path
    source: GeneratedEvents
    first: int
    stop: int
    compression: Compression

    @property
    def events(self) -> int:
        return self.stop - self.first


def plan(
    source: GeneratedEvents,
    target: Path,
    *,
    first: int,
    events: int,
    shard_events: int,
    compression: Compression,
    say: Callable[[str], None] = lambda _: None,
) -> list[Unit]:
    """The shards that are still to be written; writes the plan into the target folder.

    Args:
        source: Where the events are from.
        target: A folder of shards.
        first: Index of the first event.
        events: How many.
        shard_events: Events of a shard.
        compression: Of the store.
        say: Told of another plan in the folder that has to give way, see `hepfm.readers.plan.agree`.

    Raises:
        DataError: The folder holds something else.
    """
    said = source.provenance(first)
    del said["made_by"]  # another hepfm goes on with it; another plugin could make other events
    settings = {"parts": list(source.parts), "shard_events": shard_events, "compression": compression}
    agree(target, SIMULATION, {**said, "events": events, **settings}, say=say)
    units = [
        Unit(
            target=target / f"{k:05d}.h5",
            source=source,
            first=start,
            stop=min(start + shard_events, first + events),
            compression=compression,
        )
        for k, start in enumerate(range(first, first + events, shard_events))
    ]
    return [unit for unit in units if not unit.target.exists()]


def shard_size(target: Path, events: int, workers: int) -> int:
    """Events of a shard where nobody says: as those that are there, else several shards for each worker.

    What is lost in a kill is at most a shard of each worker, and no worker waits long for the last one.

    Args:
        target: A folder of shards.
        events: All that are wanted.
        workers: That work at once.

    Raises:
        DataError: The folder's plan makes no sense.
    """
    there = planned(target, SIMULATION) or {}
    size = there.get("shard_events")
    if isinstance(size, int) and size > 0 and there.get("events") == events and any(target.glob("*.h5")):
        return size
    return min(_MOST_EVENTS, max(_FEWEST_EVENTS, -(-events // (_SHARDS_PER_WORKER * workers))))


def simulate(unit: Unit, progress: Callable[[int], None] = lambda _: None) -> int:
    """Writes one shard; returns its events.

    Args:
        unit: What to write.
        progress: Told of the number of events after each piece.

    Raises:
        HepfmError: The generator failed, or the disk is full.
    """
    if unit.target.exists():  # Ray does a unit again where a node was lost after it was done
        progress(unit.events)
        return unit.events
    before = unit.source.counts()
    batches = unit.source.batches(unit.first, unit.stop)
    head = next(batches)
    writer = StoreWriter(
        unit.target,
        unit.source.parts,
        unit.source.provenance(unit.first),
        block_events=max(1, min(_BLOCK_EVENTS, _BLOCK_BYTES * len(head) // max(1, nbytes(head)))),
        compression=unit.compression,
    )
    with storing(unit.target), writer:
        for batch in chain([head], batches):
            writer.write(batch)
            progress(len(batch))
        if counts := unit.source.counts() - before:
            writer.remark({COUNTS: dict(sorted(counts.items()))})
    return unit.events
