"""What the readers of waveforms do alike: ids, packing, digest and check of events of one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from hepfm.api import Batch, PartSchema, Sample, Tables
from hepfm.random import stable_id
from hepfm.readers.checks import bad_events, event_indices
from hepfm.readers.digest import file_digest, json_digest
from hepfm.readers.pack import pack

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
            samples.append(Sample(event_id=stable_id(digest, index), parts=inputs, labels=truth))
        return pack(samples, self.parts, labels=labels)

    def digest(self) -> str:
        """Of the file's bytes and the options, which change what is read of them."""
        return json_digest([file_digest(self.path), self.options.model_dump_json()])

    def check(self) -> Iterator[str]:
        """Reads every event; yields one sentence for each that is bad."""
        return bad_events(self)

    def close(self) -> None:
        """Closes what is open."""


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
