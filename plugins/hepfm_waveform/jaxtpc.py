"""JAXTPC's sensor files: ``event_NNN/volume_V/PLANE/{delta_wire, delta_time, values}``, and ``config``.

Only samples above a threshold are there, as differences of wire and tick from one to the next. A trace is a
run of neighbouring ticks of a wire. The pedestal is the plane's, and 0 where samples are not digitised. An
event is a group ``event_NNN``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from pydantic import BaseModel, ConfigDict

from hepfm.errors import DataError
from hepfm.readers import safety
from hepfm_waveform.h5 import H5Reader, event_groups, has_event
from hepfm_waveform.reader import Array, Parts, number, whole
from hepfm_waveform.schema import sample_type, waveform_schema

_PLANES = ("U", "V", "Y")


class JaxtpcReader(H5Reader):
    """Events of one sensor file with wires.

    Channels are numbered through: volume by volume, plane by plane, wire by wire. Planes are named by volume
    and plane (``0 U``).

    Raises:
        DataError: The configuration is missing, the readout is of pixels, or an event makes no sense.
    """

    class Config(BaseModel):
        """Options of the reader: none."""

        model_config = ConfigDict(frozen=True, extra="forbid")

    options: Config

    @classmethod
    def sniff(cls, path: Path) -> bool:
        """Whether the file has events with volumes, and a configuration that says how long a tick is."""

        def looks_right(event: h5py.Group) -> bool:
            about = event.file["config"].attrs
            return "time_step_us" in about and any(name.startswith("volume_") for name in event)

        return has_event(path, looks_right)

    def __init__(self, path: Path, config: Config | None = None) -> None:
        self.open(Path(path))
        self.options = config or self.Config()
        self._events = event_groups(self.file, path=self.path)
        self.n_events = len(self._events)
        where = f"{path}, field config"
        sample_ns = self.period_ns("time_step_us", 1000.0)
        if str(self.attribute("config", "readout_type", "wire")) != "wire":
            what = "the readout is of pixels, which are no waveforms"
            raise DataError(what, where=where, fix="name a file with wires")
        wires = self.numbers("config/num_wires", (None, None))
        self._wires = self.values("config/num_wires").astype(np.int64)
        if wires.shape[1] > len(_PLANES) or (self._wires < 0).any():
            raise DataError(f"num_wires makes no sense: {self._wires.tolist()}", where=where)
        self._first = np.concatenate([[0], self._wires.reshape(-1).cumsum()[:-1]]).reshape(wires.shape)
        self._rows: Array | None = None
        names = [
            f"{volume} {_PLANES[plane]}"
            for volume in range(wires.shape[0])
            for plane in range(wires.shape[1])
        ]
        dtype = self._sample_type()
        self.parts = {
            "charge": waveform_schema(
                sample_ns=sample_ns,
                dtype=dtype,
                known=("plane", "pedestal_adc"),
                planes=names,
            )
        }
        self.provenance = {"format": "JAXTPC sensors", "file": self.path.name}

    def _planes(self, event: int) -> Iterator[tuple[int, int, str]]:
        """Volume, plane and group of each plane of an event that has samples."""
        name = self._events[event]
        volumes = safety.group(self.file, name, path=self.path)
        for volume in range(len(self._wires)):
            if f"volume_{volume}" not in volumes:
                continue
            planes = safety.group(volumes, f"volume_{volume}", path=self.path)
            for plane in range(self._wires.shape[1]):
                if _PLANES[plane] in planes:
                    group = f"{name}/volume_{volume}/{_PLANES[plane]}"
                    if "values" in safety.group(self.file, group, path=self.path):
                        yield volume, plane, group

    def _sample_type(self) -> str:
        """Type of the samples, from the first that are there."""
        for event in range(self.n_events):
            for _, _, group in self._planes(event):
                found = self.numbers(f"{group}/values", (None,))
                return sample_type(found.dtype, where=f"{self.path}, field {group}/values")
        return "float32"

    def lengths(self, part: str) -> Array:  # noqa: ARG002  there is one part
        """``(len,)`` int64 samples of each event. Looks at all events the first time."""
        if self._rows is None:
            self._rows = np.array(
                [
                    sum(len(self.numbers(f"{group}/values", (None,))) for _, _, group in self._planes(event))
                    for event in range(self.n_events)
                ],
                np.int64,
            )
        return self._rows

    def event(self, index: int, *, labels: bool) -> tuple[Parts, Parts]:  # noqa: ARG002  there are none
        """The traces of all planes."""
        column = self.parts["charge"].tables["samples"]["adc"]
        adc = [np.empty(0, column.dtype)]
        names = ("channel", "plane", "start_tick", "n_samples", "pedestal_adc")
        traces: dict[str, list[Array]] = {name: [np.empty(0)] for name in names}
        for volume, plane, group in self._planes(index):
            wire, tick, values = self._samples(group, int(self._wires[volume, plane]))
            if values.dtype.newbyteorder("=") != column.dtype:
                what = f"samples are {values.dtype} here, and {column.dtype} in the first event"
                raise DataError(what, where=f"{self.path}, field {group}/values", fix="make the file again")
            begins = np.flatnonzero((np.diff(wire, prepend=-1) != 0) | (np.diff(tick, prepend=-2) != 1))
            adc.append(values)
            traces["channel"].append(self._first[volume, plane] + wire[begins])
            traces["plane"].append(np.full(len(begins), volume * self._wires.shape[1] + plane))
            traces["start_tick"].append(tick[begins])
            traces["n_samples"].append(np.diff(begins, append=len(wire)))
            pedestal = number(
                self.attribute(group, "pedestal", 0), where=f"{self.path}, attribute {group}/pedestal"
            )
            traces["pedestal_adc"].append(np.full(len(begins), pedestal))
        joined = {name: np.concatenate(rows) for name, rows in traces.items()}
        return {"charge": {"samples": {"adc": np.concatenate(adc)}, "traces": joined}}, {}

    def _samples(self, group: str, n_wires: int) -> tuple[Array, Array, Array]:
        """Wire, tick and value of each sample of a plane, by wire and tick."""
        size = len(self.numbers(f"{group}/values", (None,)))
        found = {}
        for axis in ("wire", "time"):
            start = self.attribute(group, f"{axis}_start")
            if start is None:
                what = f"the plane has no {axis}_start"
                raise DataError(what, where=f"{self.path}, field {group}", fix="make the file again")
            self.numbers(f"{group}/delta_{axis}", (size,))
            where = f"{self.path}, attribute {group}/{axis}_start"
            first = whole(number(start, where=where), where=where)
            found[axis] = first + self.values(f"{group}/delta_{axis}").cumsum(dtype=np.int64)
        wire, tick = found["wire"], found["time"]
        if size and (wire.min() < 0 or wire.max() >= n_wires or tick.min() < 0):
            what = f"a sample is of no wire of 0 to {n_wires - 1}, or before tick 0"
            raise DataError(what, where=f"{self.path}, field {group}", fix="make the file again")
        order = np.lexsort((tick, wire))
        wire, tick = wire[order], tick[order]
        if ((np.diff(wire) == 0) & (np.diff(tick) == 0)).any():
            what = "a tick of a wire is there twice"
            raise DataError(what, where=f"{self.path}, field {group}", fix="make the file again")
        return wire, tick, self.values(f"{group}/values")[order]
