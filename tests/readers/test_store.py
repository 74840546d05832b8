"""What is written to the event store is read, in any order, from files and shards, and never half."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepfm.api import Column, PartSchema, Sample
from hepfm.errors import DataError
from hepfm.readers.layout import parts_from_json, parts_to_json
from hepfm.readers.pack import pack, take
from hepfm.readers.store import StoreReader, StoreWriter
from hepfm.testing import reader_contract


@pytest.mark.parametrize("options", [{}, {"compression": "zstd"}, {"shard_events": 11}], ids=str)
def test_events_come_back(store, events, parts, same, options):
    path = store(30, **options)
    with StoreReader(path) as reader:
        assert len(reader) == 30
        assert reader.parts == parts
        assert reader.provenance == {"made_by": "test"}
        same(reader.read(range(30)), pack(events(30), parts))
        np.testing.assert_array_equal(reader.lengths("image")[:3], [0, 1, 70])
        assert list(reader.check()) == []
    assert path.is_dir() == bool("shard_events" in options)
    reader_contract(StoreReader, path)


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.integers(0, 29), max_size=40), labels=st.booleans())
def test_any_events_in_any_order(tmp_path_factory, events, parts, same, rows, labels):
    path = tmp_path_factory.getbasetemp() / "any-order"
    batch = pack(events(30), parts)
    if not path.exists():
        with StoreWriter(path, parts, {}, block_events=7, shard_events=16) as writer:
            writer.write(batch)
    found = StoreReader(path).read(rows, labels=labels)
    wanted = take(batch, rows)
    same(found, wanted if labels else dataclasses.replace(wanted, labels={}))


def test_the_file_does_not_depend_on_the_batches_written(store, events, parts, tmp_path):
    whole = StoreReader(store(30)).digest()
    with StoreWriter(tmp_path / "bits.h5", parts, {"made_by": "test"}, block_events=8) as writer:
        for event in events(30):
            writer.write(pack([event], parts))
    assert StoreReader(tmp_path / "bits.h5").digest() == whole
    other = StoreReader(store(29, "other.h5")).digest()
    assert other != whole


@pytest.mark.parametrize("shards", [None, 9])
def test_appending_keeps_what_is_there(store, events, parts, same, shards):
    path = store(20, shard_events=shards)
    more = pack(events(9, seed=5), parts)
    with StoreWriter(
        path, parts, {"made_by": "later"}, block_events=8, shard_events=shards, append=True
    ) as writer:
        writer.write(more)
    with StoreReader(path) as reader:
        same(reader.read(range(20)), pack(events(20), parts))
        same(reader.read(range(20, 29)), more)
        assert list(reader.check()) == []


def test_another_schema_is_refused_with_what_differs(store, parts):
    path = store(5)
    image = dataclasses.replace(parts["image"], attributes={"hilbert_column": "voxel", "voxel_mm": 4.0})
    with pytest.raises(DataError, match=r"image.attributes.voxel_mm is 3.0 there, 4.0 here"):
        StoreWriter(path, {**parts, "image": image}, {}, append=True)
    with pytest.raises(DataError, match="exists already"):
        StoreWriter(path, parts, {})


def test_a_wrong_batch_is_refused(tmp_path, events, parts):
    batch = pack(events(5), parts)
    hits = batch.parts["image"]["hits"]
    wide = dataclasses.replace(
        hits, columns={**hits.columns, "energy_mev": hits.columns["energy_mev"].astype("f8")}
    )
    wrong = dataclasses.replace(batch, parts={**batch.parts, "image": {"hits": wide}})
    with (
        StoreWriter(tmp_path / "x.h5", parts, {}) as writer,
        pytest.raises(DataError, match="wanted rows of float32"),
    ):
        writer.write(wrong)


def test_a_killed_writer_leaves_the_store_as_it_was(store, events, parts, same, tmp_path):
    path = store(10)
    script = """
        import os, pickle, signal, sys
        from pathlib import Path
        from hepfm.readers.store import StoreWriter
        parts, batch = pickle.loads(Path(sys.argv[2]).read_bytes())
        writer = StoreWriter(Path(sys.argv[1]), parts, {}, block_events=8, append=True)
        writer.write(batch)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    import pickle

    (tmp_path / "batch").write_bytes(pickle.dumps((parts, pack(events(20, seed=3), parts))))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), path, tmp_path / "batch"], check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.glob("*.partial")), "the kill came before anything was written"
    same(StoreReader(path).read(range(10)), pack(events(10), parts))
    with (
        pytest.warns(UserWarning, match="was not finished and is dropped"),
        StoreWriter(path, parts, {"made_by": "test"}, block_events=8, append=True) as writer,
    ):
        writer.write(pack(events(4, seed=3), parts))
    assert len(StoreReader(path)) == 14
    assert not list(tmp_path.glob("*.partial"))


def test_a_block_without_digest_is_dropped_when_appending(store, events, parts, same):
    path = store(20)
    with h5py.File(path, "r+") as file:
        del file["blocks/000002"].attrs["digest"]
    assert "not finished" in next(iter(StoreReader(path).check()))
    with (
        pytest.warns(UserWarning, match="block 000002 was not finished"),
        StoreWriter(path, parts, {"made_by": "test"}, append=True) as writer,
    ):
        writer.write(pack(events(2), parts))
    with StoreReader(path) as reader:
        assert len(reader) == 18
        same(reader.read(range(16)), take(pack(events(20), parts), range(16)))


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_columns_of_the_same_bits_are_stored_once(tmp_path, compression):
    columns = {name: Column(dtype="float32") for name in ("energy_mev", "de_mev", "negative", "zero")}
    parts = {"image": PartSchema(kind="toy", primary="hits", tables={"hits": columns})}
    energy = np.random.default_rng(0).exponential(size=5000).astype(np.float32)
    zeros = np.zeros(5000, np.float32)
    hits = {"energy_mev": energy, "de_mev": energy.copy(), "negative": -zeros, "zero": zeros}
    batch = pack([Sample(event_id=1, parts={"image": {"hits": hits}})], parts)
    with StoreWriter(tmp_path / "x.h5", parts, {}, compression=compression) as writer:
        writer.write(batch)
    with h5py.File(tmp_path / "x.h5") as file:
        group = file["blocks/000000/image/hits"]
        assert group["energy_mev"] == group["de_mev"] != group["zero"]
        assert group["negative"] != group["zero"]  # equal numbers, other bits
    with StoreReader(tmp_path / "x.h5") as reader:
        found = reader.read([0]).parts["image"]["hits"].columns
        assert list(reader.check()) == []
    for name, column in hits.items():
        assert found[name].tobytes() == column.tobytes()


def test_no_events_are_a_store(store):
    reader = StoreReader(store(0))
    assert len(reader) == 0
    assert len(reader.read([])) == 0
    assert reader.lengths("image").shape == (0,)
    with pytest.raises(DataError, match="has no events"):
        reader.read([0])


def test_an_index_that_is_not_there_is_named(store):
    with pytest.raises(DataError, match="no event 30: the file has events 0 to 29"):
        StoreReader(store(30)).read([3, 30])


def test_silent_corruption_is_caught_by_the_digest(store):
    path = store(30)
    with h5py.File(path) as file:
        place = file["blocks/000001/image/hits/voxel"].id.get_offset()
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 1]))
    reader = StoreReader(path)
    reader.read([9])  # the flipped bit reads as a wrong number
    [sentence] = reader.check()
    assert f"{path}, block 1 (events 8 to 15)" in sentence
    with pytest.raises(DataError, match="was altered"):
        StoreReader(path, StoreReader.Config(verify=True)).read([9])


def test_an_altered_schema_is_caught_by_the_digest(store):
    path = store(30)
    with h5py.File(path, "r+") as file:
        file.attrs["parts"] = file.attrs["parts"].replace(b'"voxel_mm": 3.0', b'"voxel_mm": 7.0')
    assert StoreReader(path).parts["image"].attributes["voxel_mm"] == 7.0
    [sentence] = StoreReader(path).check()
    assert f"{path}: the schema or the list of blocks" in sentence
    with pytest.raises(DataError, match="was altered"):
        StoreReader(path, StoreReader.Config(verify=True))


def test_lost_blocks_are_caught_by_the_digest(store):
    path = store(30)
    with h5py.File(path, "r+") as file:
        counts = file["block_events"][:-1]
        del file["block_events"]
        file["block_events"] = counts
    assert len(StoreReader(path)) == 24
    [sentence] = StoreReader(path).check()
    assert "was altered" in sentence


def test_a_damaged_block_is_refused_each_time(store):
    path = store(12)
    with h5py.File(path, "r+") as file:
        del file["blocks/000000/light/samples/adc"]
    reader = StoreReader(path)
    for _ in range(2):
        with pytest.raises(DataError, match="a field is missing"):
            reader.read([0])


@pytest.mark.parametrize("options", [{}, {"compression": "zstd"}], ids=str)
def test_damage_anywhere_is_caught(store, parts, same, options):
    """Bytes changed, zeroed or cut off at random places: the check finds it, or nothing that counts changed."""
    path = store(30, **options)
    raw, wanted = path.read_bytes(), StoreReader(path).read(range(30))
    rng = np.random.default_rng(1)
    for kind in ("bit", "zeros", "end") * 40:
        place, damaged = int(rng.integers(len(raw))), bytearray(raw)
        if kind == "bit":
            damaged[place] ^= 1 << int(rng.integers(8))
        elif kind == "zeros":
            damaged[place : place + 512] = bytes(len(damaged[place : place + 512]))
        else:
            del damaged[place:]
        path.write_bytes(damaged)
        StoreReader.sniff(path)  # never raises
        with contextlib.suppress(DataError), StoreReader(path) as reader:
            found = list(reader.check())
            if not found:
                assert reader.parts == parts
                same(reader.read(range(30)), wanted)


def test_values_that_make_no_sense_are_named(tmp_path, events, parts):
    batch = pack(events(12), parts)
    rows = batch.parts["image"]["hits"].offsets
    batch.parts["image"]["hits"].columns["energy_mev"][rows[2] + 1] = np.nan
    batch.labels["image"]["hits"].columns["kind"][rows[2] : rows[2] + 3] = 7
    with StoreWriter(tmp_path / "nan.h5", parts, {}, block_events=5) as writer:
        writer.write(batch)
    found = list(StoreReader(tmp_path / "nan.h5").check())
    assert len(found) == 2
    assert "event 2, field image/hits/energy_mev: 1 rows are not finite" in found[0]
    assert "event 2, field image/hits/kind: 3 rows are of no class" in found[1]


def test_schemas_go_through_json(parts, tmp_path):
    assert parts_from_json(parts_to_json(parts), path=tmp_path) == parts
    with pytest.raises(DataError, match="makes no sense"):
        parts_from_json('{"image": {"tables": 3}}', path=tmp_path)
    bad = PartSchema(kind="x", primary="t", tables={"t": {"../x": Column(dtype="float32")}})
    with pytest.raises(DataError, match="name cannot be used"):
        StoreWriter(tmp_path / "bad.h5", {"p": bad}, {})


def test_resident_memory_is_flat(tmp_path):
    """64 times the events cost at most 8 bytes each to hold open and read at random."""
    parts = {"p": PartSchema(kind="k", primary="t", tables={"t": {"x": Column(dtype="uint16")}})}
    script = """
        import sys, numpy as np, tracemalloc
        from pathlib import Path
        from hepfm.readers.store import StoreReader
        reader = StoreReader(Path(sys.argv[1]))
        reader.read([0])
        tracemalloc.start()
        for start in range(0, len(reader), 1024):
            reader.read(np.arange(start, start + 1024, 64))
        print(tracemalloc.get_traced_memory()[0] / len(reader))
    """
    from hepfm.api import Batch, RaggedTable

    n = 1 << 16
    table = RaggedTable({"x": np.arange(2 * n, dtype=np.uint16)}, np.arange(0, 2 * n + 1, 2))
    batch = Batch(event_ids=np.arange(n), cost=np.full(n, 2), parts={"p": {"t": table}})
    with StoreWriter(tmp_path / "big.h5", parts, {}) as writer:
        writer.write(batch)
    command = [sys.executable, "-c", textwrap.dedent(script), tmp_path / "big.h5"]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert float(done.stdout) <= 8


def test_what_is_discarded_is_closed_also_where_it_cannot_be_cut(tmp_path, events, parts, monkeypatch):
    def fails(*_):
        raise OSError("no such luck")

    path = tmp_path / "events.h5"
    writer = StoreWriter(path, parts, {}, block_events=1)
    writer.write(pack(events(3), parts))
    file = writer._file
    monkeypatch.setattr("hepfm.readers.writer.os.truncate", fails)
    writer.discard()
    assert not file, "HDF5 would keep it open, and locked"
    assert list(tmp_path.iterdir()) == []


def test_two_writers_of_one_file_do_not_meet(tmp_path, events, parts, same):
    first, path = pack(events(6), parts), tmp_path / "events.h5"
    writer = StoreWriter(path, parts, {}, block_events=1)
    writer.write(first)
    with pytest.raises(DataError, match="another process is writing"), StoreWriter(path, parts, {}) as second:
        second.write(first)
    writer.close()
    with StoreReader(path) as reader:
        same(reader.read(range(len(reader))), first)
