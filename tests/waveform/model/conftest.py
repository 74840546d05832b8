"""Small events of pulses on noise: dense frames, regions of a few ticks, and what is wrong with real ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hepfm.api import ClassName, Column, PartSchema, RaggedTable, Tables
from hepfm_waveform.config import WaveformConfig
from hepfm_waveform.modality import Waveform

SAMPLE_NS = 500.0
PEDESTAL = 200.0

TRACES = {
    "channel": Column(dtype="int32"),
    "plane": Column(dtype="int8", vocabulary="plane"),
    "start_tick": Column(dtype="int32"),
    "n_samples": Column(dtype="int32", lengths_of="samples"),
    "time_ns": Column(dtype="float64"),
    "pedestal_adc": Column(dtype="float32"),
    "position_mm": Column(dtype="float32", shape=(3,)),
}


@pytest.fixture(scope="session")
def make_schema() -> Callable[..., PartSchema]:
    """The schema of waveforms; without columns of traces, with other attributes, with ``adc`` of a type."""
    return _make_schema


@pytest.fixture(scope="session")
def make_modality() -> Callable[..., Waveform]:
    """A small one: patches of 16 samples, no estimates."""
    return _make_modality


@pytest.fixture(scope="session")
def make_event() -> Callable[..., Tables]:
    """One event from traces: dictionaries of channel, plane, start_tick, and samples in ADC."""
    return _make_event


@pytest.fixture(scope="session")
def pulses() -> Callable[..., Tables]:
    """An event of random pulses on noise: regions of three planes, or dense frames."""
    return _pulses


@pytest.fixture(scope="session")
def packed() -> Callable[..., dict[str, RaggedTable]]:
    """Torch tables of a batch of events."""
    return _packed


def _make_schema(*, without: tuple[str, ...] = (), adc: str = "float32", **attributes: Any) -> PartSchema:
    return PartSchema(
        kind="waveform",
        primary="samples",
        tables={
            "samples": {"adc": Column(dtype=adc), "electrons": Column(dtype="float32", label=True)},
            "traces": {name: column for name, column in TRACES.items() if name not in without},
        },
        vocabularies={"plane": tuple(ClassName(value=k, name=name) for k, name in enumerate("UVW"))},
        attributes={"sample_ns": SAMPLE_NS, "detector": "test", **attributes},
    )


def _make_modality(schema: PartSchema | None = None, **options: Any) -> Waveform:
    small = {"patch": 16, "sample_width": 4, "sample_layers": 1, "point_width": 6, "noise_adc": 2.0}
    return Waveform(WaveformConfig(**{**small, "noise_samples": None, **options}), schema or _make_schema())


def _make_event(traces: list[dict[str, Any]], dtype: str = "float32") -> Tables:
    samples = [np.asarray(trace["adc"], dtype) for trace in traces]
    start = np.array([trace.get("start_tick", 0) for trace in traces], np.int32)
    channel = np.array([trace["channel"] for trace in traces], np.int32)
    return {
        "samples": {"adc": np.concatenate(samples) if samples else np.empty(0, dtype)},
        "traces": {
            "channel": channel,
            "plane": np.array([trace.get("plane", 0) for trace in traces], np.int8),
            "start_tick": start,
            "n_samples": np.array([len(s) for s in samples], np.int32),
            "time_ns": start * SAMPLE_NS - 1000.0,
            "pedestal_adc": np.full(len(traces), PEDESTAL, np.float32),
            "position_mm": np.stack([channel, channel * 0.5, channel * 0 + 3.0], -1).astype(np.float32),
        },
    }


def _pulses(
    seed: int, *, channels: int = 12, dense: int | None = None, noise: float = 2.0, dtype: str = "float32"
) -> Tables:
    rng = np.random.default_rng(seed)
    traces = []
    for channel in range(channels):
        for start in (0,) if dense else np.unique(rng.integers(0, 6, 2)) * 60 + rng.integers(0, 9):
            length = dense or int(rng.integers(20, 50))
            at, height = rng.uniform(5, length - 5), rng.exponential(40.0) + 10.0
            pulse = height * np.exp(-0.5 * ((np.arange(length) - at) / 3.0) ** 2)
            adc = PEDESTAL + pulse + rng.normal(0, noise, length)
            traces.append({"channel": channel, "plane": channel % 3, "start_tick": int(start), "adc": adc})
    if np.dtype(dtype).kind != "f":
        traces = [{**trace, "adc": np.rint(trace["adc"])} for trace in traces]
    return _make_event(traces, dtype)


def _packed(events: list[Tables]) -> dict[str, RaggedTable]:
    tables = {}
    for name in ("samples", "traces"):
        columns = {
            column: torch.from_numpy(np.concatenate([event[name][column] for event in events]))
            for column in events[0][name]
        }
        lengths = [len(next(iter(event[name].values()))) for event in events]
        tables[name] = RaggedTable(columns, torch.tensor([0, *np.cumsum(lengths)]))
    return tables
