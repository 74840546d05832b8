"""Training steps and validation batches, read by background processes or in the foreground.

What a step holds depends on (seed, cursor) alone. Ranks share it out by the same rule, without talking.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import forkserver, resource_tracker
from typing import Any

import numpy as np
import torch

from hepfm.api import Batch
from hepfm.data.deal import deal
from hepfm.data.few import FewEvents
from hepfm.data.generated import GeneratorSource
from hepfm.data.order import Cursor, Indices, Order
from hepfm.data.source import Source
from hepfm.data.tensors import Parcel, to_torch
from hepfm.errors import DataError, HepfmError


@dataclass(frozen=True, kw_only=True)
class Step:
    """One rank's share of a global batch.

    Attributes:
        epoch: The epoch that the events belong to.
        cursor: Where the next step starts; saved with a checkpoint taken after this step.
        micro_batches: This rank's torch batches, as many as on every rank; some may be empty.
        n_events: Events of the global batch.
        cost: Stored rows of the global batch; of a generator's events, those of this rank's share.
        wait_s: Time that the step waited for it.
        left_out: What a generator left out or changed in this rank's events, in its words.
    """

    epoch: int
    cursor: Cursor
    micro_batches: list[Batch]
    n_events: int
    cost: int
    wait_s: float
    left_out: Counter[str]


@dataclass(frozen=True)
class _Planned:
    """A global batch before it is read: what goes to a background process."""

    epoch: int
    after: Cursor
    indices: Indices
    costs: np.ndarray[Any, Any]


class _Share(torch.utils.data.Dataset[Any]):
    """Deals planned batches, and reads one rank's share, in any process.

    Errors for people are returned, not raised: torch would bury their message in a traceback's text.
    """

    def __init__(
        self, source: Source, rank: int, world: int, micro_batch_cost: int, *, labels: bool, together: int
    ) -> None:
        self._source, self._rank, self._world = source, rank, world
        self._micro_batch_cost, self._labels, self._together = micro_batch_cost, labels, together

    def __getitem__(self, planned: _Planned) -> tuple[Parcel, Counter[str]] | HepfmError:
        try:
            batches, left_out = self.read(planned)
            return Parcel.wrap(batches), left_out
        except HepfmError as error:
            return error

    def read(self, planned: _Planned) -> tuple[list[Batch], Counter[str]]:
        """This rank's micro-batches, numpy, each in the order of the files; what a generator left out."""
        before = self._source.counts()
        batches = self._source.share(
            planned.indices,
            planned.costs,
            rank=self._rank,
            world=self._world,
            micro_batch_cost=self._micro_batch_cost,
            labels=self._labels,
            together=self._together,
        )
        return batches, self._source.counts() - before


class Loader:
    """Steps of training from a cursor on, endless over epochs.

    Each iteration starts at ``start`` again; closing it (or dropping it) ends its background processes.

    Args:
        source: Training events.
        seed: The run's seed.
        batch_cost: Budget of a global batch, in the source's costs: stored rows, events of a generator.
        micro_batch_cost: Budget of a micro-batch, in stored rows.
        rank: This process among ``world``.
        world: Number of processes that train together.
        workers: Background processes that read; 0 reads in the foreground.
        start: The cursor of the last step that was done, or the beginning.
        labels: Whether labels are read too.
        together: Events of a group, see `hepfm.data.deal.deal`.
        most: The largest of all ranks' numbers; asked once a step where a generator makes the events.

    Raises:
        DataError: Fewer events than ranks.
    """

    def __init__(
        self,
        source: Source,
        *,
        seed: int,
        batch_cost: int,
        micro_batch_cost: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        start: Cursor = Cursor(),  # noqa: B008  frozen
        labels: bool = False,
        together: int = 1,
        most: Callable[[int], int] = int,
    ) -> None:
        if len(source) < world:
            raise DataError(
                f"There are fewer training events ({len(source)}) than workers ({world}).",
                where="data.train, cluster.workers",
                fix="train with fewer workers or more events.",
            )
        self._order = Order(source.costs, seed, batch_cost)
        self._share = _Share(source, rank, world, micro_batch_cost, labels=labels, together=together)
        self._start = start
        self._workers = workers
        self._source, self._most, self._labels = source, most, labels

    def __iter__(self) -> Generator[Step, None, None]:
        read = self._read_in_background() if self._workers else self._read_here()
        while True:
            began = time.perf_counter()
            planned, micro_batches, left_out = next(read)
            wait_s = time.perf_counter() - began
            cost = int(planned.costs.sum(dtype=np.int64))
            if isinstance(self._source, GeneratorSource):
                cost = sum(int(batch.cost.sum()) for batch in micro_batches)
                micro_batches = _padded(micro_batches, self._source, self._most, labels=self._labels)
            yield Step(
                epoch=planned.epoch,
                cursor=planned.after,
                micro_batches=micro_batches,
                n_events=len(planned.indices),
                cost=cost,
                wait_s=wait_s,
                left_out=left_out,
            )

    def _plan(self) -> Iterator[_Planned]:
        cursor = self._start
        while True:
            indices, after = self._order.batch(cursor)
            yield _Planned(cursor.epoch, after, indices, self._order.costs[indices])
            cursor = after

    def _read_here(self) -> Iterator[tuple[_Planned, list[Batch], Counter[str]]]:
        for planned in self._plan():
            batches, left_out = self._share.read(planned)
            yield planned, [to_torch(batch) for batch in batches], left_out

    def _read_in_background(self) -> Iterator[tuple[_Planned, list[Batch], Counter[str]]]:
        in_flight: deque[_Planned] = deque()

        def noting(plans: Iterator[_Planned]) -> Iterator[_Planned]:
            for planned in plans:
                in_flight.append(planned)
                yield planned

        # A fork would copy locks that threads of gloo and Ray hold. The fork server has no threads.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        with _signals_blocked():  # what is started here inherits that
            resource_tracker.ensure_running()  # leaves some of them unblocked here
        with _signals_blocked():
            forkserver.ensure_running()
        loader = torch.utils.data.DataLoader(
            self._share,
            batch_size=None,
            sampler=noting(self._plan()),
            num_workers=self._workers,
            collate_fn=_as_it_is,
            multiprocessing_context=context,
            prefetch_factor=2,
            worker_init_fn=_end_with_parent,
        )
        before = set(multiprocessing.active_children())
        readers: set[Any] = set()
        try:
            steps = iter(loader)
            readers = set(multiprocessing.active_children()) - before
            for item in steps:
                if isinstance(item, HepfmError):
                    raise item
                parcel, left_out = item
                yield in_flight.popleft(), parcel.unwrap(), left_out
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise DataError(
                f"A process that reads events ended unexpectedly ({str(error).splitlines()[0]})",
                where="cluster.loader_workers",
                fix="look for memory or /dev/shm running full; loader_workers=0 reads without it.",
            ) from error
        finally:  # one that hangs in a read does not hear torch's SIGTERM, which is blocked there
            for reader in readers:
                if reader.is_alive():
                    reader.kill()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Ctrl-C on a terminal and many a SIGTERM reach all processes of a run; this one decides what follows."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent(_worker: int) -> None:
    # torch watches the parent by getppid, which is the fork server here, and that one waits for its children:
    # after kill -9 of a training process its readers would stay for ever.
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()


def _as_it_is(item: Any) -> Any:
    return item


def _padded(
    batches: list[Batch], source: GeneratorSource, most: Callable[[int], int], *, labels: bool
) -> list[Batch]:
    """Torch batches of this rank, and empty ones up to the number of the rank that has most."""
    lacking = most(len(batches)) - len(batches)
    return [*batches, *(to_torch(source.read([], labels=labels)) for _ in range(lacking))]


def validation_batches(
    source: Source,
    *,
    rank: int = 0,
    world: int = 1,
    micro_batch_cost: int,
    batch_events: int = 32,
    events: int | None = None,
    labels: bool = False,
    together: int = 1,
    most: Callable[[int], int] = int,
) -> Iterator[Batch]:
    """One rank's torch batches of validation events, each event once; as many batches on every rank.

    Args:
        source: Validation events.
        rank: This process among ``world``.
        world: Number of processes that validate together.
        micro_batch_cost: Budget of a batch, in stored rows.
        batch_events: Events that all ranks together have in memory at once, where a generator makes them.
        events: Only so many. Of files they are drawn, the same in every run, since files may be in order of
            class; a generator's are the first.
        labels: Whether labels are read too.
        together: Events of a group, see `hepfm.data.deal.deal`.
        most: The largest of all ranks' numbers; asked where a generator makes the events.
    """
    if not isinstance(source, GeneratorSource):
        if events is not None and events < len(source):
            source = FewEvents(source, events, seed=0)
        for rows in deal(source.costs, world, micro_batch_cost, together=together)[rank]:
            batch = source.read(rows, labels=labels)
            yield to_torch(batch if together == 1 else replace(batch, group=rows // together))
        return
    costs = source.costs[:events]
    at_once = -(-batch_events // together) * together  # whole groups
    for start in range(0, len(costs), at_once):
        share = source.share(
            np.arange(start, min(start + at_once, len(costs))),
            costs,
            rank=rank,
            world=world,
            micro_batch_cost=micro_batch_cost,
            labels=labels,
            together=together,
        )
        yield from _padded(list(map(to_torch, share)), source, most, labels=labels)
