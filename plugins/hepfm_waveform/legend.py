"""LEGEND's raw tier (``lh5``): ``chN/raw/waveform/{values, dt, t0}`` and ``chN/raw/baseline``.

An event is a row of the raw tier, over all channels: they are triggered together. The ``hit`` tier, if it is
named, gives the photoelectrons of each trace of a SiPM and where they are, as truth.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import h5py
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hepfm.api import PartSchema
from hepfm.errors import DataError
from hepfm.readers import safety
from hepfm.readers.digest import file_digest, json_digest
from hepfm_waveform.h5 import H5Reader
from hepfm_waveform.legend_hits import PULSES, HitTier
from hepfm_waveform.reader import Array, Parts
from hepfm_waveform.schema import sample_type, waveform_schema

_CHANNEL = re.compile(r"ch(\d+)")
_NS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}


class LegendReader(H5Reader):
    """Rows of one file of the raw tier.

    Raises:
        DataError: Channels differ in their number of rows, in what a row is, or in the length of a sample;
            waveforms are encoded.
    """

    class Config(BaseModel):
        """Options of the reader."""

        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        channels: Annotated[tuple[int, ...], Field(min_length=1)] | None = None
        """Numbers of the channels to read; by default all."""
        charge: tuple[int, ...] = ()
        """Channels of germanium detectors, which become the part charge. With hit they are known from it."""
        waveform: str = "waveform"
        """The table of waveforms: waveform, or waveform_windowed or waveform_presummed in later files."""
        hit: str | None = None
        """File of the hit tier with the truth; or its folder, where tier_raw in the name becomes tier_hit."""

    options: Config

    @classmethod
    def sniff(cls, path: Path) -> bool:
        """Whether the file has a channel with a raw tier of waveforms."""
        try:
            with h5py.File(path, "r", locking="best-effort") as file:
                return any(
                    _CHANNEL.fullmatch(name)
                    and any(t.startswith("waveform") for t in file[name].get("raw", ()))
                    for name in file
                )
        except (*safety.DAMAGE, AttributeError):
            return False

    @classmethod
    def nearly(cls, path: Path) -> str:
        """Whether it is a hit tier, which is truth."""
        with h5py.File(path, "r", locking="best-effort") as file:
            hit = any(_CHANNEL.fullmatch(name) and "hit" in file[name] for name in file)
        return (
            "this is the hit tier, truth of a raw file: read that one with --option hit=FILE" if hit else ""
        )

    def __init__(self, path: Path, config: Config | None = None) -> None:
        file = self.open(Path(path))
        self.options = options = config or self.Config()
        found = {int(m[1]): name for name in file if (m := _CHANNEL.fullmatch(name))}
        missing = [f" {c}" for c in sorted({*(options.channels or ()), *options.charge} - found.keys())]
        if missing or not found:
            what = "the file has no channel" + (missing[0] if missing else " (chN/raw)")
            raise DataError(what, where=str(path), fix=f"it has: {', '.join(list(file)[:12]) or 'nothing'}")
        wanted = sorted(found) if options.channels is None else list(dict.fromkeys(options.channels))
        self._group = {channel: f"{found[channel]}/raw" for channel in wanted}
        self._hit = HitTier(Path(options.hit).expanduser(), self.path) if options.hit is not None else None
        charge = set(options.charge)
        if self._hit is not None:
            charge |= {channel for channel in wanted if not self._hit.has_light(channel)}
        of = {"light": [c for c in wanted if c not in charge], "charge": [c for c in wanted if c in charge]}
        self._channels = {part: channels for part, channels in of.items() if channels}
        self._samples = {channel: self._waveforms(channel) for channel in wanted}
        self.n_events = self._rows(wanted)
        if not self.n_events:
            raise DataError("the file has no rows", where=str(path), fix="leave it out")
        self._t0 = {channel: self._times(channel, "t0") for channel in wanted}
        self._known = ["time_ns"]
        self._known += ["pedestal_adc"] if all(f"{g}/baseline" in file for g in self._group.values()) else []
        for channel in wanted if "pedestal_adc" in self._known else ():
            self.numbers(f"{self._group[channel]}/baseline", (self.n_events,))
        self.parts = {part: self._schema(part, channels) for part, channels in self._channels.items()}
        self.provenance = {
            "format": "LEGEND raw tier",
            "file": self.path.name,
            "options": options.model_dump(mode="json", exclude={"hit"}),
        } | ({} if self._hit is None else {"hit": self._hit.path.name})

    def _waveforms(self, channel: int) -> tuple[str, int, np.dtype[Any]]:
        """Dataset of the channel's waveforms, samples of a row, and their type."""
        name = f"{self._group[channel]}/{self.options.waveform}/values"
        where = f"{self.path}, field {name}"
        if isinstance(self.file.get(name), h5py.Group):
            codec = safety.group(self.file, name, path=self.path).attrs.get("codec", "a codec")
            what = f"the waveforms are encoded ({codec})"
            fix = "decode them first: read the file with legend-pydataobj, which decodes, and write it again"
            raise DataError(what, where=where, fix=fix)
        found = self.numbers(name, (None, None))
        return name, int(found.shape[1]), np.dtype(sample_type(found.dtype, where=where))

    def _rows(self, wanted: list[int]) -> int:
        """Number of rows, which all channels have alike."""
        rows = {channel: len(self.file[self._samples[channel][0]]) for channel in wanted}
        if len(set(rows.values())) > 1:
            what = "channels differ in their number of rows: " + ", ".join(
                f"ch{c} {n}" for c, n in rows.items()
            )
            fix = "their rows are no common events: name channels that were triggered together (channels)"
            raise DataError(what, where=str(self.path), fix=fix)
        first: tuple[int, Array] | None = None
        for channel in wanted:
            name = f"{self._group[channel]}/eventnumber"
            if name not in self.file:
                continue
            self.numbers(name, (rows[channel],))
            numbers = self.values(name)
            first = first or (channel, numbers)
            if len(differ := np.flatnonzero(numbers != first[1])):
                row = int(differ[0])
                what = (
                    f"row {row} is event {first[1][row]} of ch{first[0]}, and {numbers[row]} of ch{channel}"
                )
                fix = "name channels that were triggered together (channels)"
                raise DataError(what, where=str(self.path), fix=fix)
        return rows[wanted[0]]

    def _times(self, channel: int, column: str) -> Array:
        """``(rows,)`` in ns."""
        name = f"{self._group[channel]}/{self.options.waveform}/{column}"
        found = self.numbers(name, (self.n_events,))
        unit = found.attrs.get("units", "ns")
        unit = unit.decode() if isinstance(unit, bytes) else unit
        if not isinstance(unit, str) or unit not in _NS:
            raise DataError(f"the unit of time '{unit}' is not known", where=f"{self.path}, field {name}")
        return self.values(name).astype(np.float64) * _NS[unit]

    def _schema(self, part: str, channels: list[int]) -> PartSchema:
        lengths = np.concatenate([self._times(channel, "dt") for channel in channels])
        types = {self._samples[channel][2].name for channel in channels}
        if len(set(lengths.tolist())) > 1 or len(types) > 1 or not (lengths > 0).all():
            what = f"channels of the part {part} differ in the length of a sample, or in its type"
            fix = "name those of one kind (channels), or the germanium detectors (charge)"
            raise DataError(what, where=str(self.path), fix=fix)
        return waveform_schema(
            sample_ns=float(lengths[0]),
            dtype=types.pop(),
            known=self._known,
            labels={"pulses": PULSES} if self._hit is not None and part == "light" else None,
        )

    def lengths(self, part: str) -> Array:
        """``(len,)`` int64 samples of each row, all alike."""
        samples = sum(self._samples[channel][1] for channel in self._channels[part])
        return np.full(self.n_events, samples, np.int64)

    def event(self, index: int, *, labels: bool) -> tuple[Parts, Parts]:
        """The traces of all channels in a row, and the pulses in them."""
        inputs: Parts = {}
        for part, channels in self._channels.items():
            samples = [self.values(self._samples[channel][0], index) for channel in channels]
            time_ns = np.array([self._t0[channel][index] for channel in channels])
            tick_ns = float(self.parts[part].attributes["sample_ns"])
            traces: Mapping[str, Any] = {
                "channel": channels,
                "start_tick": np.rint((time_ns - time_ns.min()) / tick_ns),
                "n_samples": [len(values) for values in samples],
                "time_ns": time_ns,
            }
            if "pedestal_adc" in self._known:
                pedestals = [self.values(f"{self._group[channel]}/baseline", index) for channel in channels]
                traces = {**traces, "pedestal_adc": pedestals}
            inputs[part] = {"samples": {"adc": np.concatenate(samples)}, "traces": traces}
        if not labels or self._hit is None or "light" not in self._channels:
            return inputs, {}
        pulses = self._hit.pulses(index, self._channels["light"], rows=self.n_events)
        return inputs, {"light": {"pulses": pulses}}

    def digest(self) -> str:
        """Of the bytes of the file and of the hit tier, and the options."""
        hit = file_digest(self._hit.path) if self._hit is not None else None
        return json_digest([file_digest(self.path), hit, self.options.model_dump_json(exclude={"hit"})])

    def close(self) -> None:
        """Closes the files."""
        super().close()
        if self._hit is not None:
            self._hit.close()
