"""The loader: the same bits from any number of background processes, ranks that share out a global batch,
resume at any step, and errors that people can read."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import islice

import numpy as np
import psutil
import pytest
import torch

from hepfm.data.loader import Loader, validation_batches
from hepfm.data.order import Cursor, Order
from hepfm.data.tensors import Parcel, map_arrays, to_device, to_torch
from hepfm.errors import DataError


def flat(batch):
    """All arrays of a batch, in a fixed order, as (dtype, bytes)."""
    arrays = []
    map_arrays(batch, lambda t: arrays.append((str(t.dtype), tuple(t.shape), t.numpy().tobytes())))
    return arrays


def steps(source, count, **options):
    loader = Loader(source, seed=5, batch_cost=90, **{"micro_batch_cost": 40, **options})
    taken = list(islice(iter(loader), count))
    return [(s.epoch, s.cursor, s.n_events, s.cost, [flat(b) for b in s.micro_batches]) for s in taken]


@pytest.fixture(scope="module")
def source(two_files, open_stores):
    return open_stores(two_files[0], cut=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_background_processes_give_the_same_bits(source, workers):
    here = steps(source, 16, labels=True)
    assert here[-1][0] >= 1  # an epoch's boundary was crossed
    assert steps(source, 16, labels=True, workers=workers) == here


def test_resume_at_every_step_is_the_tail(source):
    whole = steps(source, 20)
    assert {s[0] for s in whole} >= {0, 1}
    for done in range(1, 20):
        assert steps(source, 20 - done, start=whole[done - 1][1]) == whole[done:]


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_ranks_share_out_the_same_global_batches(source, world):
    ranks = [
        list(islice(Loader(source, seed=5, batch_cost=90, micro_batch_cost=40, rank=r, world=world), 12))
        for r in range(world)
    ]
    alone = list(islice(Loader(source, seed=5, batch_cost=90, micro_batch_cost=10**9), 12))
    for shares, one in zip(zip(*ranks, strict=True), alone, strict=True):
        assert len({(s.epoch, s.cursor, s.n_events, s.cost, len(s.micro_batches)) for s in shares}) == 1
        dealt = [i for s in shares for b in s.micro_batches for i in b.event_ids.tolist()]
        assert sorted(dealt) == sorted(one.micro_batches[0].event_ids.tolist())
        for batch in (b for s in shares for b in s.micro_batches):
            assert len(batch) <= 1 or batch.cost.sum() <= 40


def test_an_epoch_has_every_event_once(source, two_files):
    seen = []
    for step in Loader(source, seed=1, batch_cost=70, micro_batch_cost=70):
        if step.epoch > 0:
            break
        seen += [i for b in step.micro_batches for i in b.event_ids.numpy().view(np.uint64).tolist()]
    assert sorted(seen) == sorted(s.event_id for s in two_files[1])


@pytest.mark.parametrize("workers", [0, 1])
def test_error_of_a_reading_process_is_the_same_error(
    tmp_path, make_events, make_store, open_stores, workers
):
    samples = make_events(6, 8)
    samples[2].parts["image"]["hits"]["energy_mev"][:] = np.inf
    path = make_store(tmp_path / "bad.h5", samples)
    with pytest.raises(DataError, match="NaN or infinite") as error:
        list(
            islice(
                Loader(open_stores([path]), seed=1, batch_cost=30, micro_batch_cost=30, workers=workers), 9
            )
        )
    assert error.value.where == f"{path}, event 2, field image/hits/energy_mev"


def test_background_processes_end_with_the_iteration(source):
    iteration = iter(Loader(source, seed=1, batch_cost=50, micro_batch_cost=50, workers=1))
    next(iteration)
    children = set(psutil.Process().children(recursive=True))
    iteration.close()
    left = {child for child in children if child.is_running()}
    assert len(left) == len(children) - 1  # the fork server stays, for the next iteration


def test_a_reader_that_hangs_holds_up_nobody(source):
    iteration = iter(Loader(source, seed=1, batch_cost=50, micro_batch_cost=50, workers=1))
    next(iteration)
    own = psutil.Process()
    readers = set(own.children(recursive=True)) - set(own.children())
    for reader in readers:
        reader.suspend()
    began = time.monotonic()
    iteration.close()
    assert time.monotonic() - began < 4  # torch alone waits for 10 s, and leaves it
    assert readers
    assert psutil.wait_procs(readers, timeout=10)[1] == []


def test_signals_to_all_processes_of_a_run_do_not_end_its_readers():
    code = (
        "import os, psutil, signal\n"
        "from hepfm.data.loader import Loader\n"
        "from hepfm.data.source import open_source\n"
        "from hepfm.recipe.schema import Part\n"
        "source = open_source('sample:train', parts={'image3d': Part(kind='image3d')})\n"
        "steps = iter(Loader(source, seed=1, batch_cost=9000, micro_batch_cost=9000, workers=1))\n"
        "next(steps)\n"
        "children = psutil.Process().children(recursive=True)\n"
        "for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):\n"
        "    [child.send_signal(number) for child in children]\n"
        "for _ in range(9): next(steps)\n"
        "print([child.status() for child in children if child.status() == 'zombie'], len(children))\n"
        "steps.close()\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set() and print('heard')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=200
    )
    assert done.stdout.splitlines() == ["[] 3", "heard"], done.stderr


def test_killed_training_process_leaves_no_readers():
    script = (
        "import os, psutil\n"
        "from hepfm.data.loader import Loader\n"
        "from hepfm.data.source import open_source\n"
        "from hepfm.recipe.schema import Part\n"
        "source = open_source('sample:val', parts={'image3d': Part(kind='image3d')})\n"
        "next(steps := iter(Loader(source, seed=1, batch_cost=9000, micro_batch_cost=9000, workers=1)))\n"
        "print(*[p.pid for p in psutil.Process().children(recursive=True)], flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 3
    deadline = time.monotonic() + 30
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in pids if alive(pid)]


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_fewer_events_than_ranks(source):
    with pytest.raises(DataError, match=r"fewer training events \(34\) than workers \(35\)"):
        Loader(source, seed=1, batch_cost=50, micro_batch_cost=50, world=35)


@pytest.mark.parametrize("world", [1, 3, 40])
def test_validation_has_every_event_once_and_ranks_in_step(source, world):
    ranks = [list(validation_batches(source, rank=r, world=world, micro_batch_cost=45)) for r in range(world)]
    assert len({len(batches) for batches in ranks}) == 1
    seen = [i for batches in ranks for b in batches for i in b.event_ids.numpy().view(np.uint64).tolist()]
    assert sorted(seen) == sorted(source.event_ids().tolist())


def test_validation_of_some_events_takes_them_from_all_over_the_file(source):
    def ids(events, world):
        ranks = (
            validation_batches(source, rank=r, world=world, micro_batch_cost=45, events=events)
            for r in range(world)
        )
        return sorted(i for rank in ranks for b in rank for i in b.event_ids.numpy().view(np.uint64).tolist())

    some = ids(8, 1)
    assert some == ids(8, 3)
    assert len(set(some)) == 8
    assert set(ids(5, 1)) < set(some), "5 are among 8"
    numbers = np.flatnonzero(np.isin(source.event_ids(), some))
    assert numbers.max() > len(source) / 2, "no file in order of class gives one class"
    assert numbers.min() < len(source) / 2
    assert ids(10**6, 1) == sorted(source.event_ids().tolist())


def test_tensors_keep_their_types_and_bits(source):
    batch = source.read([4, 2], labels=True)
    torch_batch = to_device(to_torch(batch), "cpu")
    assert torch_batch.parts["image"]["hits"].columns["voxel"].dtype == torch.uint16
    assert torch_batch.event_ids.dtype == torch.int64
    assert flat(Parcel.wrap([batch, batch]).unwrap()[1]) == flat(torch_batch)


def test_read_only_arrays_become_tensors_of_their_own(source):
    batch = source.read([1])
    frozen = map_arrays(batch, lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape))
    assert flat(to_torch(frozen)) == flat(to_torch(batch))


def groups_of(batches):
    """The sets of events that say that they belong together."""
    found = {}
    for i, batch in enumerate(batches):
        assert (batch.group is None) == (not len(batch)) or len(batch.group) == len(batch)
        for event_id, group in zip(batch.event_ids.tolist(), batch.group.tolist(), strict=True):
            found.setdefault((i, group), set()).add(event_id)
    return {frozenset(events) for events in found.values()}


@pytest.mark.parametrize("workers", [0, 1])
def test_groups_are_the_same_at_any_number_of_ranks_and_micro_batches(source, workers):
    """And they are successive events of the global batch, whatever order they are read in."""
    order = Order(source.costs, 5, 90)
    ids = source.event_ids().view(np.int64)
    cursor = Cursor()
    options = {"seed": 5, "batch_cost": 90, "together": 3, "workers": workers}
    loaders = [
        [iter(Loader(source, rank=r, world=world, micro_batch_cost=budget, **options)) for r in range(world)]
        for world, budget in ((1, 10**9), (1, 20), (2, 40))
    ]
    for _ in range(8):
        indices, cursor = order.batch(cursor)
        wanted = {frozenset(ids[indices[i : i + 3]].tolist()) for i in range(0, len(indices), 3)}
        for ranks in loaders:
            assert groups_of([b for rank in ranks for b in next(rank).micro_batches if len(b)]) == wanted
    for ranks in loaders:
        for rank in ranks:
            rank.close()


def test_validation_has_groups_of_successive_events(source):
    ids = source.event_ids().view(np.int64)
    wanted = {frozenset(ids[i : i + 4].tolist()) for i in range(0, len(source), 4)}
    for world in (1, 3):
        batches = [
            batch
            for rank in range(world)
            for batch in validation_batches(source, rank=rank, world=world, micro_batch_cost=60, together=4)
        ]
        assert groups_of([batch for batch in batches if len(batch)]) == wanted
