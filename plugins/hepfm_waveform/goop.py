"""goop's light: ``event_NNN/label_K/{adc, offsets, t0_ns, pmt_id, pe_counts}``, and ``config``.

A label is what the light was simulated for, one after another: a volume, an interaction, a particle. Each has
its own pieces of waveforms; those of one photomultiplier overlap in time, and a detector reads their sum.
An event is a group ``event_NNN``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from pydantic import BaseModel, ConfigDict

from hepfm.api import Column
from hepfm.errors import DataError
from hepfm.readers import safety
from hepfm_waveform.h5 import H5Reader, event_groups, has_event
from hepfm_waveform.reader import Array, Parts, number
from hepfm_waveform.schema import sample_type, waveform_schema

_LABEL = re.compile(r"label_(-?\d+)")
_TRACES = {"label": Column(dtype="int32", label=True, doc="what the light was simulated for, label_K")}
_COUNTS = {
    "label": Column(dtype="int32", label=True, doc="as of traces"),
    "channel": Column(dtype="int32", label=True, doc="of the detector"),
    "photoelectrons": Column(dtype="int32", label=True, doc="of the channel and label, pe_counts"),
}


class GoopReader(H5Reader):
    """Events of one file of light. A trace is a piece of a waveform; which label it is of, is truth.

    Raises:
        DataError: The configuration is missing, or an event's arrays do not fit each other.
    """

    class Config(BaseModel):
        """Options of the reader."""

        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        label: int | None = None
        """Only the light of this label; by default that of all."""

    options: Config

    @classmethod
    def sniff(cls, path: Path) -> bool:
        """Whether the first event has a label with ``adc`` and ``pmt_id``."""
        return has_event(
            path,
            lambda event: any(
                isinstance(group, h5py.Group) and "adc" in group and "pmt_id" in group
                for group in event.values()
            ),
        )

    def __init__(self, path: Path, config: Config | None = None) -> None:
        self.open(Path(path))
        self.options = options = config or self.Config()
        self._events = event_groups(self.file, path=self.path)
        self.n_events = len(self._events)
        self._tick_ns = self.period_ns("tick_ns", 1.0)
        self._pedestal = 0.0
        if self.attribute("config", "digitized", False):
            pedestal = self.attribute("config", "pedestal")
            if pedestal is None:
                raise DataError("the samples are digitised, and have no pedestal", where=f"{path}, config")
            self._pedestal = number(pedestal, where=f"{path}, attribute config/pedestal")
        self._rows: Array | None = None
        self.parts = {
            "light": waveform_schema(
                sample_ns=self._tick_ns,
                dtype=self._sample_type(),
                known=("time_ns", "pedestal_adc"),
                labels={"traces": _TRACES, "counts": _COUNTS},
            )
        }
        self.provenance = {
            "format": "goop light",
            "file": self.path.name,
            "options": options.model_dump(mode="json"),
        }

    def _labels(self, event: int) -> list[tuple[int, str]]:
        group = safety.group(self.file, self._events[event], path=self.path)
        found = sorted((int(m[1]), name) for name in group if (m := _LABEL.fullmatch(name)))
        if self.options.label is not None:
            found = [one for one in found if one[0] == self.options.label]
        return [(label, f"{self._events[event]}/{name}") for label, name in found]

    def _sample_type(self) -> str:
        for event in range(self.n_events):
            for _, group in self._labels(event):
                found = self.numbers(f"{group}/adc", (None,))
                return sample_type(found.dtype, where=f"{self.path}, field {group}/adc")
        return "uint16"

    def lengths(self, part: str) -> Array:  # noqa: ARG002  there is one part
        """``(len,)`` int64 samples of each event. Looks at all events the first time."""
        if self._rows is None:
            self._rows = np.array(
                [
                    sum(len(self.numbers(f"{group}/adc", (None,))) for _, group in self._labels(event))
                    for event in range(self.n_events)
                ],
                np.int64,
            )
        return self._rows

    def event(self, index: int, *, labels: bool) -> tuple[Parts, Parts]:
        """The traces of all labels, one label after another."""
        adc: list[Array] = []
        traces: dict[str, list[Any]] = {"channel": [], "n_samples": [], "time_ns": [], "label": []}
        counts: dict[str, list[Any]] = {name: [] for name in _COUNTS}
        for label, group in self._labels(index):
            samples = self._checked(f"{group}/adc")
            offsets, t0, pmt = (self._checked(f"{group}/{name}") for name in ("offsets", "t0_ns", "pmt_id"))
            sizes = np.diff(offsets)
            whole = len(offsets) and offsets[0] == 0 and offsets[-1] == len(samples) and (sizes >= 0).all()
            if not whole or not len(sizes) == len(t0) == len(pmt):
                what = "the offsets do not cut the samples into one piece for each t0_ns and pmt_id"
                raise DataError(what, where=f"{self.path}, field {group}", fix="make the file again")
            if samples.dtype.newbyteorder("=") != self.parts["light"].tables["samples"]["adc"].dtype:
                what = f"samples are {samples.dtype} here, and of another type in the first event"
                raise DataError(what, where=f"{self.path}, field {group}/adc", fix="make the file again")
            adc.append(samples)
            for name, values in (("channel", pmt), ("n_samples", sizes), ("time_ns", t0)):
                traces[name].append(values)
            traces["label"].append(np.full(len(pmt), label))
            if labels and f"{group}/pe_counts" in self.file:
                found = self._checked(f"{group}/pe_counts")
                columns = (np.full(len(found), label), np.arange(len(found)), found)
                for name, values in zip(_COUNTS, columns, strict=True):
                    counts[name].append(values)
        joined = {name: np.concatenate([np.empty(0), *rows]) for name, rows in traces.items()}
        joined["start_tick"] = np.rint(joined["time_ns"] / self._tick_ns)
        truth = {"label": joined.pop("label")}
        joined["pedestal_adc"] = np.full(len(truth["label"]), self._pedestal)
        samples = np.concatenate(adc) if adc else np.empty(0, np.uint16)
        inputs: Parts = {"light": {"samples": {"adc": samples}, "traces": joined}}
        if not labels:
            return inputs, {}
        counted = {name: np.concatenate([np.empty(0), *rows]) for name, rows in counts.items()}
        return inputs, {"light": {"traces": truth, "counts": counted}}

    def _checked(self, name: str) -> Array:
        self.numbers(name, (None,))
        return self.values(name)
