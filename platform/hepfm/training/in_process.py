"""Training without Ray: in this process, or in the processes that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from hepfm.errors import HepfmError

if TYPE_CHECKING:
    from hepfm.training.request import TrainRequest

SHORT_SPINS = {"GOMP_SPINCOUNT": "10000"}
"""For the environment, before torch is imported. By default threads of torch (2.13) turn 300,000 times before
they sleep: where other processes use the cores too, that makes steps many times slower."""


def run_in_process(request: TrainRequest) -> None:
    """Trains in this process: alone, or as the rank that torchrun made of it."""
    if not under_torchrun():
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
            os.environ.pop(name, None)  # left by whatever started us; they would wait for other ranks
    from hepfm.training.worker import train

    train(request)


def under_torchrun() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def agree(prepare: Callable[[], TrainRequest]) -> TrainRequest:
    """What ``prepare`` returns or raises, made once: on rank 0, and sent to the others under torchrun."""
    if not under_torchrun():
        return prepare()
    import torch

    if torch.cuda.is_available():  # NCCL exchanges from the current device: not all from the first
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    made: list[TrainRequest | HepfmError | None] = [None]
    if torch.distributed.get_rank() == 0:
        try:
            made = [prepare()]
        except HepfmError as error:
            made = [error]
    torch.distributed.broadcast_object_list(made)
    agreed = made[0]
    assert agreed is not None
    if isinstance(agreed, HepfmError):
        raise agreed
    return agreed
