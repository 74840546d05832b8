"""The processes that train together: joining them, and the few exchanges that the loop needs."""

from __future__ import annotations

import atexit
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import NoReturn, TypeVar, cast

import torch
from torch import distributed

from hepfm.errors import HepfmError, TrainingError
from hepfm.tracking.runs import RunDir
from hepfm.training.watch import Watch

T = TypeVar("T")

_TIMES = {"cpu": 1.0, "cuda": 1.25}
"""How much later than the others give up torch does. NCCL's time-out aborts the process from a thread, where
gloo's raises an error: before that, the watch ends the process, and says why."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: From 0; rank 0 records the run.
        world: Number of processes.
        device: Where this process computes.
        joined_here: Whether `join` made the group, rather than a launcher.
        watch: Knows who did not come to an exchange.
        timeout: After which an exchange with a rank that does not answer fails; None for torch's own.
    """

    rank: int
    world: int
    device: torch.device
    joined_here: bool = False
    watch: Watch | None = None
    timeout: timedelta | None = None

    def limit(self, group: distributed.ProcessGroup) -> None:
        """Gives a group of these ranks that a library has made their time-out."""
        if self.timeout is not None:
            distributed.distributed_c10d._set_pg_timeout(self.timeout, group)  # noqa: SLF001  no other way

    def arrive(self) -> None:
        """To be called before an exchange that is not one of those here."""
        if self.watch is not None:
            self.watch.arrive()

    def sum(self, values: torch.Tensor | Sequence[float]) -> list[float]:
        """The values summed over all ranks, in float64. All ranks call this, with as many values."""
        self.arrive()
        total = torch.as_tensor(values, dtype=torch.float64, device=self.device)
        if self.world > 1:
            distributed.all_reduce(total)
        return [float(value) for value in total.tolist()]

    def most(self, value: int) -> int:
        """The largest of all ranks' values. All ranks call this."""
        self.arrive()
        if self.world == 1:
            return value
        largest = torch.tensor(value, dtype=torch.int64, device=self.device)
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        return int(largest)

    def add_up(self, buffers: Sequence[torch.Tensor]) -> None:
        """Replaces each tensor by its sum over all ranks."""
        self.arrive()
        if self.world > 1:
            for buffer in buffers:
                distributed.all_reduce(buffer)

    def from_first(self, value: T) -> T:
        """Rank 0's value, on all ranks; anything that pickles."""
        self.arrive()
        if self.world == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, device=self.device)
        return values[0]

    def all_of(self, value: T) -> list[T]:
        """Every rank's value, on all ranks; anything that pickles."""
        self.arrive()
        if self.world == 1:
            return [value]
        values = [value] * self.world
        distributed.all_gather_object(values, value)
        return values

    def first_known(self, value: T | None) -> T | None:
        """The value of the lowest rank that has one, on all ranks; anything that pickles."""
        return next((known for known in self.all_of(value) if known is not None), None)

    def on_first(self, make: Callable[[], T]) -> T:
        """What rank 0 makes, on all ranks; or what it raised, raised on all."""
        made, error = self._try(make) if self.rank == 0 else (None, None)
        made, told = self.from_first((made, self._told(error)))
        if (failure := error or told) is not None:
            raise failure
        return cast("T", made)

    def each(self, make: Callable[[], T]) -> list[T]:
        """What every rank makes by itself, without exchanges; raises on all ranks where one of them fails."""
        made, error = self._try(make)
        results = self.all_of((made, self._told(error)))
        if (failure := error or next((told for _, told in results if told is not None), None)) is not None:
            raise failure
        return [cast("T", value) for value, _ in results]

    def _try(self, make: Callable[[], T]) -> tuple[T | None, Exception | None]:
        try:
            return make(), None
        except Exception as error:  # noqa: BLE001  whatever it is, the other ranks must not wait for ever
            return None, error

    def _told(self, error: BaseException | None) -> HepfmError | None:
        """An error as other ranks are told of it: one that may not pickle as a sentence."""
        if error is None or isinstance(error, HepfmError):
            return error
        return TrainingError(
            f"Rank {self.rank}: {type(error).__name__}: {error}", where="log.txt has the traceback"
        )

    def first_failure(self, run: str, error: BaseException) -> BaseException:
        """Of what went wrong on several ranks, what went wrong first; the others' errors follow from it.

        Args:
            run: The run's folder, which keeps failures of several runs apart.
            error: What went wrong here.
        """
        if self.world == 1:
            return error
        mine = self._told(error)
        try:
            store = distributed.distributed_c10d._get_default_store()  # noqa: SLF001 - there is no other way
            first = store.compare_set(f"hepfm/failure/{run}", "", pickle.dumps(mine).hex())
            failure: BaseException = pickle.loads(bytes.fromhex(first.decode()))  # noqa: S301 - our own ranks'
        except (RuntimeError, ValueError, OSError):  # rank 0, where the store lives, is gone
            return error
        return error if str(failure) == str(mine) else failure

    def leave_watch(self) -> None:
        """From here on nobody waits for this rank."""
        if self.watch is not None:
            self.watch.end()

    def leave(self) -> None:
        """Ends the exchange, where `join` began it."""
        if self.joined_here and self.world > 1:
            distributed.destroy_process_group()


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
    joined_here = not distributed.is_initialized()
    timeout = timedelta(seconds=_TIMES[device.type] * timeout_s)
    if joined_here:
        backend = "nccl" if device.type == "cuda" else "gloo"
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            store = distributed.HashStore()  # type: ignore[attr-defined]
            distributed.init_process_group(backend, store=store, rank=0, world_size=1, timeout=timeout)
        else:
            distributed.init_process_group(backend, timeout=timeout)
    else:
        distributed.distributed_c10d._set_pg_timeout(timeout)  # noqa: SLF001  there is no other way
    return Ranks(distributed.get_rank(), distributed.get_world_size(), device, joined_here, timeout=timeout)


@contextmanager
def watched(ranks: Ranks, run: RunDir, timeout_s: float) -> Iterator[Ranks]:
    """The same ranks, each watched: an exchange that fails can be told from one that a rank did not come to.

    Args:
        ranks: That have joined.
        run: What they train.
        timeout_s: Of their exchanges.
    """
    if ranks.world == 1:
        yield ranks
        return
    store = distributed.PrefixStore(  # type: ignore[attr-defined]
        f"hepfm/watch/{run.path}",
        distributed.distributed_c10d._get_default_store(),  # noqa: SLF001
    )
    with Watch(ranks.rank, ranks.world, timeout_s, store, run) as watch:
        yield replace(ranks, watch=watch)


def end_process(code: int) -> NoReturn:
    """Ends a process that exchanged with others, leaving out the end of the interpreter itself.

    Threads of torch's gloo outlive the group (DeepSpeed keeps references to it) and may hold the last
    reference to a tensor of the last exchange; one that wants the interpreter back while that ends aborts the
    process, with code 134 after all was done (seen once in 25 runs of two ranks with torch 2.13).
    """
    atexit._run_exitfuncs()  # noqa: SLF001 - what os._exit leaves out, and what Ray, MLflow and logging need
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
