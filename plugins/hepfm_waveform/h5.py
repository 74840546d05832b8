"""Reading waveforms out of HDF5, with the core's checks of files that strangers made."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from hepfm.errors import DataError
from hepfm.readers import safety
from hepfm.readers.handle import Handle
from hepfm_waveform.reader import Array, WaveformReader, number

_EVENT = re.compile(r"event_(\d+)")


class H5Reader(WaveformReader):
    """A reader of an HDF5 file, which is opened when it is first needed, and again in each process."""

    def open(self, path: Path) -> h5py.File:
        """Notes the path; returns the open file."""
        self.path = path
        self._handle = Handle(path)
        return self._handle.file()

    @property
    def file(self) -> h5py.File:
        """The open file."""
        return self._handle.file()

    def numbers(self, name: str, shape: tuple[int | None, ...]) -> h5py.Dataset:
        """A dataset of numbers, after all checks. Raises `DataError`."""
        found = safety.dataset(self.file, name, path=self.path)
        safety.expect(found, path=self.path, shape=shape)
        if found.dtype.kind not in "iuf":
            what = f"wanted numbers, found {found.dtype}"
            raise DataError(what, where=f"{self.path}, field {name}")
        return found

    def values(self, name: str, at: Any = ()) -> Array:
        """What a dataset that was checked holds there."""
        with safety.reading(f"{self.path}, field {name}"):
            values: Array = self.file[name][at]
        return values

    def attribute(self, group: str, name: str, default: Any = None) -> Any:
        """An attribute of a group; ``default`` where there is none. Raises `DataError`."""
        with safety.reading(f"{self.path}, attribute {group}/{name}"):
            return safety.group(self.file, group, path=self.path).attrs.get(name, default)

    def period_ns(self, name: str, unit_ns: float) -> float:
        """The time between samples that an attribute of ``config`` says, in ns. Raises `DataError`."""
        found, where = self.attribute("config", name), f"{self.path}, attribute config/{name}"
        if found is None:
            raise DataError(f"the configuration has no {name}", where=where, fix="make the file again")
        period = number(found, where=where) * unit_ns
        if not 0 < period < math.inf:
            raise DataError(f"{name} is {found}", where=where, fix="make the file again")
        return period

    def close(self) -> None:
        """Closes the file."""
        self._handle.close()


def has(path: Path, *names: str) -> bool:
    """Whether an HDF5 file has all these; False for what is none."""
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            return all(name in file for name in names)
    except safety.DAMAGE:
        return False


def has_event(path: Path, looks_right: Callable[[h5py.Group], bool]) -> bool:
    """Whether an HDF5 file has groups ``event_N``, and the first one looks right; False for what is none."""
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            first = next((name for name in file if _EVENT.fullmatch(name)), None)
            return first is not None and looks_right(file[first])
    except (*safety.DAMAGE, AttributeError):
        return False


def event_groups(file: h5py.File, *, path: Path) -> list[str]:
    """The names of the groups ``event_N``, by number.

    Raises:
        DataError: There is none.
    """
    with safety.reading(str(path)):
        found = sorted((int(m[1]), name) for name in file if (m := _EVENT.fullmatch(name)))
    if not found:
        raise DataError("the file has no event (event_N)", where=str(path), fix="check the path")
    return [name for _, name in found]
