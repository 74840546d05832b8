"""Events of many files: the right ones, cut with their labels, and refused with file, event and field."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from hepfm.api import Column
from hepfm.data.source import check_apart, open_source
from hepfm.errors import DataError
from hepfm.recipe.schema import Part

U64 = 0xFFFFFFFFFFFFFFFF


@pytest.mark.parametrize("cut", [False, True])
def test_read_equals_the_events_one_by_one(two_files, open_stores, cut):
    paths, samples = two_files
    source = open_stores(paths, cut=cut)
    assert len(source) == 34
    indices = np.array([33, 0, 20, 21, 5, 32, 1])
    batch = source.read(indices, labels=True)
    for row, index in enumerate(indices):
        wanted, got = samples[index], batch.event(row)
        hits = wanted.parts["image"]["hits"]
        keep = hits["energy_mev"] > 0.5 if cut else np.ones(len(hits["energy_mev"]), bool)
        first = wanted.parts["image"]["runs"]["n_hits"][0]
        assert got.event_id == wanted.event_id & U64
        np.testing.assert_array_equal(got.parts["image"]["hits"]["voxel"], hits["voxel"][keep])
        np.testing.assert_array_equal(got.parts["image"]["hits"]["energy_mev"], hits["energy_mev"][keep])
        np.testing.assert_array_equal(
            got.labels["image"]["hits"]["semantic"], wanted.labels["image"]["hits"]["semantic"][keep]
        )
        np.testing.assert_array_equal(
            got.parts["image"]["runs"]["n_hits"], [keep[:first].sum(), keep[first:].sum()]
        )
        flashes = wanted.parts["light"]["flashes"]["pe"] if "light" in wanted.parts else []
        np.testing.assert_array_equal(got.parts["light"]["flashes"]["pe"], flashes)
        assert batch.cost[row] == len(keep) + len(flashes) == source.costs[index]
    assert batch.parts["image"]["hits"].columns["voxel"].dtype == np.uint16


def test_costs_of_a_batch_are_those_of_the_parts_that_are_read(two_files, open_stores):
    source = open_stores(two_files[0], parts=["light"])
    batch = source.read(np.arange(34))
    assert batch.parts.keys() == {"light"}
    np.testing.assert_array_equal(batch.cost, source.costs)
    assert source.costs[21:].sum() == 0


def test_no_events_asked_for_gives_empty_tables(two_files, open_stores):
    batch = open_stores(two_files[0], cut=True).read([], labels=True)
    assert len(batch) == 0
    assert batch.parts["image"]["hits"].columns["voxel"].shape == (0, 3)


def test_pickled_source_reads_the_same_and_carries_no_costs(two_files, open_stores):
    source = open_stores(two_files[0], cut=True)
    copy = pickle.loads(pickle.dumps(source))
    assert "costs" not in vars(copy)
    np.testing.assert_array_equal(copy.costs, source.costs)
    assert copy.digest == source.digest
    mine, its = source.read([3, 30]), copy.read([3, 30])
    np.testing.assert_array_equal(
        mine.parts["image"]["hits"].columns["voxel"], its.parts["image"]["hits"].columns["voxel"]
    )


def test_more_files_than_stay_open(two_files, open_stores, monkeypatch):
    monkeypatch.setattr("hepfm.data.source._MAX_OPEN_FILES", 1)
    paths, samples = two_files
    ids = open_stores(paths).read(np.arange(34)).event_ids.view(np.uint64)
    assert ids.tolist() == [s.event_id for s in samples]


def test_digest_depends_on_the_order_of_files(two_files, open_stores):
    paths, _ = two_files
    assert open_stores(paths).digest != open_stores(paths[::-1]).digest


def test_bad_value_is_named_with_file_event_and_field(tmp_path, make_events, make_store, open_stores):
    samples = make_events(9, 3, longest=20)
    bad = next(i for i, s in enumerate(samples) if i > 2 and len(s.parts["image"]["hits"]["energy_mev"]))
    samples[bad].parts["image"]["hits"]["energy_mev"][0] = np.nan
    paths = [make_store(tmp_path / "a.h5", make_events(4, 4)), make_store(tmp_path / "b.h5", samples)]
    source = open_stores(paths, cut=True)
    source.read(np.arange(4 + bad))
    with pytest.raises(DataError) as error:
        source.read(np.arange(4 + bad + 1)[::-1])
    assert error.value.where == f"{paths[1]}, event {bad}, field image/hits/energy_mev"


def test_large_event_is_refused_before_it_is_read(two_files, open_stores):
    paths, _ = two_files
    costs = open_stores(paths).costs
    with pytest.raises(DataError, match=f"An event has .* more than the {costs.max() - 1} allowed") as error:
        open_stores(paths, max_event_cost=int(costs.max()) - 1)
    assert f"event {costs.argmax()}" in error.value.where
    open_stores(paths, max_event_cost=int(costs.max()))


def test_files_that_differ_are_named_with_what_differs(
    tmp_path, two_files, make_events, make_store, open_stores
):
    paths, _ = two_files
    schema = open_stores(paths).parts["image"]
    hits = {**schema.tables["hits"], "energy_mev": Column(dtype="float32", unit="keV")}
    other = replace(schema, tables={**schema.tables, "hits": hits})
    odd = make_store(tmp_path / "odd.h5", make_events(3, 5), other)
    with pytest.raises(DataError) as error:
        open_stores([*paths, odd])
    assert all(word in error.value.where for word in (str(paths[0]), str(odd), "energy_mev", "keV"))


def test_part_that_no_file_has(two_files, open_stores):
    with pytest.raises(DataError, match="No file has a part 'imagee'") as error:
        open_stores(two_files[0], parts=["imagee"])
    assert error.value.fix == "did you mean 'image'?"


def test_an_event_that_is_there_twice_is_named_with_both_places(two_files, open_stores):
    (first, second), _ = two_files
    lowest = int(open_stores([second], parts=["image"]).event_ids().argmin())
    with pytest.raises(DataError, match="there twice") as error:
        open_stores([first, second, second])
    assert error.value.where == f"{second}, event {lowest} and {second}, event {lowest}"


def test_event_that_a_modality_refuses_is_named(two_files, open_stores):
    class NoLongEvents:
        def select(self, tables):
            if tables["hits"].lengths.max(initial=0) > 25:
                raise DataError("too long", where="hits", fix="shorten it")
            return {}

    paths, samples = two_files
    source = open_stores(paths)
    source.modalities["image"] = NoLongEvents()
    refused = next(i for i, s in enumerate(samples) if len(s.parts["image"]["hits"]["voxel"]) > 25)
    with pytest.raises(DataError, match="too long") as error:
        source.read(np.arange(34))
    assert error.value.where == f"{paths[0]}, event {refused}, hits"


def test_validation_events_in_training_are_found(two_files, open_stores):
    paths, _ = two_files
    both, second = open_stores(paths), open_stores(paths[1:], parts=["image"])
    check_apart(open_stores(paths[:1]), second)
    with pytest.raises(DataError, match="13 validation events are training events") as error:
        check_apart(both, second)
    assert error.value.where == f"{paths[1]}, event 0 and {paths[1]}, event 0"


def test_no_events(tmp_path, make_store, open_stores):
    with pytest.raises(DataError, match="no events"):
        open_stores([make_store(tmp_path / "none.h5", [])])


def test_shipped_sample_is_cut_as_the_recipe_asks():
    part = Part(kind="image3d", min_energy_mev=0.2)
    source = open_source("sample:val", parts={"image3d": part}, max_event_cost=1_000_000)
    whole = open_source("sample:val", parts={"image3d": Part(kind="image3d", min_energy_mev=0.0)})
    energy, everything = (
        s.read(np.arange(len(s))).parts["image3d"]["voxels"].columns["energy_mev"] for s in (source, whole)
    )
    np.testing.assert_array_equal(energy, everything[everything > 0.2])
    assert 0 < len(energy) < len(everything) == source.costs.sum()
