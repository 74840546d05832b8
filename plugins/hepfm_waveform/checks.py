"""What waveforms must have to be learned from, checked before: columns, sampling, lengths."""

from __future__ import annotations

from typing import Any

import numpy as np

from hepfm.api import PartSchema, RaggedTables
from hepfm.errors import DataError
from hepfm_waveform.config import WaveformConfig

_NEEDED = (
    ("samples", "adc", "iuf", ()),
    ("traces", "channel", "iu", ()),
    ("traces", "start_tick", "iu", ()),
    ("traces", "n_samples", "iu", ()),
)
_MAY = (
    ("traces", "plane", "iu", ()),
    ("traces", "time_ns", "f", ()),
    ("traces", "pedestal_adc", "f", ()),
    ("traces", "position_mm", "f", (3,)),
)
_WORDS = {"iu": "whole numbers", "f": "floating-point numbers", "iuf": "numbers"}


def check_schema(schema: PartSchema, config: WaveformConfig) -> None:
    """Raises `DataError` for columns that are missing or of another type, and for senseless attributes."""
    where = f"schema of kind {schema.kind}"
    place = ("traces", "position_mm", "f", (3,))
    needed = (*_NEEDED, place) if config.geometry == "position" else _NEEDED
    for table, name, kinds, shape in (*needed, *_MAY):
        column = schema.tables.get(table, {}).get(name)
        if column is None and (table, name, kinds, shape) not in needed:
            continue
        if column is None or np.dtype(column.dtype).kind not in kinds or column.shape != shape:
            found = "it is missing" if column is None else f"found {column.dtype} {list(column.shape)}"
            raise DataError(
                f"Waveforms need a column '{name}' of {_WORDS[kinds]} {list(shape)} in their table "
                f"'{table}'; {found}.",
                where=f"{where}, table {table}",
                fix="Convert the data with a reader that gives these columns"
                + (", or set geometry: channel." if name == "position_mm" else "."),
            )
    if schema.tables["traces"]["n_samples"].lengths_of != "samples":
        raise DataError(
            "The column 'n_samples' of waveforms does not say that it counts rows of 'samples'.",
            where=f"{where}, table traces",
            fix="Give the column lengths_of='samples' in the reader's schema.",
        )
    period = schema.attributes.get("sample_ns")
    if not _is_positive(period):
        raise DataError(
            f"Waveforms need the attribute 'sample_ns', one sampling period in ns; found {period!r}.",
            where=f"{where}, attributes",
            fix="Give it in the reader's options. Channels of another period make a part of their own.",
        )
    noise, ends = schema.attributes.get("noise_adc", 1.0), schema.attributes.get("adc_range", (0, 1))
    if not _is_positive(noise):
        raise DataError(
            f"The attribute 'noise_adc' of waveforms is no size of a noise: {noise!r}.",
            where=f"{where}, attributes",
            fix="Give one above 0, or leave the attribute out.",
        )
    if (
        not isinstance(ends, list | tuple)
        or [type(end) in (int, float) for end in ends] != [True, True]
        or not ends[0] < ends[1]
    ):
        raise DataError(
            f"The attribute 'adc_range' of waveforms is no lowest and highest count: {ends!r}.",
            where=f"{where}, attributes",
            fix="Give two numbers, such as [0, 4095], or leave the attribute out.",
        )


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def check_evenness(tables: RaggedTables, sample_ns: float) -> None:
    """Raises `DataError` where lengths do not add up, or times contradict the ticks (numpy).

    From one trace of an event to another, ``time_ns`` and ``start_tick`` tell the same time to a tick and a
    half: else the channels are not sampled evenly, or not with this period.
    """
    samples, traces = tables["samples"], tables["traces"]
    n_samples = np.asarray(traces.columns["n_samples"], np.int64)
    ends = np.concatenate([[0], np.cumsum(n_samples)])
    if (n_samples < 0).any() or not np.array_equal(ends[traces.offsets], samples.offsets):
        wrong = ends[traces.offsets] != samples.offsets
        event = max(0, int(wrong.argmax()) - 1)
        raise DataError(
            "The lengths of the traces do not add up to the number of samples.",
            where=f"event {event} of the batch read, column n_samples",
            fix="Run 'hepfm data check' on the file; convert it again.",
        )
    if "time_ns" not in traces.columns or not len(n_samples):
        return
    zero = traces.columns["time_ns"] - traces.columns["start_tick"].astype(np.float64) * sample_ns
    of_event = np.repeat(np.arange(len(traces)), traces.lengths)
    off = np.abs(zero - zero[traces.offsets[:-1].clip(max=len(zero) - 1)][of_event]) > 1.5 * sample_ns
    if off.any():
        row = int(off.argmax())
        first = int(traces.offsets[of_event[row]])
        raise DataError(
            f"Uneven sampling: by their ticks and the period of {sample_ns:g} ns the traces of channels "
            f"{int(traces.columns['channel'][first])} and {int(traces.columns['channel'][row])} are "
            f"{(zero[row] - zero[first]) / sample_ns:.1f} ticks apart from what their times say.",
            where=f"event {int(of_event[row])} of the batch read, columns time_ns and start_tick",
            fix="Resample the channels to one period, or make another part of those with another.",
        )
