"""Memory that runs out: which rank, how much there is, and what to lower."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch

from hepfm.data.loader import Step
from hepfm.errors import TrainingError
from hepfm.training.session import Session

_OF_ALLOCATORS = re.compile(r"(?i)can.t allocate memory|cannot allocate memory|out of memory|bad_alloc")
"""In a RuntimeError of torch's allocators, which have no class of their own on CPUs."""


@contextmanager
def naming_memory(session: Session, batch: Step) -> Iterator[None]:
    """Turns memory that runs out in a step into a sentence.

    Raises:
        TrainingError: It names rank, memory and batch.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is one of the latter
        known = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not known and not _OF_ALLOCATORS.search(str(error)):
            raise
        rows = max((int(micro.cost.sum()) for micro in batch.micro_batches), default=0)
        data = session.recipe.data
        raise TrainingError(
            f"Rank {session.ranks.rank} ran out of memory in step {session.state.step + 1}.",
            where=f"{_memory(session.ranks.device)}; batch of {batch.n_events} events, {batch.cost} rows, "
            f"here in micro-batches of up to {rows}",
            fix=f"lower data.micro_batch_cost (now {data.micro_batch_cost}), or data.max_event_cost (now "
            f"{data.max_event_cost}) where single events are larger; or shard more: "
            "deepspeed.zero_optimization.stage=3",
        ) from error


def _memory(device: torch.device) -> str:
    gib = 2**30
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        own = torch.cuda.memory_allocated(device)
        return f"{device}: {own / gib:.2f} GiB held, {free / gib:.2f} of {total / gib:.2f} GiB free"
    machine, own = psutil.virtual_memory(), psutil.Process().memory_info().rss
    return (
        f"this process holds {own / gib:.2f} GiB, {machine.available / gib:.2f} of {machine.total / gib:.2f} "
        "GiB are free"
    )
