# ruff: noqa: INP001
"""Events cut out of a frame: a window of ticks of some channels each, in the event store.

One frame is too few events to learn from, and to hold some back. Windows of time (and channels) are what it
has more of: some are trained on, others held out. They are of one moment of one detector all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hepfm.api import PartSchema, Sample
from hepfm.random import stable_id
from hepfm.readers.pack import pack
from hepfm.readers.writer import StoreWriter
from hepfm_waveform.frames import near_signal, stretches

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Samples of channels that all begin and end together.

    Attributes:
        name: Of the frame; ids of events are made of it.
        adc: ``(C, T)``.
        channel: ``(C,)``.
        columns: Other columns of ``traces``, ``(C, ...)`` each.
    """

    name: str
    adc: Array
    channel: Array
    columns: Mapping[str, Array]

    def cut(self, first: int, stop: int, rows: Array | None = None) -> Frame:
        """The ticks from first to before stop, of all channels or of those at some rows."""
        at = np.arange(len(self.channel)) if rows is None else np.asarray(rows)
        columns = {name: values[at] for name, values in self.columns.items()}
        where = f"{self.name}, ticks {first} to {stop}, channels {self.channel[at].tolist()}"
        return Frame(name=where, adc=self.adc[at, first:stop], channel=self.channel[at], columns=columns)

    def sample(
        self, part: str, *, zero_pad: int | None = None, labels: Mapping[str, Any] | None = None
    ) -> Sample:
        """The frame as an event, whose ticks are counted from its own start.

        Args:
            part: Its name.
            zero_pad: Leaves out ticks that are further than this from one that is not zero; None keeps all.
            labels: Label tables of the part.
        """
        kept = np.ones(self.adc.shape, bool) if zero_pad is None else near_signal(self.adc, zero_pad)
        row, start, stop = stretches(kept)
        traces = {
            "channel": self.channel[row],
            "start_tick": start,
            "n_samples": stop - start,
            **{name: values[row] for name, values in self.columns.items()},
        }
        tables = {"samples": {"adc": self.adc[kept]}, "traces": traces}
        truth = {} if labels is None else {part: labels}
        return Sample(event_id=stable_id(self.name), parts={part: tables}, labels=truth)


def write(path: Path, samples: Iterable[Sample], part: str, schema: PartSchema, **provenance: Any) -> Path:
    """A store of these events, in the place of one that is there."""
    path.unlink(missing_ok=True)
    with StoreWriter(path, {part: schema}, provenance, block_events=16) as writer:
        for sample in samples:
            writer.write(pack([sample], {part: schema}))
    return path
