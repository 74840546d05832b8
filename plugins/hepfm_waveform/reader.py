"""What the readers of waveforms do alike: ids, packing, digest and check of events of one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from hepfm.api import Batch, PartSchema, RaggedTable, Sample, Tables
from hepfm.errors import DataError
from hepfm.random import stable_id
from hepfm.readers.checks import bad_events, event_indices
from hepfm.readers.digest import file_digest, json_digest
from hepfm.readers.pack import pack

DEAD_SAMPLES = 16
"""A trace of so many samples or more that are all equal is dead: noise would show in fewer."""

Array = np.ndarray[Any, Any]
Parts = dict[str, Tables]
"""Part name to its tables, of one event."""


class WaveformReader:
    """A file of waveforms. A format's reader says in ``__init__`` what is there, and reads one event.

    Attributes:
        n_events: Events of the file.
        options: The reader's ``Config``.
    """

    path: Path
    parts: Mapping[str, PartSchema]
    provenance: Mapping[str, Any]
    options: BaseModel
    n_events: int

    def event(self, index: int, *, labels: bool) -> tuple[Parts, Parts]:
        """Input tables and label tables of one event. Raises `DataError` for what makes no sense."""
        raise NotImplementedError

    def lengths(self, part: str) -> Array:
        """``(len,)`` int64 samples of each event."""
        raise NotImplementedError

    def __len__(self) -> int:
        return self.n_events

    def event_ids(self) -> Array:
        """``(len,)`` uint64: of the file's digest and the index."""
        digest = file_digest(self.path)
        return np.array([stable_id(digest, index) for index in range(len(self))], np.uint64)

    def read(self, indices: Sequence[int], *, labels: bool = True) -> Batch:
        """The events at these indices, in this order.

        Raises:
            DataError: An index is out of range, or an event cannot be read.
        """
        digest = file_digest(self.path)
        samples = []
        for index in event_indices(indices, len(self), path=self.path).tolist():
            inputs, truth = self.event(index, labels=labels)
            inputs, truth = (self._whole(half, event=index) for half in (inputs, truth))
            samples.append(Sample(event_id=stable_id(digest, index), parts=inputs, labels=truth))
        return pack(samples, self.parts, labels=labels)

    def _whole(self, half: Parts, *, event: int) -> Parts:
        """The tables with whole numbers where the schema has them, which must fit into its types."""

        def fitting(values: Any, part: str, table: str, name: str) -> Any:
            dtype = np.dtype(self.parts[part].tables[table][name].dtype)
            where = f"{self.path}, event {event}, field {part}/{table}/{name}"
            return whole(values, dtype, where=where) if dtype.kind in "iu" else values

        return {
            part: {
                table: {name: fitting(values, part, table, name) for name, values in columns.items()}
                for table, columns in tables.items()
            }
            for part, tables in half.items()
        }

    def digest(self) -> str:
        """Of the file's bytes and the options, which change what is read of them."""
        return json_digest([file_digest(self.path), self.options.model_dump_json()])

    def check(self) -> Iterator[str]:
        """Reads every event; yields one sentence for each that is bad, and for each part without a signal."""
        yield from bad_events(self)
        yield from self._dead_parts()

    def _dead_parts(self) -> Iterator[str]:
        """A sentence for each part in which no sample of any event differs from the others of its trace."""
        silent = set(self.parts) if len(self) else set()
        for event in range(len(self)):
            if not silent:
                return
            try:
                parts = self.read([event], labels=False).parts
            except DataError:  # said already
                continue
            silent -= {part for part in silent & parts.keys() if _alive(parts[part])}
        for part in sorted(silent):
            yield f"{self.path}, part {part}: all traces are dead (constant, or without samples)"

    def close(self) -> None:
        """Closes what is open."""


def _alive(tables: Mapping[str, RaggedTable]) -> bool:
    """Whether a trace of one event has samples that differ, or too few to tell."""
    adc, lengths = tables["samples"].columns["adc"], tables["traces"].columns["n_samples"]
    few = (lengths > 0) & (lengths < DEAD_SAMPLES)
    trace = np.repeat(np.arange(len(lengths)), lengths)
    return bool(few.any() or ((np.diff(adc) != 0) & (np.diff(trace) == 0)).any())


def whole(values: Any, dtype: Any = np.int64, *, where: str) -> Array:
    """Numbers as whole ones of a type.

    Raises:
        DataError: One is not whole, or does not fit into the type.
    """
    found = np.asarray(values)
    if found.dtype == dtype:
        return found
    if found.dtype.kind not in "iuf":
        raise DataError(f"wanted whole numbers, found {found.dtype}", where=where)
    with np.errstate(invalid="ignore"):
        cast = found.astype(dtype, copy=False)
    if (wrong := cast != found).any():
        what = f"{found[wrong][0]} is no whole number that {np.dtype(dtype)} holds"
        raise DataError(what, where=where, fix="make the file again with numbers that are")
    return cast


def number(value: Any, *, where: str) -> float:
    """A number that a file has, alone or as an array of one. Raises `DataError` for anything else."""
    try:
        return float(np.asarray(value).item())
    except (TypeError, ValueError):
        what = f"wanted one number, found {value!r}"
        raise DataError(what, where=where, fix="make the file again") from None


def whole_traces(samples: Array, channel: Array, **columns: Any) -> dict[str, dict[str, Array]]:
    """Tables of an event whose channels ``(C,)`` all have samples ``(C, S)`` from tick 0."""
    n_channels, n_samples = samples.shape
    traces = {
        "channel": channel,
        "start_tick": np.zeros(n_channels, np.int32),
        "n_samples": np.full(n_channels, n_samples, np.int32),
        **columns,
    }
    return {"samples": {"adc": samples.reshape(-1)}, "traces": traces}
