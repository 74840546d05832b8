"""Pictures of waveforms: planes of many channels as pictures over time, few channels as curves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hepfm.api import PartSchema, Tables
from hepfm.display.panels import Axis, Heatmap, Line, Lines, Panel
from hepfm.errors import DataError

_MOST_LINES = 24
_MOST_CELLS = (4096, 16384)
"""Channels and ticks of a picture. Pixels are many more channels, nearly all of them without a sample."""
_MOST_HIT_CELLS = (200, 300)
"""The same for hits, which stand alone: a cell of a point's size can be seen."""
_SPARSE = 4
"""Numbers for each channel, above which a picture would be of gaps: they are those of boards."""
_WAVEFORM = 100
"""Samples of a trace that is a waveform. Shorter ones are hits, which only some channels have."""
_NS_A_US = 1000.0

Array = np.ndarray[Any, Any]


def panels(
    tables: Tables,
    schema: PartSchema,
    *,
    labels: Tables | None = None,  # noqa: ARG001  what was hit is plain to see
    title: str = "",
) -> list[Panel]:
    """A panel for each plane, or one where channels are of none; samples stand above their pedestals.

    Where pedestals are not known, the median of a channel stands for its one. In place of ``adc`` there may
    be another number of each sample, such as its charge: that is drawn as it is.

    Args:
        tables: ``samples`` with ``adc (N,)``, or another column; ``traces`` with ``channel``, ``n_samples``
            and ``start_tick`` ``(K,)``, with ``plane`` where there are several, ``pedestal_adc`` and
            ``time_ns`` where known.
        schema: Attribute ``sample_ns``; vocabulary ``plane``; unit of ``adc``.
        labels: Not drawn.
        title: What the tables are.

    Raises:
        DataError: The part has no ``sample_ns``.
    """
    traces = tables["traces"]
    drawn = "adc" if "adc" in tables["samples"] else next(iter(tables["samples"]))
    values = np.asarray(tables["samples"][drawn], np.float32)
    ends = np.cumsum(traces["n_samples"])
    plane = np.asarray(traces.get("plane", np.zeros(len(ends), np.int8)))
    names = {entry.value: entry.name for entry in schema.vocabularies.get("plane", ())}
    if "sample_ns" not in schema.attributes:
        raise DataError(
            "The part does not say how long its samples are.",
            where=f"{title or 'waveforms'}, attribute sample_ns",
            fix="have what writes the part give it, in ns: attributes={'sample_ns': 500.0}",
        )
    tick_us = float(schema.attributes["sample_ns"]) / _NS_A_US
    zero_us = 0.0  # time of tick 0
    known = np.flatnonzero(np.isfinite(traces.get("time_ns", ())))
    if len(known):
        first = known[0]
        zero_us = float(traces["time_ns"][first]) / _NS_A_US - float(traces["start_tick"][first]) * tick_us
    unit = schema.tables["samples"][drawn].unit
    if drawn == "adc":
        height = Axis("above pedestal" if "pedestal_adc" in traces else "above median", unit or "ADC")
    else:
        height, traces = Axis(drawn.replace("_", " "), unit), {**traces, "pedestal_adc": np.zeros(len(ends))}
    shown: list[Panel] = []
    for value in sorted(set(plane.tolist()) | (names.keys() if not len(plane) else set())):
        some = np.flatnonzero(plane == value)
        name = f"{title}, {names[value]}" if value in names else title or "waveforms"
        draw = _curves if len(np.unique(traces["channel"][some])) <= _MOST_LINES else _picture
        shown.append(draw(name, values, traces, some, ends, tick_us, zero_us, height))
    return shown or [Lines(title=title or "waveforms", lines=[], x=Axis("time", "us"), y=height)]


def _above_pedestal(adc: Array, traces: Any, some: Array, ends: Array) -> Iterator[tuple[int, int, Array]]:
    """Channel, first tick and samples of some traces."""
    pieces = [adc[ends[k] - traces["n_samples"][k] : ends[k]] for k in some.tolist()]
    pedestals = traces["pedestal_adc"][some] if "pedestal_adc" in traces else _medians(traces, some, pieces)
    for k, samples, pedestal in zip(some.tolist(), pieces, pedestals, strict=True):
        with np.errstate(invalid="ignore"):  # infinite samples are not drawn
            above = samples - pedestal
        yield int(traces["channel"][k]), int(traces["start_tick"][k]), above


def _medians(traces: Any, some: Array, pieces: list[Array]) -> Array:
    """Of each trace, the median of all samples of its channel."""
    medians = np.zeros(len(some), np.float32)
    channel = np.asarray(traces["channel"])[some]
    order = np.argsort(channel, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(channel[order])) + 1):
        samples = np.concatenate([np.empty(0, np.float32), *(pieces[row] for row in rows.tolist())])
        medians[rows] = np.median(samples) if len(samples) else 0
    return medians


def _picture(
    name: str,
    adc: Array,
    traces: Any,
    some: Array,
    ends: Array,
    tick_us: float,
    zero_us: float,
    height: Axis,
) -> Heatmap:
    channels, starts, sizes = (np.asarray(traces[c])[some] for c in ("channel", "start_tick", "n_samples"))
    numbers, rank = np.unique(channels, return_inverse=True)
    axis = Axis("channel")
    if np.ptp(channels) > _SPARSE * len(numbers) and sizes.max() >= _WAVEFORM:
        channels, axis = rank.reshape(-1), Axis("channels in order of number")
    low, first = int(channels.min()), int(starts.min())
    spans = int(channels.max()) - low + 1, int((starts + sizes).max()) - first
    most = _MOST_CELLS if sizes.max() >= _WAVEFORM or len(numbers) == spans[0] else _MOST_HIT_CELLS
    tall, wide = (max(1, -(-span // cells)) for span, cells in zip(spans, most, strict=True))
    grid = np.full((-(-spans[0] // tall), -(-spans[1] // wide)), np.nan, np.float32)
    cells: list[Array] = []
    values: list[Array] = []
    for channel, (_, start, samples) in zip(
        channels.tolist(), _above_pedestal(adc, traces, some, ends), strict=True
    ):
        ticks = start - first + np.arange(len(samples))
        cells.append((channel - low) // tall * grid.shape[1] + ticks // wide)
        values.append(samples)
    at, found = np.concatenate(cells), np.concatenate(values)
    # Of several in a cell, the one that is farthest from zero is drawn: the last one that is assigned.
    order = np.argsort(np.abs(found), kind="stable") if tall * wide > 1 else slice(None)
    grid.reshape(-1)[at[order]] = found[order]
    return Heatmap(
        title=name,
        values=grid,
        x=Axis("time", "us"),
        y=axis,
        x_edges=(zero_us + first * tick_us, zero_us + (first + grid.shape[1] * wide) * tick_us),
        y_edges=(low - 0.5, low + len(grid) * tall - 0.5),
        value=height,
    )


def _curves(
    name: str,
    adc: Array,
    traces: Any,
    some: Array,
    ends: Array,
    tick_us: float,
    zero_us: float,
    height: Axis,
) -> Lines:
    lines: dict[int, tuple[list[Array], list[Array]]] = {}
    for channel, start, samples in _above_pedestal(adc, traces, some, ends):
        x, y = lines.setdefault(channel, ([], []))
        # A gap between two regions of a channel is no line.
        x += [zero_us + (start + np.arange(len(samples) + 1)) * tick_us]
        y += [np.append(samples, np.nan)]
    return Lines(
        title=name,
        lines=[
            Line(f"channel {channel}", np.concatenate(x), np.concatenate(y))
            for channel, (x, y) in sorted(lines.items())
        ],
        x=Axis("time", "us"),
        y=height,
    )
