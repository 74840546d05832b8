"""The processes that train together: joining them, and the few exchanges that the loop needs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: From 0; rank 0 records the run.
        world: Number of processes.
        device: Where this process computes.
    """

    rank: int
    world: int
    device: torch.device

    def sum(self, values: torch.Tensor | Sequence[float]) -> list[float]:
        """The values summed over all ranks, in float64. All ranks call this, with as many values."""
        total = torch.as_tensor(values, dtype=torch.float64, device=self.device)
        if self.world > 1:
            distributed.all_reduce(total)
        return [float(value) for value in total.tolist()]

    def add_up(self, buffers: Sequence[torch.Tensor]) -> None:
        """Replaces each tensor by its sum over all ranks."""
        if self.world > 1:
            for buffer in buffers:
                distributed.all_reduce(buffer)

    def from_first(self, value: T) -> T:
        """Rank 0's value, on all ranks; anything that pickles."""
        if self.world == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, device=self.device)
        return values[0]

    def gather(self, value: T) -> list[T]:
        """Every rank's value, on all ranks, in their order; anything that pickles."""
        if self.world == 1:
            return [value]
        values: list[T] = [value] * self.world
        distributed.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Until all ranks have come here."""
        if self.world > 1:
            distributed.barrier()


def join(timeout_s: float) -> Ranks:
    """Joins the ranks that RANK, WORLD_SIZE, LOCAL_RANK and MASTER_* name; alone where nothing is set.

    A group that a launcher made already is used as it is.

    Args:
        timeout_s: After which an exchange with a rank that does not answer fails.
    """
    os.environ.setdefault("LOCAL_RANK", "0")  # DeepSpeed asks for it, also for a single process
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        backend, timeout = "nccl" if device.type == "cuda" else "gloo", timedelta(seconds=timeout_s)
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            store = distributed.HashStore()  # type: ignore[attr-defined]
            distributed.init_process_group(backend, store=store, rank=0, world_size=1, timeout=timeout)
        else:
            distributed.init_process_group(backend, timeout=timeout)
    return Ranks(rank=distributed.get_rank(), world=distributed.get_world_size(), device=device)
