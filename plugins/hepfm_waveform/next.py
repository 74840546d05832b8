"""NEXT raw data: ``RD/pmtrwf`` and ``RD/sipmrwf``, arrays of events, sensors and samples.

An event is a trigger. The photomultipliers are the part ``light``. The SiPMs of the tracking plane, which
image the charge by the light that it makes in front of them, are the part ``charge``. Their samples are
suppressed where there is no signal, and are 0 in the array there, far below any pedestal.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hepfm.errors import DataError
from hepfm.readers import safety
from hepfm_waveform.frames import stretches
from hepfm_waveform.h5 import H5Reader, has
from hepfm_waveform.reader import Array, Parts, whole_traces
from hepfm_waveform.schema import sample_type, waveform_schema

_SENSORS = {
    "light": ("RD/pmtrwf", "Sensors/DataPMT"),
    "charge": ("RD/sipmrwf", "Sensors/DataSiPM"),
}


class NextReader(H5Reader):
    """Events of one file. A file may have only one of the two kinds of sensors.

    Channels are the sensors' numbers (``sensorID``), or rows where the file has none.

    Raises:
        DataError: An array is missing, or arrays differ in their number of events.
    """

    class Config(BaseModel):
        """Options of the reader."""

        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        pmt_sample_ns: float = Field(default=25.0, gt=0)
        """From one sample of a photomultiplier to the next; the files do not say it."""
        sipm_sample_ns: float = Field(default=1000.0, gt=0)
        """The same of a SiPM."""
        sipm_zeros: bool = False
        """Whether samples of SiPMs are kept that are 0, which are those that were suppressed."""

    options: Config

    @classmethod
    def sniff(cls, path: Path) -> bool:
        """Whether the file has an array of NEXT's waveforms."""
        return has(path, "RD/pmtrwf") or has(path, "RD/sipmrwf")

    def __init__(self, path: Path, config: Config | None = None) -> None:
        file = self.open(Path(path))
        self.options = options = config or self.Config()
        sample_ns = {"light": options.pmt_sample_ns, "charge": options.sipm_sample_ns}
        self._arrays = {part: names[0] for part, names in _SENSORS.items() if names[0] in file}
        if not self._arrays:
            what = "the file has neither RD/pmtrwf nor RD/sipmrwf"
            raise DataError(what, where=str(path), fix="name a file of raw waveforms")
        self.parts, self._shapes, self._channels = {}, {}, {}
        self._lengths: dict[str, Array] = {}
        for part, name in self._arrays.items():
            found = self.numbers(name, (None, None, None))
            dtype = sample_type(found.dtype, where=f"{path}, field {name}")
            self._shapes[part] = found.shape
            self.parts[part] = waveform_schema(sample_ns=sample_ns[part], dtype=dtype)
            self._channels[part] = self._sensors(part)
        counts = {self._arrays[part]: shape[0] for part, shape in self._shapes.items()}
        if len(set(counts.values())) > 1:
            what = "arrays differ in their number of events: " + ", ".join(
                f"{k} {n}" for k, n in counts.items()
            )
            raise DataError(what, where=str(path), fix="make the file again")
        self.n_events = next(iter(counts.values()))
        self.provenance = {"format": "NEXT raw waveforms", "file": self.path.name} | self._run()

    def _sensors(self, part: str) -> Array:
        name, n_sensors = _SENSORS[part][1], self._shapes[part][1]
        if name not in self.file:
            return np.arange(n_sensors)
        found = safety.dataset(self.file, name, path=self.path)
        safety.expect(found, path=self.path, shape=(None,))
        where = f"{self.path}, field {name}"
        if "sensorID" not in (found.dtype.names or ()):
            raise DataError("the table has no sensorID", where=where)
        if len(found) != n_sensors:
            what = f"{len(found)} sensors are listed, {self._arrays[part]} has {n_sensors}"
            raise DataError(what, where=where, fix="make the file again")
        return self.values(name)["sensorID"]

    def _run(self) -> dict[str, int]:
        if "Run/runInfo" not in self.file:
            return {}
        runs = safety.dataset(self.file, "Run/runInfo", path=self.path)
        known = len(runs) and "run_number" in (runs.dtype.names or ())
        return {"run": int(self.values("Run/runInfo", 0)["run_number"])} if known else {}

    def _is_whole(self, part: str) -> bool:
        return part == "light" or self.options.sipm_zeros

    def lengths(self, part: str) -> Array:
        """``(len,)`` int64 samples of each event. Reads suppressed ones the first time."""
        if part not in self._lengths:
            _, sensors, samples = self._shapes[part]
            name = self._arrays[part]
            self._lengths[part] = (
                np.full(self.n_events, sensors * samples, np.int64)
                if self._is_whole(part)
                else np.array(
                    [np.count_nonzero(self.values(name, e)) for e in range(self.n_events)], np.int64
                )
            )
        return self._lengths[part]

    def event(self, index: int, *, labels: bool) -> tuple[Parts, Parts]:  # noqa: ARG002  there are none
        """The traces of all sensors: whole, or the stretches that were not suppressed."""
        inputs: Parts = {}
        for part, name in self._arrays.items():
            samples, channel = self.values(name, index), self._channels[part]
            if self._is_whole(part):
                inputs[part] = whole_traces(samples, channel)
                continue
            row, start, stop = stretches(samples != 0)
            traces = {"channel": channel[row], "start_tick": start, "n_samples": stop - start}
            inputs[part] = {"samples": {"adc": samples[samples != 0]}, "traces": traces}
        return inputs, {}
