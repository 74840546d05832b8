"""Events of one or many files as one numbered set, cut as the recipe asks and checked as they are read."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from hepfm.api import Batch, Modality, PartSchema, Reader
from hepfm.data.cuts import bad_value, cut_rows
from hepfm.data.deal import deal
from hepfm.data.few import FewEvents
from hepfm.data.generated import GeneratorSource
from hepfm.errors import DataError, did_you_mean
from hepfm.readers.pack import concat, pack, take
from hepfm.readers.sniff import open_reader, resolve_paths
from hepfm.readers.writer import schema_differences
from hepfm.recipe.components import config_of
from hepfm.recipe.schema import Generated, Part

_MAX_OPEN_FILES = 64


def open_source(
    spec: str | list[str] | Generated,
    *,
    parts: Mapping[str, Part],
    reader: str | None = None,
    options: Mapping[str, Any] | None = None,
    max_event_cost: int | None = None,
) -> Source:
    """The events that a recipe names.

    Args:
        spec: File, folder, glob, list of them, ``sample:train``, or what a generator makes.
        parts: Part name to kind and options; the modality's cut is applied on reading.
        reader: A reader's name; by default each file is sniffed.
        options: The reader's.
        max_event_cost: Events with more stored rows are refused.

    Raises:
        DataError: Nothing is there, a file is broken, files do not fit together, an event is too large or
            is there twice, or there are no events.
        PluginError: A modality, reader or generator is missing.
        RecipeError: A generator or reader refuses its options, or a generator makes no such part.
    """
    source: Source
    if isinstance(spec, Generated):
        source = GeneratorSource(spec, parts=parts, max_event_cost=max_event_cost)
    else:
        opener = partial(open_reader, reader=reader, options=options)
        source = EventSource(resolve_paths(spec), opener, parts=parts, max_event_cost=max_event_cost)
    for name, part in parts.items():
        cls, config = config_of("modality", part)
        source.modalities[name] = cls(config, source.parts[name])
    return source


class EventSource:
    """Events of files in order, numbered through. Files are opened in the process that reads them.

    Resident memory is 4 bytes an event beside what the readers keep; a pickled source carries none of it.

    Attributes:
        paths: The files.
        parts: Part name to its schema, which all files share. A file may lack a part.
        modalities: Part name to the modality whose `Modality.select` cuts its rows on reading.

    Args:
        paths: Files or stores.
        open_file: Opens one of them.
        parts: Names of the parts to read; others are left where they are.
        max_event_cost: Events with more stored rows are refused.

    Raises:
        DataError: See `open_source`.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        open_file: Callable[[Path], Reader],
        *,
        parts: Collection[str],
        max_event_cost: int | None = None,
    ) -> None:
        self.paths = tuple(paths)
        self.modalities: dict[str, Modality] = {}
        self._open_file = open_file
        self._readers: dict[int, Reader] = {}
        self._wanted = tuple(parts)
        sizes = [len(self._reader(file)) for file in range(len(self.paths))]
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        if not len(self):
            raise DataError(
                "There are no events.", where=_names(self.paths), fix="name files that hold events."
            )
        self.parts = self._shared_schemas()
        self._refuse_large(max_event_cost)
        self._refuse_twins()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getstate__(self) -> dict[str, Any]:
        # Costs are found again where they are asked for; processes that only read do without.
        return {name: value for name, value in self.__dict__.items() if name != "costs"} | {"_readers": {}}

    @cached_property
    def costs(self) -> np.ndarray[Any, np.dtype[np.uint32]]:
        """``(N,)`` stored rows of each event: of its parts' primary tables, before any cut."""
        costs = np.zeros(len(self), np.uint32)
        for file in range(len(self.paths)):
            reader = self._reader(file)
            for part in self.parts.keys() & reader.parts.keys():
                costs[self._starts[file] : self._starts[file + 1]] += reader.lengths(part).astype(np.uint32)
        return costs

    @cached_property
    def digest(self) -> str:
        """A hex digest of all files' content, in order."""
        digests = [self._reader(file).digest() for file in range(len(self.paths))]
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()

    def event_ids(self) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """``(N,)`` ids of all events; not kept."""
        return np.concatenate([self._reader(file).event_ids() for file in range(len(self.paths))])

    def place(self, index: int) -> str:
        """Where an event is, for messages: its file, and its number in it."""
        file = int(np.searchsorted(self._starts, index, side="right")) - 1
        return f"{self.paths[file]}, event {index - int(self._starts[file])}"

    def read(self, indices: Any, labels: bool = False) -> Batch:
        """The events at these indices ``(B,)``, in this order, cut and checked.

        Args:
            indices: Numbers in this source. Ascending ones are read fastest.
            labels: Whether label tables are read too; their rows are cut with the inputs'.

        Returns:
            A numpy batch with the tables of all parts; ``cost`` is before the cut.

        Raises:
            DataError: A file cannot be read, an input is NaN or infinite, or a modality refuses an event
                (names file, event and field).
        """
        indices = np.asarray(indices, np.int64)
        if not len(indices):
            return cut_rows(pack([], self.parts, labels=labels), self.modalities, self.parts, str)
        order = None if np.all(indices[1:] >= indices[:-1]) else np.argsort(indices, kind="stable")
        ascending = indices if order is None else indices[order]
        cuts = np.searchsorted(ascending, self._starts)
        batch = concat(
            [
                self._read_file(file, ascending[cuts[file] : cuts[file + 1]], labels=labels)
                for file in np.flatnonzero(np.diff(cuts)).tolist()
            ]
        )
        if order is not None:
            batch = take(batch, np.argsort(order, kind="stable"))
        if bad := bad_value(batch, self.parts):
            row, field = bad
            raise DataError(
                "A value is NaN or infinite.",
                where=f"{self.place(int(indices[row]))}, field {field}",
                fix="leave the event out or mend the file; hepfm data check lists every bad value.",
            )
        return cut_rows(batch, self.modalities, self.parts, lambda row: self.place(int(indices[row])))

    def share(
        self,
        indices: Any,
        costs: Any,
        *,
        rank: int,
        world: int,
        micro_batch_cost: int,
        labels: bool,
        together: int = 1,
    ) -> list[Batch]:
        """A rank's micro-batches of a global batch, as many on every rank, events in the order of files.

        The global batch has events ``indices (B,)`` with these ``costs (B,)``; the budget is in stored rows.
        Groups of ``together`` successive ones stay in one micro-batch, whose `Batch.group` tells them apart.
        """
        share = []
        for rows in deal(costs, world, micro_batch_cost, together=together)[rank]:
            in_files = rows[np.argsort(indices[rows], kind="stable")]
            batch = self.read(indices[in_files], labels=labels)
            share.append(batch if together == 1 else replace(batch, group=in_files // together))
        return share

    def counts(self) -> Counter[str]:
        """Nothing: files are read as they are."""
        return Counter()

    def _read_file(self, file: int, indices: np.ndarray[Any, Any], *, labels: bool) -> Batch:
        reader = self._reader(file)
        batch = reader.read(indices - self._starts[file], labels=labels)
        absent = {part: schema for part, schema in self.parts.items() if part not in batch.parts}
        empty = pack([], absent, labels=labels)
        no_rows = np.zeros(len(indices) + 1, np.int64)

        def complete(have: Mapping[str, Any], lacking: Mapping[str, Any]) -> dict[str, Any]:
            rows = {p: {n: replace(t, offsets=no_rows) for n, t in lacking[p].items()} for p in lacking}
            return {
                part: have.get(part, rows.get(part)) for part in self.parts if part in have or part in rows
            }

        parts = complete(batch.parts, empty.parts)
        cost = np.zeros(len(indices), np.int64)
        if batch.parts.keys() == self.parts.keys():
            cost = batch.cost
        else:
            for part, schema in self.parts.items():
                cost += parts[part][schema.primary].lengths
        return Batch(
            event_ids=batch.event_ids, cost=cost, parts=parts, labels=complete(batch.labels, empty.labels)
        )

    def _reader(self, file: int) -> Reader:
        """A file's reader, opened when first asked for; of many, the one opened first is closed."""
        if file not in self._readers:
            if len(self._readers) >= _MAX_OPEN_FILES:
                self._readers.pop(next(iter(self._readers))).close()
            self._readers[file] = self._open_file(self.paths[file])
        return self._readers[file]

    def _shared_schemas(self) -> dict[str, PartSchema]:
        shared: dict[str, tuple[PartSchema, Path]] = {}
        known: set[str] = set()
        for file, path in enumerate(self.paths):
            schemas = self._reader(file).parts
            known |= schemas.keys()
            for part in self._wanted:
                if part not in schemas:
                    continue
                schema, first = shared.setdefault(part, (schemas[part], path))
                if different := schema_differences({part: schema}, {part: schemas[part]}):
                    raise DataError(
                        "Files of one run describe a part differently.",
                        where=f"{first} (there) and {path} (here): {'; '.join(different)}",
                        fix="use files of one kind, or convert them alike with hepfm data convert.",
                    )
        for part in self._wanted:
            if part not in shared:
                raise DataError(
                    f"No file has a part '{part}'.", where=_names(self.paths), fix=did_you_mean(part, known)
                )
        return {part: shared[part][0] for part in self._wanted}

    def _refuse_large(self, max_event_cost: int | None) -> None:
        if max_event_cost is None or int(self.costs.max()) <= max_event_cost:
            return
        large = np.flatnonzero(self.costs > max_event_cost)
        more = f" and {len(large) - 1} more" if len(large) > 1 else ""
        raise DataError(
            f"An event has {self.costs[large[0]]} stored rows, more than the {max_event_cost} allowed.",
            where=self.place(int(large[0])) + more,
            fix="raise data.max_event_cost, or leave large events out with hepfm data split.",
        )

    def _refuse_twins(self) -> None:
        ids = self.event_ids()
        ids.sort()
        twins = ids[1:][ids[1:] == ids[:-1]]
        if len(twins):
            places = np.flatnonzero(self.event_ids() == twins[0])[:2].tolist()
            raise DataError(
                f"The event with id {int(twins[0]):#018x} is there twice.",
                where=" and ".join(self.place(index) for index in places),
                fix="name each file once; a copied event would count and be masked as one.",
            )


Source = EventSource | FewEvents | GeneratorSource
"""Events of files, all or a few, or of a generator."""


def check_apart(train: Source, val: Source) -> None:
    """Makes sure that no validation event is trained on.

    Of one generator and seed, no index may be in both, whatever the options: it draws the same numbers. Of a
    file of records, no part may be in both, whatever the seeds: another seed puts the same record elsewhere.

    Raises:
        DataError: An event or record is in both; names both places.
    """
    if isinstance(train, GeneratorSource) and isinstance(val, GeneratorSource):
        if (index := train.first_shared(val)) is not None:
            raise DataError(
                "Validation events are training events too, so validation would flatter.",
                where=f"generator {val.events.generator}, seed {val.events.seed}, event {index}",
                fix="give data.val another seed, or a first index beyond data.train's events.",
            )
        if (part := train.shared_records(val)) is not None:
            raise DataError(
                "Validation events begin with records of a file that training events begin with too, so "
                "validation would flatter; another seed does not help.",
                where=f"generator {val.events.generator}, {part[0]:g} to {part[1]:g} of the file",
                fix="give each a part of its own (share: [0, 0.9] and [0.9, 1]), or a file of its own.",
            )
        return
    train_ids, val_ids = train.event_ids(), val.event_ids()
    shared = np.flatnonzero(np.isin(val_ids, train_ids))
    if len(shared):
        twin = int(np.flatnonzero(train_ids == val_ids[shared[0]])[0])
        raise DataError(
            f"{len(shared)} validation events are training events too, so validation would flatter.",
            where=f"{train.place(twin)} and {val.place(int(shared[0]))}",
            fix="validate on other events: hepfm data split makes separate files.",
        )


def _names(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(map(str, paths[:3])) + more


def doubts(*sources: Source | None) -> list[str]:
    """What the generators among sources doubt of their configurations, each sentence once."""
    drawn = [source for source in sources if isinstance(source, GeneratorSource)]
    return list(dict.fromkeys(doubt for source in drawn for doubt in source.events.doubts))
