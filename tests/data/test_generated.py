"""Training draws events from a generator as it would read them from a store of the same events."""

from __future__ import annotations

import pickle
from collections import Counter
from itertools import islice

import numpy as np
import pytest

from hepfm.data.generator import GeneratedEvents
from hepfm.data.loader import Loader, validation_batches
from hepfm.data.order import Cursor, Order
from hepfm.data.simulate import plan, simulate
from hepfm.data.source import check_apart, open_source
from hepfm.errors import DataError, RecipeError
from hepfm.recipe.schema import Generated, Part

pytestmark = pytest.mark.usefixtures("tracks_plugin")
IMAGE = {"image3d": Part(kind="image3d", min_energy_mev=0.2)}


def drawn(*, parts=IMAGE, max_event_cost=None, **spec):
    given = {"generator": "tracks", "events": 40, "first": 100, "seed": 3, "grid": 24, **spec}
    return open_source(Generated(**given), parts=parts, max_event_cost=max_event_cost)


def steps(source, count, **options):
    return list(
        islice(Loader(source, seed=5, **{"batch_cost": 6, "micro_batch_cost": 150, **options}), count)
    )


def content(batches):
    """Event id to the bytes of its voxels, over batches."""
    found = {}
    for batch in batches:
        table = batch.parts["image3d"]["voxels"]
        for row, event_id in enumerate(batch.event_ids.tolist()):
            voxels = [np.asarray(table[name][row]).tobytes() for name in sorted(table.columns)]
            assert event_id not in found, "an event stands twice"
            found[event_id] = b"".join(voxels)
    return found


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A store of the same 40 events."""
    return tmp_path_factory.mktemp("stored") / "events"


@pytest.fixture
def store(stored, tracks_plugin):
    made = GeneratedEvents("tracks", {"grid": 24}, seed=3)
    for unit in plan(made, stored, first=100, events=40, shard_events=16, compression="none"):
        simulate(unit)
    return open_source(str(stored), parts=IMAGE)


def test_events_are_those_of_a_store(store):
    source = drawn()
    assert len(source) == len(store) == 40
    np.testing.assert_array_equal(source.event_ids(), store.event_ids())
    a, b = source.read([7, 0, 39], labels=True), store.read([7, 0, 39], labels=True)
    np.testing.assert_array_equal(a.cost, b.cost)
    for half in ("parts", "labels"):
        (one,), (two,) = (getattr(batch, half)["image3d"].values() for batch in (a, b))
        np.testing.assert_array_equal(one.offsets, two.offsets)
        for name, values in one.columns.items():
            np.testing.assert_array_equal(values, two.columns[name])
    assert a.cost.sum() > a.parts["image3d"]["voxels"].offsets[-1], "the modality's cut was not applied"
    assert (source.read([]).event_ids.shape, source.parts) == ((0,), store.parts)
    assert source.place(2) == "generator tracks, seed 3, event 102"


def test_the_digest_is_of_options_seed_and_range():
    same = drawn().digest
    assert drawn(parts=IMAGE).digest == same == pickle.loads(pickle.dumps(drawn())).digest
    others = [drawn(seed=4), drawn(first=0), drawn(events=41), drawn(muons=1)]
    assert len({same, *(other.digest for other in others)}) == 5


@pytest.mark.parametrize("workers", [0, 2])
def test_steps_say_what_was_left_out_of_their_events(workers):
    source = drawn(seed=11, noise={"voxels": 300})
    made = GeneratedEvents("tracks", {"grid": 24, "noise": {"voxels": 300}, "muons": 2}, seed=11)
    wanted = 0
    for index in range(100, 140):
        before = made.counts()
        made.read([index])
        wanted += sum((made.counts() - before).values())
    assert wanted > 20
    found = [step.left_out for step in steps(source, 7, workers=workers)]  # an epoch
    assert sum(found, Counter()) == {"noise where a muon is": wanted}
    assert len({count.total() for count in found}) > 1


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_loader_goes_on_with_the_same_events(workers):
    whole = steps(drawn(), 9, workers=workers)
    assert [step.epoch for step in whole] == [0] * 7 + [1] * 2
    assert [step.n_events for step in whole] == [6] * 6 + [4] + [6] * 2
    rest = steps(drawn(), 5, start=whole[3].cursor, workers=workers)
    for one, two in zip(whole[4:], rest, strict=True):
        assert content(one.micro_batches) == content(two.micro_batches)
        assert len(one.micro_batches) == len(two.micro_batches)
    epoch = {event for step in whole[:7] for event in content(step.micro_batches)}
    assert len(epoch) == 40


def test_micro_batches_keep_to_what_events_cost(store):
    costs = dict(zip(store.event_ids().view(np.int64).tolist(), store.costs.tolist(), strict=True))
    for step in steps(drawn(), 7):
        for micro in step.micro_batches:
            assert micro.cost.tolist() == [costs[event] for event in micro.event_ids.tolist()]
            assert len(micro) == 1 or int(micro.cost.sum()) <= 150
        assert step.cost == sum(int(micro.cost.sum()) for micro in step.micro_batches)
    assert max(len(step.micro_batches) for step in steps(drawn(), 7)) > 1


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_the_events_of_one_and_have_as_many_micro_batches(world):
    alone = steps(drawn(), 7)
    small = {"micro_batch_cost": 40, "world": world}
    plain = [steps(drawn(), 7, rank=rank, **small) for rank in range(world)]
    asked = []

    def ranks(rank):
        """A rank that is told of the others' numbers, as an exchange would."""
        numbers = iter([max(len(other[step].micro_batches) for other in plain) for step in range(7)])
        return steps(drawn(), 7, rank=rank, **small, most=lambda n: asked.append((rank, n)) or next(numbers))

    shared = [ranks(rank) for rank in range(world)]
    assert len(asked) == 7 * world
    for together in zip(alone, *shared, strict=True):
        one, *parts = together
        assert len({len(part.micro_batches) for part in parts}) == 1
        assert content(one.micro_batches) == content(m for part in parts for m in part.micro_batches)
        assert {part.cursor for part in parts} == {one.cursor}
    counts = [[len(step.micro_batches) for step in rank] for rank in plain]
    assert len({tuple(count) for count in counts}) > 1, (
        "all ranks had the same numbers; the test shows nothing"
    )
    assert any(not len(micro) for rank in shared for step in rank for micro in step.micro_batches)


@pytest.mark.parametrize("world", [1, 2])
def test_validation_makes_each_event_once_and_no_more_than_a_batch_at_a_time(store, world):
    wanted = content([store.read(range(33))])
    numbers = []
    for rank in range(world):
        batches = list(
            validation_batches(
                drawn(),
                rank=rank,
                world=world,
                micro_batch_cost=200,
                batch_events=8,
                events=33,
                most=_most(3),
            )
        )
        assert len(batches) == 3 * 5
        numbers.append(content(batches))
    assert len(wanted) == 33
    assert {event: voxels for number in numbers for event, voxels in number.items()} == wanted
    assert sum(map(len, numbers)) == 33


def test_empty_batches_that_fill_up_have_the_columns_of_others():
    """With labels or without, so that all ranks take the same way through the model."""
    loaded = [
        [batch for step in steps(drawn(), 2, micro_batch_cost=40, labels=labels, most=_most(9))
         for batch in step.micro_batches]
        for labels in (False, True)
    ]  # fmt: skip
    validated = [
        list(validation_batches(drawn(), micro_batch_cost=200, events=9, labels=labels, most=_most(9)))
        for labels in (False, True)
    ]
    for without, with_labels in (loaded, validated):
        for batches, labels in ((without, False), (with_labels, True)):
            assert {len(batch) > 0 for batch in batches} == {True, False}, "none was filled up"
            columns = {
                tuple(sorted(rows.columns))
                for batch in batches
                for tables in batch.labels.values()
                for rows in tables.values()
            }
            assert columns == ({("semantic",)} if labels else set())
            assert {len(batch.labels) for batch in batches} == {int(labels)}


def _most(number):
    def most(mine):
        assert mine <= number
        return number

    return most


def test_an_event_that_is_too_large_is_named(store):
    costs = store.costs
    limit = int(costs.max()) - 1
    large = int(np.flatnonzero(costs > limit)[0])
    source = drawn(max_event_cost=limit)
    with pytest.raises(DataError, match=f"has {costs.max()} rows") as refused:
        source.read([large])
    assert f"event {100 + large}" in refused.value.where
    drawn(max_event_cost=limit + 1).read([large])


def test_training_and_validation_are_kept_apart(store):
    train = drawn()
    check_apart(train, drawn(seed=4))
    check_apart(train, drawn(first=140))
    check_apart(train, drawn(first=60))
    for other in (drawn(first=139), drawn(first=61), drawn(events=1), drawn(muons=1)):
        with pytest.raises(DataError, match="training events too"):
            check_apart(train, other)
    with pytest.raises(DataError, match="training events too") as refused:
        check_apart(train, drawn(first=130))
    assert "event 130" in refused.value.where
    for one, two in ((store, train), (train, store)):
        with pytest.raises(DataError, match="40 validation events are training events too"):
            check_apart(one, two)
    check_apart(store, drawn(seed=4))


def test_it_pickles_small_and_costs_no_memory_for_its_length():
    source = drawn(events=10**12)
    source.read([10**12 - 1])
    assert len(pickle.dumps(source)) < 5000
    assert source.costs.nbytes == 4 * 10**12
    assert source.costs.strides == (0,)
    (step,) = steps(source, 1)
    assert step.n_events == 6


def test_a_part_that_the_generator_does_not_make_is_refused():
    with pytest.raises(RecipeError, match="makes no part 'image2d'"):
        drawn(parts={"image2d": Part(kind="image3d")})


@pytest.mark.parametrize("world", [1, 3])
def test_groups_of_generated_events_are_dealt_and_cut_whole(world):
    source = drawn()
    ids = source.event_ids().view(np.int64)
    order = Order(source.costs, 5, 10)
    indices, _ = order.batch(Cursor())
    wanted = {frozenset(ids[indices[i : i + 4]].tolist()) for i in range(0, 10, 4)}
    found = set()
    for rank in range(world):
        batches = source.share(
            indices, None, rank=rank, world=world, micro_batch_cost=100, labels=False, together=4
        )
        for batch in batches:
            groups = {int(g): frozenset(batch.event_ids[batch.group == g].tolist()) for g in batch.group}
            assert not found & set(groups.values())
            found |= set(groups.values())
    assert found == wanted
    validated = [
        frozenset(batch.event_ids[batch.group == g].tolist())
        for batch in validation_batches(source, micro_batch_cost=100, batch_events=6, events=21, together=4)
        for g in set(batch.group.tolist())
    ]
    assert set(validated) == {frozenset(ids[i : min(i + 4, 21)].tolist()) for i in range(0, 21, 4)}
