"""Bad files are refused before their data is read, for the right reason, with file and field."""

from __future__ import annotations

import multiprocessing
import warnings

import h5py
import numpy as np
import pytest

from hepfm.errors import DataError
from hepfm.readers import safety
from hepfm.readers.digest import file_digest
from hepfm.readers.handle import Handle
from hepfm.readers.sniff import open_reader, resolve_paths
from hepfm.readers.store import StoreReader
from hepfm.readers.vlen import VlenRows


def refused(path, name="x"):
    """The error for one field of a file."""
    with safety.open_h5(path) as file, pytest.raises(DataError) as error:
        safety.dataset(file, name, path=path)
    assert str(path) in error.value.where
    return error.value


def test_no_file_an_empty_one_another_format_and_half_a_file(tmp_path, store):
    for name, content, why in (
        ("none.h5", None, "no such file"),
        ("empty.h5", b"", "empty"),
        ("text.h5", b"hello world", "not HDF5"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError, match=why) as error:
            safety.open_h5(path)
        assert name in error.value.where
    path = store(30)
    for share in (0.5, 0.99):
        half = tmp_path / "half.h5"
        half.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        with pytest.raises(DataError, match="truncated"):
            open_reader(half)


def test_a_file_that_is_cut_after_it_was_opened(store):
    path = store(30)
    reader = StoreReader(path)
    reader.read(range(30), labels=False)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 4)
    with pytest.raises(DataError, match="truncated") as error:
        reader.read(range(30), labels=False)
    assert "block" in error.value.where


def test_data_in_other_files_is_refused(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.arange(4)
    path = tmp_path / "links.h5"
    secret = tmp_path / "secret"
    secret.write_bytes(b"0123456789abcdef")
    with h5py.File(path, "w", libver="latest") as file:
        file["external"] = h5py.ExternalLink("other.h5", "x")
        file["dangling"] = h5py.ExternalLink("absent.h5", "x")
        file["soft"] = h5py.SoftLink("/plain")
        file["plain"] = np.arange(3)
        layout = h5py.VirtualLayout((4,), "i8")
        layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("stored", (16,), "u1", external=[(str(secret), 0, 16)])
        file.create_dataset("refs", data=np.array([file["plain"].ref], dtype=h5py.ref_dtype))
        nested = np.dtype([("a", "f4"), ("r", h5py.ref_dtype)])
        file.create_dataset("nested", (1,), nested)
        file.create_group("folder")
    assert refused(path, "external").what == "an external link is refused"
    assert refused(path, "dangling").what == "an external link is refused"
    assert refused(path, "soft").what == "a soft link is refused"
    assert "virtual dataset is refused" in refused(path, "virtual").what
    assert "external storage is refused" in refused(path, "stored").what
    assert refused(path, "refs").what == refused(path, "nested").what == "references are refused"
    assert "wanted a dataset, found a group" in refused(path, "folder").what
    missing = refused(path, "absent")
    assert missing.what == "a field is missing"
    assert "plain" in missing.fix


def test_sizes_that_the_file_cannot_hold(tmp_path):
    path = tmp_path / "bomb.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("chunked", (1 << 40,), "f8", chunks=(1 << 20,), compression="gzip")
        file.create_dataset("contiguous", (1 << 40,), "f8")
    assert path.stat().st_size < 4096
    assert f"declares {1 << 43} bytes" in refused(path, "chunked").what
    assert f"declares {1 << 43} bytes but 0 were written" in refused(path, "contiguous").what


def test_chunks_that_were_never_written(tmp_path):
    path = tmp_path / "gap.h5"
    with h5py.File(path, "w") as file:
        found = file.create_dataset("x", (100,), "f4", chunks=(10,))
        found[:30] = 1
        found[40:] = 1
    assert "1 of 10 chunks were never written" in refused(path).what


def test_wrong_types_and_shapes_say_wanted_and_found(store):
    def altered(name, data):
        path = store(12, f"{abs(hash(name + str(data.dtype) + str(data.shape)))}.h5")
        with h5py.File(path, "r+") as file:
            del file[f"blocks/000001/{name}"]
            file[f"blocks/000001/{name}"] = data
        with pytest.raises(DataError) as error:
            StoreReader(path).read([9])
        assert str(path) in error.value.where
        assert name.split("/")[-1] in error.value.where
        return error.value.what

    offsets = np.array([0, 5, 4, 9, 9], "<u4")
    assert altered("image/hits/energy_mev", np.zeros(3)) == "wanted type float32, found float64"
    assert altered("image/hits/voxel", np.zeros((3, 2), "u2")) == "wanted shape ('any', 3), found (3, 2)"
    assert altered("event_ids", np.zeros(3, "u8")) == "wanted shape (4,), found (3,)"
    assert altered("image/hits/offsets", offsets) == "the offsets go backwards"
    assert "rows as the offsets say, found 2" in altered("image/hits/energy_mev", np.zeros(2, "f4"))


def test_a_store_of_another_version_or_without_its_attributes(store):
    path = store(3)
    with h5py.File(path, "r+") as file:
        file.attrs["hepfm_store"] = 99
    with pytest.raises(DataError, match="layout version 99, this hepfm reads 1"):
        StoreReader(path)
    path = store(3, "b.h5")
    with h5py.File(path, "r+") as file:
        del file.attrs["parts"]
    with pytest.raises(DataError) as error:
        StoreReader(path)
    assert "attribute parts" in error.value.where


def test_shards_of_different_schemas_are_refused(store):
    path = store(20, shard_events=10)
    with h5py.File(path / "00001.h5", "r+") as file:
        file.attrs["parts"] = file.attrs["parts"].replace(b'"voxel_mm": 3.0', b'"voxel_mm": 5.0')
    with pytest.raises(DataError, match=r"voxel_mm is 3.0 there, 5.0 here") as error:
        StoreReader(path)
    assert "00001.h5" in error.value.where


@pytest.mark.parametrize("chunks", [None, (4,)])
def test_lengths_of_rows_are_known_without_reading_them(tmp_path, chunks):
    path = tmp_path / "vlen.h5"
    lengths = [5, 0, 1000, 7, 1, 3]
    with h5py.File(path, "w", libver="latest") as file:
        found = file.create_dataset("x", (6,), h5py.vlen_dtype("f4"), chunks=chunks)
        for k, n in enumerate(lengths):
            found[k] = np.arange(n) + 10 * k
    with h5py.File(path) as file:
        rows = VlenRows(file["x"], path=path)
        np.testing.assert_array_equal(rows.lengths, lengths)
        for k, wanted in enumerate(file["x"][()]):
            row = rows.row(k, Handle(path))
            assert row.dtype == wanted.dtype
            np.testing.assert_array_equal(row, wanted)
        place = file["x"].id.get_offset() if chunks is None else None
    if place is None:
        return
    with path.open("r+b") as file:  # the third row says that it has 10^9 numbers
        file.seek(place + 2 * 16)
        file.write((10**9).to_bytes(4, "little"))
    with h5py.File(path) as file, pytest.raises(DataError, match="declares 1000000000 numbers") as error:
        VlenRows(file["x"], path=path)
    assert "event 2" in error.value.where


def test_a_handle_opened_before_a_fork_is_opened_again(store):
    handle = Handle(store(3))
    before = handle.file()
    receive, send = multiprocessing.get_context("fork").Pipe(duplex=False)

    def child():
        after = handle.file()
        send.send((after is before, int(after.attrs["hepfm_store"])))

    process = multiprocessing.get_context("fork").Process(target=child)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    assert receive.poll(60)
    assert receive.recv() == (False, 1)
    process.join(10)
    assert handle.file() is before


def test_paths_are_resolved_in_order_and_misses_are_explained(store, tmp_path):
    b, a = store(2, "b.h5"), store(2, "a.h5")
    assert resolve_paths(str(tmp_path)) == [tmp_path], (
        "a folder whose files are a store's shards is one store"
    )
    plain = tmp_path / "plain"
    plain.mkdir()
    for name in ("2.h5", "1.h5"):
        (plain / name).write_bytes(b"x")
    assert resolve_paths(plain) == [plain / "1.h5", plain / "2.h5"]
    assert resolve_paths(str(tmp_path / "*.h5")) == [a, b]
    assert resolve_paths([str(b), str(a)]) == [b, a]
    assert [p.name for p in resolve_paths(["sample:train", "sample:val"])] == ["train.h5", "val.h5"]
    for spec, why, fix in (
        (tmp_path / "aa.h5", "no such file", "did you mean 'a.h5'"),
        (plain / "quite another", "no such file", "check the path"),
        ("sample:trian", "no sample 'trian'", "did you mean 'train'"),
        (str(tmp_path / "z*.h5"), "no file fits", "pattern"),
    ):
        with pytest.raises(DataError, match=why) as error:
            resolve_paths(spec)
        assert fix in error.value.fix
    (plain / "1.h5").unlink()
    (plain / "2.h5").unlink()
    with pytest.raises(DataError, match="holds no event file"):
        resolve_paths(plain)


def test_what_no_reader_knows_is_said(tmp_path):
    with h5py.File(tmp_path / "strange.h5", "w") as file:
        file["y"] = 1
    with pytest.raises(DataError, match="no reader recognises this") as error:
        open_reader(tmp_path / "strange.h5")
    assert "store" in error.value.fix
    assert "pilarnet" in error.value.fix


def test_file_digests_follow_the_content(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "x"
    path.write_bytes(b"one")
    first = file_digest(path)
    assert file_digest(path) == first
    path.write_bytes(b"other")
    assert file_digest(path) != first
    path.write_bytes(b"one")
    assert file_digest(path) == first
