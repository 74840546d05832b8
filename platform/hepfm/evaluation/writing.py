"""What a model makes of many events, as an event store: cut into shards, each written whole by one process.

Which events are computed together follows from the shards alone, so that any number of processes, with Ray or
without, gives the same bits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict

from hepfm import __version__
from hepfm.api import Batch, Need, PartSchema, RaggedTable
from hepfm.data.batches import batches
from hepfm.data.few import FewEvents
from hepfm.data.source import Source
from hepfm.data.tensors import to_numpy
from hepfm.evaluation.embed import embed, embedding_schemas
from hepfm.evaluation.events import open_events
from hepfm.evaluation.predict import PREDICTED, predict, prediction_schemas
from hepfm.evaluation.scored import scored, scored_schemas
from hepfm.readers.layout import half
from hepfm.readers.plan import EMBEDDING, PREDICTION, SCORING, Work, agree
from hepfm.readers.storing import storing
from hepfm.readers.writer import Compression, StoreWriter
from hepfm.recipe.schema import Generated
from hepfm.training.pretrained import Pretrained, open_checkpoint

_FEWEST_EVENTS, _MOST_EVENTS, _SHARDS = 16, 1024, 64
"""Of a shard, and shards, where nobody says."""

_DECIDING = {"reader", "options", "read", "part", "layers", "masks", "carry", "compression"}
"""Of `Making`, what a store's shards have to have in common."""

Carry = Literal["nothing", "inputs", "labels"]


class Making(BaseModel):
    """What is made of which events, with which model; goes to other processes as JSON."""

    model_config = ConfigDict(frozen=True)

    checkpoint: str
    """Folder of the checkpoint."""
    data: list[str] | Generated
    """The files, or what a generator makes."""
    events: int | None = None
    """So many of the events, the first in order; by default all."""
    most: int | None = None
    """So many of the events at most, drawn; by default all."""
    reader: str | None = None
    """The reader's name; by default the one of the training."""
    options: dict[str, Any] = {}
    """The reader's."""
    read: Need | Literal["scored"] | None = None
    """What of the encoder is written; None for the head's predictions, ``scored`` for what scores ask for."""
    part: str = ""
    """Whose tokens or points."""
    layers: tuple[int, ...] = ()
    """Layers that are read, side by side; none for the output."""
    masks: int = 0
    """How often each event is masked, to be scored."""
    carry: Carry = "nothing"
    """What of the events is written beside it; with the labels the inputs, too."""
    compression: Compression = "none"
    """Of the store."""
    device: str = "cpu"
    """Where it is computed."""

    @property
    def work(self) -> Work:
        """How the plan in the target folder is called."""
        return {None: PREDICTION, "scored": SCORING}.get(self.read, EMBEDDING)

    def open(self, say: Callable[[str], None] = lambda _: None) -> tuple[Pretrained, Source]:
        """The model and the events; ``say`` is told of what is not as in training."""
        model = open_checkpoint(Path(self.checkpoint), device=self.device)
        source = open_events(
            model,
            self.data,
            reader=self.reader,
            options=self.options,
            events=self.events,
            seen=True,
            say=say,
        )
        if self.most is not None and len(source) > self.most:
            source = FewEvents(source, self.most, seed=1)
        return model, source

    def schemas(self, model: Pretrained, source: Source) -> dict[str, PartSchema]:
        """Of all that is written."""
        if self.read is None:
            made = prediction_schemas(model)
        elif self.read == "scored":
            made = scored_schemas(model, self.layers)
        else:
            made = embedding_schemas(model, self.read, self.part, self.layers)
        return made | carried_schemas(source, self.carry)


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One shard to write: events ``first`` to ``stop``."""

    target: Path
    making: str
    """As JSON."""
    first: int
    stop: int

    @property
    def events(self) -> int:
        return self.stop - self.first


def plan(
    making: Making,
    model: Pretrained,
    source: Source,
    target: Path,
    *,
    shard_events: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Unit]:
    """The shards that are still to be written; writes the plan into the target folder.

    Args:
        making: What is made.
        model: Of `Making.open`.
        source: The same.
        target: A folder of shards.
        shard_events: Events of a shard; by default 64 shards, of 16 to 1024 events.
        say: Told of another plan in the folder that has to give way.

    Raises:
        DataError: The folder holds something else.
    """
    events = len(source)
    size = shard_events or min(_MOST_EVENTS, max(_FEWEST_EVENTS, -(-events // _SHARDS)))
    settings = making.model_dump(mode="json", include=_DECIDING)
    wanted = {
        "weights_sha256": model.manifest["weights_sha256"],
        "data_digest": source.digest,
        "events": events,
        "shard_events": size,
        **settings,
    }
    agree(target, making.work, wanted, say=say)
    text = making.model_dump_json()
    units = [
        Unit(target=target / f"{k:05d}.h5", making=text, first=first, stop=min(first + size, events))
        for k, first in enumerate(range(0, events, size))
    ]
    return [unit for unit in units if not unit.target.exists()]


def write(unit: Unit, progress: Callable[[int], None] = lambda _: None) -> int:
    """Writes one shard; returns its events.

    Args:
        unit: What to write.
        progress: Told of the number of events after each piece.

    Raises:
        HepfmError: An event cannot be read, or the disk is full.
    """
    if unit.target.exists():  # Ray does a unit again where a node was lost after it was done
        progress(unit.events)
        return unit.events
    making, model, source = _opened(unit.making)
    schemas = making.schemas(model, source)
    writer = StoreWriter(
        unit.target, schemas, provenance(making, model, source, unit), compression=making.compression
    )
    labels = making.carry == "labels"
    with storing(unit.target), writer, _one_thread():
        for batch in batches(source, indices=range(unit.first, unit.stop), labels=labels):
            writer.write(_made(making, model, batch, schemas))
            progress(len(batch))
    return unit.events


def provenance(making: Making, model: Pretrained, source: Source, unit: Unit) -> dict[str, Any]:
    """Where a shard's tables are from."""
    return {
        "made_by": f"hepfm {__version__}",
        "made": "predictions" if making.read is None else making.read,
        "run": model.folder.parent.parent.name,
        "checkpoint": model.folder.name,
        "weights_sha256": model.manifest["weights_sha256"],
        "saw": model.saw,
        "data": making.model_dump(mode="json")["data"],
        "data_digest": source.digest,
        "first_index": unit.first,
    }


@lru_cache(maxsize=1)
def _opened(making: str) -> tuple[Making, Pretrained, Source]:
    """A process writes many shards of one model."""
    made = Making.model_validate(json.loads(making))
    return made, *made.open()


def _made(making: Making, model: Pretrained, batch: Batch, schemas: dict[str, PartSchema]) -> Batch:
    """A numpy batch of what is written of some events."""
    if making.read is None:
        tables = {PREDICTED + part: found for part, found in predict(model, batch).items()}
    elif making.read == "scored":
        tables = scored(model, batch, making.layers, masks=making.masks)
    else:
        tables = embed(model, batch, making.read, making.part, making.layers)
    cost = sum(tables[part][schemas[part].primary].lengths for part in tables)
    events = to_numpy(batch)
    parts: dict[str, dict[str, RaggedTable]] = dict(tables)
    if making.carry != "nothing":
        cost = cost + events.cost
        parts |= {part: dict(found) for part, found in events.parts.items()}
    return replace(events, cost=cost, parts=parts)


def carried_schemas(source: Source, carry: Carry) -> dict[str, PartSchema]:
    """Schemas of what is carried along of the events; without labels, only columns that are none."""
    if carry == "nothing":
        return {}
    if carry == "labels":
        return dict(source.parts)
    return {part: half(schema, label=False) for part, schema in source.parts.items()}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums are made in the same order everywhere: a worker of Ray has one thread, too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
