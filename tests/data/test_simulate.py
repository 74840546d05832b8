"""Shards of simulated events: each one once, whole, with where they are from."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hepfm import __version__
from hepfm.data.generator import GeneratedEvents
from hepfm.data.simulate import plan, shard_size, simulate
from hepfm.errors import DataError
from hepfm.readers.store import StoreReader

pytestmark = pytest.mark.usefixtures("tracks_plugin")


def source(**options):
    return GeneratedEvents("tracks", {"grid": 16, **options}, seed=2)


def units(folder, made=None, **changes):
    settings = {"first": 3, "events": 20, "shard_events": 8, "compression": "none", **changes}
    return plan(made or source(), folder, **settings)


def test_a_store_holds_the_events_asked_for(tmp_path):
    told = []
    assert sum(simulate(unit, told.append) for unit in units(tmp_path / "out")) == sum(told) == 20
    reader, wanted = StoreReader(tmp_path / "out"), source().read(range(3, 23))
    np.testing.assert_array_equal(reader.event_ids(), wanted.event_ids.view(np.uint64))
    found = reader.read(range(20))
    for half in ("parts", "labels"):
        for part, tables in getattr(wanted, half).items():
            for table, rows in tables.items():
                for name, values in rows.columns.items():
                    np.testing.assert_array_equal(getattr(found, half)[part][table].columns[name], values)
    assert list(reader.check()) == []


def test_each_shard_says_where_it_is_from(tmp_path):
    made = source(muons=1)
    for unit in units(tmp_path / "out", made):
        simulate(unit)
    for k, first in enumerate((3, 11, 19)):
        said = StoreReader(tmp_path / "out" / f"{k:05d}.h5").provenance
        assert said == {
            "generator": "tracks",
            "plugin": {"name": "tracks", "distribution": "hepfm-tracks", "version": "0.1"},
            "configuration": made.options,
            "configuration_digest": made.digest,
            "seed": 2,
            "first_index": first,
            "made_by": f"hepfm {__version__}",
        }
    assert made.options["muons"] == 1


def test_what_is_missing_is_made_again_with_the_same_bits(tmp_path):
    for unit in units(tmp_path / "out"):
        simulate(unit)
    digest = StoreReader(tmp_path / "out").digest()
    assert units(tmp_path / "out") == []
    (tmp_path / "out" / "00001.h5").unlink()
    with pytest.raises(DataError, match="the simulation is not finished: 12 of 20 events") as refused:
        StoreReader(tmp_path / "out")
    assert "hepfm simulate" in refused.value.fix
    (unit,) = units(tmp_path / "out")
    assert (unit.first, unit.stop) == (11, 19)
    simulate(unit)
    assert StoreReader(tmp_path / "out").digest() == digest


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"events": 21}, "events"),
        ({"first": 0}, "first_index"),
        ({"shard_events": 9}, "shard_events"),
        ({"compression": "zstd"}, "compression"),
        ({"made": GeneratedEvents}, "seed"),
        ({"made": source}, "configuration, configuration_digest"),
    ],
)
def test_another_simulation_is_refused_in_the_same_folder(tmp_path, changes, key):
    simulate(units(tmp_path / "out")[0])
    if "made" in changes:
        made = changes["made"]
        changes = {"made": source(muons=5) if made is source else made("tracks", {"grid": 16}, seed=9)}
    with pytest.raises(DataError, match=f"another simulation: other {key}"):
        units(tmp_path / "out", **changes)


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        units(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_another_hepfm_goes_on_with_it(tmp_path, monkeypatch):
    simulate(units(tmp_path / "out")[0])
    monkeypatch.setattr("hepfm.data.generator.__version__", "99")
    assert len(units(tmp_path / "out")) == 2


def test_blocks_of_large_events_stay_small(tmp_path, monkeypatch):
    monkeypatch.setattr("hepfm.data.simulate._BLOCK_BYTES", 1000)
    (unit,) = units(tmp_path / "out", shard_events=20)
    simulate(unit)
    import h5py

    with h5py.File(unit.target) as file:
        counts = file["block_events"][()].tolist()
        sizes = [sum(_bytes(block) for block in file["blocks"].values())]
    assert sum(counts) == 20
    assert 3 < len(counts) < 20
    assert sizes[0] / len(counts) < 2500
    assert json.loads((tmp_path / "out" / "simulate.json").read_text())["events"] == 20


def _bytes(group):
    found = []
    group.visititems(lambda name, item: found.append(item.nbytes) if hasattr(item, "nbytes") else None)
    return sum(found)


def test_a_shard_that_another_attempt_has_written_is_left_as_it_is(tmp_path):
    first = units(tmp_path / "out")[0]
    assert simulate(first) == 8
    before, told = first.target.stat(), []
    assert simulate(first, told.append) == sum(told) == 8
    assert first.target.stat().st_ino == before.st_ino


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(DataError, match="target folder cannot be made") as raised:
            units(folder)
        assert raised.value.where == str(folder)


def test_a_kill_before_the_plan_is_there_harms_nothing(tmp_path):
    (tmp_path / "simulate.json.partial").write_text('{"gen')
    assert len(units(tmp_path)) == 3
    assert len(units(tmp_path)) == 3


def test_a_plan_that_makes_no_sense_is_said(tmp_path):
    for text in ("", "{", "[1]"):
        (tmp_path / "simulate.json").write_text(text)
        with pytest.raises(DataError, match="plan makes no sense"):
            units(tmp_path)


def test_a_plan_of_which_nothing_was_finished_gives_way(tmp_path):
    """A run that failed at its first shard does not stand in the way of the one that mends it."""
    out, said = tmp_path / "out", []
    first = units(out, say=said.append)[0]
    first.target.with_name(first.target.name + ".partial").write_bytes(b"half of it")
    assert said == []
    again = units(out, source(muons=5), say=said.append)
    assert "nothing was finished" in said[0]
    assert [path.name for path in out.iterdir()] == ["simulate.json"]
    assert sum(simulate(unit) for unit in again) == 20
    assert StoreReader(out).provenance["configuration"]["muons"] == 5
    assert len(said) == 1


def test_what_lies_beside_a_plan_keeps_it_from_giving_way(tmp_path):
    units(tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="another simulation"):
        units(tmp_path / "out", source(muons=5))


@pytest.mark.parametrize(
    ("events", "workers", "wanted"),
    [(1, 1, 16), (100, 2, 16), (1000, 2, 63), (10_000, 2, 625), (1_000_000, 2, 1024), (1000, 64, 16)],
)
def test_there_are_several_shards_for_each_worker(tmp_path, events, workers, wanted):
    size = shard_size(tmp_path, events, workers)
    assert size == wanted
    assert size == 16 or events / size > 7 * workers


def test_the_size_of_shards_stays_that_of_the_plan(tmp_path):
    unit = units(tmp_path / "out", shard_events=7)[0]
    assert shard_size(tmp_path / "out", 20, 64) == 16  # nothing holds it yet
    simulate(unit)
    assert shard_size(tmp_path / "out", 20, 64) == 7
    assert shard_size(tmp_path / "out", 1000, 2) == 63  # another plan, which is refused
