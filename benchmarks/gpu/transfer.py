"""Bringing a batch to the device: voxels kept u16 until they are there, against float32 made on the host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.gpu.timing import batch, in_turn, shown
from hepfm.data.tensors import to_device


def run(device: str, *, quick: bool) -> Iterator[dict[str, Any]]:
    """Milliseconds until packed float32 rows lie on the device."""
    host = batch(4, 200) if quick else batch(256, 4000)

    def on_the_device() -> torch.Tensor:
        columns = to_device(host, device).parts["image3d"]["voxels"].columns
        return _join(columns["voxel"], columns["energy_mev"])

    def on_the_host() -> torch.Tensor:
        columns = host.parts["image3d"]["voxels"].columns
        rows = _join(columns["voxel"], columns["energy_mev"])
        return rows.pin_memory().to(device, non_blocking=True) if device == "cuda" else rows

    assert torch.equal(on_the_device(), on_the_host())
    ways = {"u16 until on the device": on_the_device, "float32 made on the host": on_the_host}
    for name, spread in in_turn(ways, device, quick=quick).items():
        yield {"way": name, "voxels": int(host.cost.sum()), "ms": shown(spread)}


def _join(voxel: torch.Tensor, energy_mev: torch.Tensor) -> torch.Tensor:
    rows = torch.empty(len(voxel), 4, device=voxel.device)
    rows[:, :3] = voxel
    rows[:, 3] = energy_mev
    return rows
