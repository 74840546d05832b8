"""Timing in turn on a device that computes while its host goes on, and events to time with."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from benchmarks.measure import Spread
from hepfm.api import Batch, RaggedTable
from hepfm.nn.ragged import offsets_of
from hepfm_image3d.schema import image3d_schema

SCHEMA = image3d_schema(voxels=("voxel", "energy_mev"))


def ms(call: Callable[[], Any], device: str) -> float:
    """Milliseconds until the device has done what a call asks of it."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start)


def in_turn(ways: Mapping[str, Callable[[], Any]], device: str, *, quick: bool) -> dict[str, Spread]:
    """Milliseconds of each way; rounds after the first three count."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(3 if quick else 23):
        for name, way in ways.items():
            taken = ms(way, device)
            if round_ >= (1 if quick else 3):
                times[name].append(taken)
    return {name: Spread.of(values) for name, values in times.items()}


def shown(spread: Spread) -> str:
    """Median and quartiles, for people."""
    return f"{spread.median:.3g} ({spread.low:.3g}-{spread.high:.3g})"


def lengths(n: int, mean: float) -> torch.Tensor:
    """``(n,)`` lengths as widely spread as events are; at least 16."""
    rng = np.random.default_rng(0)
    return torch.from_numpy(np.maximum(16, rng.lognormal(np.log(mean) - 0.15, 0.55, n)).astype(np.int64))


def batch(n: int, mean: float) -> Batch:
    """Events of random walks, u16 voxels as a store gives them, on the host."""
    rng = np.random.default_rng(0)
    counts = lengths(n, mean)
    walks = [(rng.integers(-1, 2, (k, 3)).cumsum(0) + 384).clip(0, 767) for k in counts.tolist()]
    voxel = np.concatenate(walks).astype(np.uint16)
    energy = rng.exponential(size=len(voxel)).astype(np.float32) + 0.14
    columns = {"voxel": torch.from_numpy(voxel), "energy_mev": torch.from_numpy(energy)}
    parts = {"image3d": {"voxels": RaggedTable(columns, offsets_of(counts))}}
    return Batch(event_ids=torch.arange(n), cost=counts, parts=parts, labels={})
