"""A few events: nested, the same whatever the files, and exactly those and no others."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from hepfm.data.few import FewEvents, drawn_events
from hepfm.data.loader import Loader
from hepfm.errors import DataError


def test_the_first_are_among_more_and_do_not_depend_on_order():
    rng = np.random.default_rng(5)
    ids = rng.integers(0, 2**64, 500, dtype=np.uint64)
    drawn = [set(ids[drawn_events(ids, n, seed=3)]) for n in (10, 30, 500)]
    assert [len(each) for each in drawn] == [10, 30, 500]
    assert drawn[0] < drawn[1] < drawn[2]
    shuffled = rng.permutation(ids)
    assert set(shuffled[drawn_events(shuffled, 30, seed=3)]) == drawn[1]
    # Another seed draws others: of 30 in 500, 1.8 are shared on average, and hardly ever 10.
    assert len(drawn[1] & set(ids[drawn_events(ids, 30, seed=4)])) < 10


def test_every_event_is_drawn_as_often_as_others():
    ids = np.arange(40, dtype=np.uint64)
    times = np.zeros(40)
    for seed in range(400):
        times[drawn_events(ids, 10, seed)] += 1
    # 100 times each, with a standard deviation of 8.7; the chance of one beyond 5 of those is 2e-5.
    assert np.abs(times - 100).max() < 5 * 8.7


def test_reads_and_trains_on_those_alone(two_files, open_stores):
    whole = open_stores(two_files[0])
    few = FewEvents(whole, 7, seed=1)
    wanted = set(whole.event_ids()[drawn_events(whole.event_ids(), 7, 1)].tolist())
    assert set(few.event_ids().tolist()) == wanted
    np.testing.assert_array_equal(few.costs, [whole.costs[index] for index in few.indices])
    batch = pickle.loads(pickle.dumps(few)).read([6, 0], labels=True)
    np.testing.assert_array_equal(batch.event_ids.view(np.uint64), few.event_ids()[[6, 0]])
    assert few.place(6) == whole.place(int(few.indices[6]))
    seen = []
    for step in Loader(few, seed=1, batch_cost=40, micro_batch_cost=20):
        if step.epoch > 0:
            break
        seen += [i for micro in step.micro_batches for i in micro.event_ids.numpy().view(np.uint64).tolist()]
    assert sorted(seen) == sorted(wanted)


def test_digest_tells_which_and_of_what(two_files, open_stores):
    whole = open_stores(two_files[0])
    digests = {FewEvents(whole, n, seed).digest for n, seed in ((7, 1), (8, 1), (7, 2))} | {whole.digest}
    assert len(digests) == 4
    assert FewEvents(whole, 7, 1).digest == FewEvents(open_stores(two_files[0]), 7, 1).digest


def test_more_than_there_are_is_refused(two_files, open_stores):
    with pytest.raises(DataError, match=r"34 events, fewer than the 35[\s\S]*train_events"):
        FewEvents(open_stores(two_files[0]), 35, 1)
