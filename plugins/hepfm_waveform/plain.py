"""Plain arrays of waveforms in HDF5, ``.npz`` or ``.npy``, described by a few options.

By default the array ``adc`` with the axes event, channel, sample is read, and the file says ``sample_ns``: as
an attribute of the dataset or the file in HDF5, as an array of one number in ``.npz``. Options say what is
otherwise, and where channel numbers, planes, pedestals and positions are.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import h5py
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from hepfm.errors import DataError, RecipeError, did_you_mean
from hepfm.readers import safety
from hepfm_waveform.array_file import ArrayFile, H5Arrays, NpyArrays
from hepfm_waveform.reader import Array, Parts, WaveformReader, whole, whole_traces
from hepfm_waveform.schema import plane_of, sample_type, waveform_schema

_AXES = {1: "t", 2: "ct", 3: "ect"}
"""Axes by their number, where no option says them."""


class PlainReader(WaveformReader):
    """Events of one file of arrays. Of several arrays, the events of the first come first.

    ``.npy`` files and HDF5 are read event by event. A ``.npz`` file is read an array at a time, and the array
    read last stays in memory: convert what is large.

    Raises:
        DataError: An array is missing, or has other axes than the options say.
        RecipeError: Neither the file nor an option says how far apart samples are.
    """

    class Config(BaseModel):
        """Options of the reader."""

        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        part: str = "charge"
        """Name of the part that the events get: charge or light."""
        dataset: str | Annotated[tuple[str, ...], Field(min_length=1)] = "adc"
        """Name of the array in the file, several of them, or a pattern (raw_*)."""
        axes: str | None = None
        """The array's axes in order: e event, c channel, t sample; by default ect, ct or t."""
        sample_ns: float | None = Field(default=None, gt=0)
        """From one sample to the next; by default as the file says."""
        unit: str = "ADC"
        """Of the samples."""
        channels: str | None = None
        """Name of an array with the channels' numbers (C,); by default they are numbered from 0."""
        planes: dict[str, tuple[int, int]] = Field(default_factory=dict)
        """Planes by name: first and last channel, e.g. {U: [0, 799], V: [800, 1599], W: [1600, 2559]}."""
        pedestals: str | float | None = None
        """Name of an array with the channels' pedestals (C,), or one number for all."""
        positions_mm: str | None = None
        """Name of an array with the channels' positions (C, 3) in mm."""
        bad_channels: tuple[int, ...] = ()
        """Channels that are left out."""

        @field_validator("axes")
        @classmethod
        def _known(cls, axes: str | None) -> str | None:
            if axes is not None and (set(axes) - set("ect") or len(set(axes)) < len(axes) or "t" not in axes):
                raise ValueError("axes are e, c and t, each once, and t among them: ect, ct, et, tc")
            return axes

    options: Config

    @classmethod
    def sniff(cls, path: Path) -> bool:
        """Whether it has an array ``adc`` of two or three axes, and says ``sample_ns``."""
        try:
            if h5py.is_hdf5(path):
                with h5py.File(path, "r", locking="best-effort") as file:
                    found = file.get("adc")
                    shape = found.shape if isinstance(found, h5py.Dataset) else ()
                    return len(shape) in (2, 3) and any("sample_ns" in o.attrs for o in (found, file))
            headers = NpyArrays(path).headers if Path(path).suffix == ".npz" else {}
            return "sample_ns" in headers and "adc" in headers and len(headers["adc"].shape) in (2, 3)
        except (*safety.DAMAGE, DataError):
            return False

    @classmethod
    def nearly(cls, path: Path) -> str:
        """What is missing of an array ``adc`` and its ``sample_ns``. `DataError` for a damaged file."""
        file: ArrayFile = H5Arrays(path) if _is_hdf5(path) else NpyArrays(path)
        names = file.names()
        how = (
            "--reader array --option sample_ns=16"
            if "adc" in names
            else "--reader array --option dataset=NAME"
        )
        if "adc" not in names:
            more = ", ..." if len(names) > 6 else ""
            return f"there is no array 'adc', but {', '.join(names[:6]) or 'nothing'}{more} ({how})"
        if file.sample_ns("adc") is None:
            return f"nothing says how far apart the samples of 'adc' are, in ns ({how})"
        return f"'adc' has the axes {file.shape('adc')} (--option axes=...)"

    def __init__(self, path: Path, config: Config | None = None) -> None:
        self.path = path = Path(path)
        self.options = options = config or self.Config()
        self._file: ArrayFile = H5Arrays(path) if _is_hdf5(path) else NpyArrays(path)
        self._names = self._find()
        self._axes = {name: self._axes_of(name) for name in self._names}
        self._starts = np.cumsum([0, *(self._sizes(name)[0] for name in self._names)])
        self.n_events = int(self._starts[-1])
        sample_ns = options.sample_ns or self._file.sample_ns(self._names[0])
        if sample_ns is None or not np.isfinite(sample_ns) or sample_ns <= 0:
            raise RecipeError(
                "neither the file nor an option says how far apart samples are",
                where=str(path),
                fix="set the reader's option sample_ns, e.g. 500 (ns)",
            )
        types = {sample_type(self._file.dtype(name), where=f"{path}, {name}") for name in self._names}
        if len(types) > 1:
            what = f"the arrays differ in type: {', '.join(sorted(types))}"
            raise DataError(what, where=str(path), fix="name arrays of one type (dataset)")
        self._columns = self._channel_columns()
        known = [name for name in self._columns if name != "channel"]
        self.parts = {
            options.part: waveform_schema(
                sample_ns=float(sample_ns),
                dtype=types.pop(),
                known=known,
                unit=options.unit,
                planes=tuple(options.planes),
                left_out=list(options.bad_channels),
            )
        }
        self.provenance = {
            "format": "arrays of waveforms",
            "file": path.name,
            "arrays": self._names,
            "options": options.model_dump(mode="json"),
        }

    def _find(self) -> list[str]:
        wanted = self.options.dataset
        names = self._file.names()
        found: list[str] = []
        for one in [wanted] if isinstance(wanted, str) else wanted:
            fits = fnmatch.filter(names, one) if set(one) & set("*?[") else [one]
            if not fits or fits[0] not in names:
                what = f"the file has no array '{one}'"
                fix = f"{did_you_mean(one, names[:20])}; set the reader's option dataset"
                raise DataError(what, where=str(self.path), fix=fix)
            found += [name for name in fits if name not in found]
        return found

    def _axes_of(self, name: str) -> str:
        shape = self._file.shape(name)
        axes = self.options.axes or _AXES.get(len(shape), "")
        if not axes or len(axes) != len(shape):
            what = f"the array has {len(shape)} axes {shape}, and the option axes says " + (axes or "none")
            raise DataError(what, where=f"{self.path}, {name}", fix="set the reader's option axes, e.g. ect")
        return axes

    def _sizes(self, name: str) -> tuple[int, int, int]:
        """Events, channels and samples of an array."""
        size = dict(zip(self._axes[name], self._file.shape(name), strict=True))
        return size.get("e", 1), size.get("c", 1), size["t"]

    def _channel_columns(self) -> dict[str, Array]:
        """What is known of the channels, which all arrays then have alike; without the bad ones."""
        options, where = self.options, str(self.path)
        counts = {name: self._sizes(name)[1] for name in self._names}
        n = max(counts.values())
        if len(set(counts.values())) > 1:
            what = "the arrays differ in their number of channels: " + ", ".join(
                f"{name} {count}" for name, count in counts.items()
            )
            raise DataError(what, where=where, fix="name arrays of the same channels (dataset)")
        channel = np.arange(n)
        if options.channels:
            channel = whole(
                self._column(options.channels, (n,)), np.int32, where=f"{where}, {options.channels}"
            )
        if len(np.unique(channel)) < n:
            raise DataError("a channel's number is there twice", where=f"{where}, {options.channels}")
        columns: dict[str, Array] = {"channel": channel}
        if options.planes:
            columns["plane"] = plane_of(channel, options.planes, where=where)
        if isinstance(options.pedestals, str):
            columns["pedestal_adc"] = self._column(options.pedestals, (n,))
        elif options.pedestals is not None:
            columns["pedestal_adc"] = np.full(n, options.pedestals)
        if options.positions_mm:
            columns["position_mm"] = self._column(options.positions_mm, (n, 3))
        if unknown := sorted(set(options.bad_channels) - set(channel.tolist())):
            raise DataError(f"there is no channel {unknown[0]}", where=where, fix="mend bad_channels")
        self._good = ~np.isin(channel, options.bad_channels)
        return {name: values[self._good] for name, values in columns.items()}

    def _column(self, name: str, shape: tuple[int, ...]) -> Array:
        if name not in self._file.names():
            fix = did_you_mean(name, self._file.names()[:20])
            raise DataError(f"the file has no array '{name}'", where=str(self.path), fix=fix)
        if (found := self._file.shape(name)) != shape:
            what = f"wanted the shape {shape}, one row for each channel, found {found}"
            raise DataError(what, where=f"{self.path}, {name}")
        sample_type(self._file.dtype(name), where=f"{self.path}, {name}")
        return self._file.read(name, ())

    def lengths(self, part: str) -> Array:  # noqa: ARG002  there is one part
        """``(len,)`` int64 samples of each event."""
        n_channels = int(self._good.sum())
        sizes = [self._sizes(name) for name in self._names]
        return np.repeat([n_channels * size[2] for size in sizes], [size[0] for size in sizes])

    def event(self, index: int, *, labels: bool) -> tuple[Parts, Parts]:  # noqa: ARG002  there are none
        """The traces of all good channels."""
        file = int(np.searchsorted(self._starts, index, side="right")) - 1
        name = self._names[file]
        axes = self._axes[name]
        at: Any = tuple(int(index - self._starts[file]) if axis == "e" else slice(None) for axis in axes)
        samples, rest = self._file.read(name, at), axes.replace("e", "")
        if rest == "tc":
            samples = samples.T
        columns: Mapping[str, Array] = self._columns
        return {self.options.part: whole_traces(np.atleast_2d(samples)[self._good], **columns)}, {}

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _is_hdf5(path: Path) -> bool:
    # What is no archive either is left to the reader of archives, which says so.
    return path.is_file() and h5py.is_hdf5(path)
