"""Batches as torch tensors, with the dtypes that they were stored with, here or on a device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hepfm.api import Batch, RaggedTable, RaggedTables


def map_arrays(batch: Batch, change: Callable[[Any], Any]) -> Batch:
    """The batch with every array or tensor of it changed by a function."""

    def tables(parts: Mapping[str, RaggedTables]) -> dict[str, RaggedTables]:
        return {
            part: {
                name: RaggedTable({c: change(v) for c, v in table.columns.items()}, change(table.offsets))
                for name, table in some.items()
            }
            for part, some in parts.items()
        }

    return Batch(
        event_ids=change(batch.event_ids),
        cost=change(batch.cost),
        parts=tables(batch.parts),
        labels=tables(batch.labels),
        group=None if batch.group is None else change(batch.group),
    )


def to_torch(batch: Batch) -> Batch:
    """A numpy batch as torch, sharing memory where it may be written to. uint16 stays ``torch.uint16``."""
    return map_arrays(batch, _tensor)


def to_numpy(batch: Batch) -> Batch:
    """A torch batch as numpy, sharing memory where it is on the CPU."""
    return map_arrays(batch, _array)


def tables_to_numpy(tables: RaggedTables) -> dict[str, RaggedTable]:
    """The same of the tables of one part."""
    return {
        name: RaggedTable({c: _array(v) for c, v in table.columns.items()}, _array(table.offsets))
        for name, table in tables.items()
    }


def to_device(batch: Batch, device: torch.device | str) -> Batch:
    """A torch batch on a device; to CUDA through pinned memory, without waiting. dtypes stay."""
    device = torch.device(device)
    if device.type == "cpu":
        return batch

    def move(tensor: torch.Tensor) -> torch.Tensor:
        if device.type == "cuda" and tensor.device.type == "cpu":
            tensor = tensor.pin_memory()
        return tensor.to(device, non_blocking=True)

    return map_arrays(batch, move)


@dataclass(frozen=True)
class Parcel:
    """Numpy batches in one piece of memory: each tensor sent to another process costs a connection."""

    memory: torch.Tensor
    batches: Sequence[Batch]
    """With (dtype, shape, first byte) in place of each array."""

    @classmethod
    def wrap(cls, batches: Sequence[Batch]) -> Parcel:
        """Copies numpy batches into one piece."""
        arrays: list[tuple[np.ndarray[Any, Any], int]] = []
        size = 0

        def reserve(array: np.ndarray[Any, Any]) -> tuple[str, tuple[int, ...], int]:
            nonlocal size
            array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
            first = size
            arrays.append((array, first))
            size += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
            return array.dtype.name, array.shape, first

        described = [map_arrays(batch, reserve) for batch in batches]
        memory = np.empty(size, np.uint8)
        for array, first in arrays:
            memory[first : first + array.nbytes] = array.reshape(-1).view(np.uint8)
        return cls(torch.from_numpy(memory), described)

    def unwrap(self) -> list[Batch]:
        """The batches as torch, views of the one piece."""

        def view(described: tuple[str, tuple[int, ...], int]) -> torch.Tensor:
            name, shape, first = described
            dtype = getattr(torch, name)
            stop = first + int(np.prod(shape)) * dtype.itemsize
            return self.memory[first:stop].view(dtype).view(shape)

        return [map_arrays(batch, view) for batch in self.batches]


_ALIGNMENT = 64


def _array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = tensor.cpu().numpy()
    return array


def _tensor(array: np.ndarray[Any, Any]) -> torch.Tensor:
    # torch warns of memory that it cannot write to, and has no byte orders but the machine's.
    ready = np.require(array, array.dtype.newbyteorder("="), ["C", "W"])
    return torch.from_numpy(ready)
