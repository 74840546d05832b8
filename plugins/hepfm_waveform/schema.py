"""The schema of a part of the kind ``waveform``: samples, and the traces that they belong to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hepfm.api import ClassName, Column, PartSchema
from hepfm.errors import DataError

TRACES = {
    "channel": Column(dtype="int32", doc="of the detector"),
    "plane": Column(dtype="int8", vocabulary="plane", doc="that the channel belongs to"),
    "start_tick": Column(dtype="int32", doc="number of the first sample, counted at all channels alike"),
    "n_samples": Column(dtype="int32", lengths_of="samples", doc="of the trace"),
    "time_ns": Column(dtype="float64", unit="ns", doc="of the first sample, from the event's time 0"),
    "pedestal_adc": Column(dtype="float32", unit="ADC", doc="of the channel"),
    "position_mm": Column(dtype="float32", shape=(3,), unit="mm", doc="of the channel's middle"),
}
"""Columns of the table ``traces``. What a format does not know of these is left out."""
ALWAYS = ("channel", "start_tick", "n_samples")


def waveform_schema(
    *,
    sample_ns: float,
    dtype: str,
    known: Collection[str] = (),
    unit: str = "ADC",
    planes: Collection[str] = (),
    labels: Mapping[str, Mapping[str, Column]] | None = None,
    **attributes: Any,
) -> PartSchema:
    """A part of the kind ``waveform``.

    Args:
        sample_ns: From one sample to the next.
        dtype: Of the samples, as the file has them.
        known: Columns of `TRACES` beside `ALWAYS`.
        unit: Of the samples; ``ADC`` as digitised.
        planes: Names of the planes that traces are of, where ``plane`` is known.
        labels: Table to columns of truth; tables that are not there yet are new.
        attributes: What else belongs to the part.
    """
    columns = {name: column for name, column in TRACES.items() if name in ALWAYS or name in known}
    if "pedestal_adc" in columns:
        columns["pedestal_adc"] = replace(columns["pedestal_adc"], unit=unit)
    tables: dict[str, dict[str, Column]] = {
        "samples": {"adc": Column(dtype=dtype, unit=unit, doc="with pedestal, as in the file")},
        "traces": columns,
    }
    for table, truth in (labels or {}).items():
        tables[table] = {**tables.get(table, {}), **truth}
    return PartSchema(
        kind="waveform",
        primary="samples",
        tables=tables,
        vocabularies={"plane": tuple(ClassName(value=k, name=name) for k, name in enumerate(planes))}
        if planes
        else {},
        attributes={"sample_ns": sample_ns, **attributes},
    )


def sample_type(dtype: np.dtype[Any], *, where: str) -> str:
    """A file's type of samples as a schema names it, whatever its byte order.

    Raises:
        DataError: It holds no numbers, or such of more than 64 bits.
    """
    if dtype.kind not in "iuf" or dtype.itemsize > 8:  # no tensor holds a long double
        raise DataError(f"wanted numbers as samples, found {dtype}", where=where)
    return dtype.newbyteorder("=").name


def plane_of(
    channel: np.ndarray[Any, Any], planes: Mapping[str, tuple[int, int]], *, where: str
) -> np.ndarray[Any, Any]:
    """``(C,)`` int8: the number of the plane of each channel ``(C,)``.

    Args:
        channel: Their numbers.
        planes: Name to first and last channel.
        where: The file, for messages.

    Raises:
        DataError: A channel is in none of them, or in two.
    """
    plane = np.full(len(channel), -1, np.int8)
    for k, (first, last) in enumerate(planes.values()):
        of = (channel >= first) & (channel <= last)
        if (of & (plane >= 0)).any():
            twice = int(channel[of & (plane >= 0)][0])
            what = f"channel {twice} is in two of the planes {', '.join(planes)}"
            raise DataError(what, where=where, fix="mend the reader's option planes: the last channel counts")
        plane[of] = k
    if (plane < 0).any():
        said = ", ".join(f"{name} ({first} to {last})" for name, (first, last) in planes.items())
        what = f"channel {int(channel[plane < 0][0])} is in none of the planes {said}"
        raise DataError(what, where=where, fix="set the reader's option planes")
    return plane
