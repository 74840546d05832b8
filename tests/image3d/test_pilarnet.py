"""PILArNet-M is read as its description says, against a reader of a few lines that knows nothing of hepfm."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from hepfm.api import RaggedTable
from hepfm.errors import DataError
from hepfm.readers.hilbert import order_rows
from hepfm.readers.sniff import open_reader
from hepfm.readers.store import StoreReader, StoreWriter
from hepfm.testing import reader_contract
from hepfm_image3d.pilarnet import PilarnetReader
from hepfm_image3d.pilarnet_writer import write_pilarnet

N = 12


@pytest.fixture(scope="session")
def v2(real_data):
    return real_data / "geant4_lartpc" / "val" / "generic_v2_200_v1.h5"


def plain_rows(path, name, width):
    """The independent reader: rows of one dataset, opened as the field's loaders open it."""
    with tempfile.TemporaryDirectory() as folder:
        # A copy: HDF5 refuses one file with two sets of flags in a process, and readers here may have it open.
        copy = shutil.copyfile(path, Path(folder) / "copy.h5")
        with h5py.File(copy, "r", libver="latest", swmr=True) as file:
            return [row.reshape(-1, width) for row in file[name][:]]


@pytest.fixture(scope="session")
def v2_rows(v2):
    return {
        name: plain_rows(v2, name, width)
        for name, width in (("point", 8), ("cluster", 6), ("cluster_extra", 5))
    }


@pytest.fixture
def make(v2_rows, tmp_path):
    """Makes a file of a version from the first events of the real v2 file; tables can be altered."""

    def write(version, *, cluster_type=np.int64, alter=lambda tables, event: None, n=N, **create):
        path = tmp_path / f"{version}.h5"
        events = []
        for k in range(n):
            t = {name: rows[k] for name, rows in v2_rows.items()}
            m = len(t["cluster"])
            rng = np.random.default_rng(k)
            if version == "v1":
                t["cluster"] = t["cluster"][:, :5]
                del t["cluster_extra"]
            if version in {"v3", "v3_extra"}:
                t["cluster_extra"] = np.column_stack([t["cluster_extra"], rng.integers(0, 2, m)])
            if version == "v3_extra":
                pdg = rng.choice([11, 22, 2212], m)
                t["cluster_extra_2"] = np.column_stack([rng.normal(size=(m, 3)), pdg, np.arange(m)])
                t["interaction_extra"] = np.column_stack([np.arange(2), rng.normal(size=(2, 3))])
            alter(t, k)
            events.append(t)
        with h5py.File(path, "w", libver="latest") as file:
            for name in events[0]:
                kind = cluster_type if name == "cluster" else np.float32
                found = file.create_dataset(name, (n,), h5py.vlen_dtype(kind), **create)
                for k, t in enumerate(events):
                    found[k] = t[name].astype(kind).reshape(-1)
        return path, events

    return write


@pytest.mark.parametrize("version", ["v1", "v2", "v3", "v3_extra"])
def test_every_version_is_read_as_described(make, version):
    path, events = make(version, cluster_type=np.int32 if version == "v3" else np.int64)
    reader = open_reader(path)
    assert type(reader) is PilarnetReader
    assert reader.version == version
    np.testing.assert_array_equal(reader.lengths("image3d"), [len(t["point"]) for t in events])
    batch = reader.read(range(N))
    for k, t in enumerate(events):
        event = batch.event(k)
        voxels, truth = event.parts["image3d"]["voxels"], event.labels["image3d"]
        np.testing.assert_array_equal(voxels["voxel"], t["point"][:, :3])
        for column, name in enumerate(("energy_mev", "de_mev", "time_ns", "electrons", "dx_mm"), start=3):
            np.testing.assert_array_equal(voxels[name], t["point"][:, column])
        at = 0
        for row in t["cluster"]:  # a voxel's labels are those of the cluster whose run it stands in
            run = slice(at, at := at + row[0])
            for column, name in enumerate(("fragment", "group", "interaction", "semantic"), start=1):
                assert (truth["voxels"][name][run] == row[column]).all()
        fragments = truth["fragments"]
        np.testing.assert_array_equal(fragments["n_voxels"], t["cluster"][:, 0])
        if version != "v1":
            np.testing.assert_array_equal(fragments["pid"], t["cluster"][:, 5])
            np.testing.assert_array_equal(fragments["mass_mev"], t["cluster_extra"][:, 0])
            np.testing.assert_array_equal(fragments["vertex"], t["cluster_extra"][:, 2:5])
        assert ("is_primary" in fragments) == (version in {"v3", "v3_extra"})
        if version == "v3_extra":
            extra = t["cluster_extra_2"].astype(np.float32)
            np.testing.assert_array_equal(fragments["momentum_xyz_gev"], extra[:, :3])
            np.testing.assert_array_equal(fragments["parent_pdg"], extra[:, 3])
            np.testing.assert_array_equal(
                truth["interactions"]["vertex"], t["interaction_extra"][:, 1:].astype("f4")
            )
    assert list(reader.check()) == []
    reader_contract(PilarnetReader, path)


def test_chunked_and_filtered_files_are_read(make):
    for create in ({"chunks": (5,)}, {"chunks": (5,), "compression": "gzip"}):
        path, events = make("v2", **create)
        reader = PilarnetReader(path)
        np.testing.assert_array_equal(reader.lengths("image3d"), [len(t["point"]) for t in events])
        path.unlink()


def as_table(path):
    """Each event's voxels with all labels, and its fragments, in an order of their own."""
    tables = []
    for point, cluster, extra in zip(
        plain_rows(path, "point", 8),
        plain_rows(path, "cluster", 6),
        plain_rows(path, "cluster_extra", 5),
        strict=True,
    ):
        rows = np.column_stack([np.repeat(cluster, cluster[:, 0], axis=0), point])
        tables.append((rows[np.lexsort(rows.T)], cluster, extra))
    return tables


def test_file_to_store_to_file_keeps_all_but_the_order_within_fragments(v2, tmp_path):
    reader = PilarnetReader(v2)
    with StoreWriter(tmp_path / "store.h5", reader.parts, reader.provenance, compression="zstd") as writer:
        writer.write(order_rows(reader.read(range(40)), reader.parts))
    store = StoreReader(tmp_path / "store.h5")
    copy = tmp_path / "copy.h5"
    batches = (store.read(range(at, at + 8)) for at in range(0, 40, 8))
    assert write_pilarnet(copy, batches, store.parts, store.provenance) == 40
    for (rows, cluster, extra), (want_rows, want_cluster, want_extra) in zip(
        as_table(copy), as_table(v2)[:40], strict=True
    ):
        np.testing.assert_array_equal(rows, want_rows)
        np.testing.assert_array_equal(cluster, want_cluster)
        np.testing.assert_array_equal(extra, want_extra)
    again = PilarnetReader(copy)
    assert again.version == "v2"
    assert list(again.check()) == []


def test_the_sample_is_the_first_events_of_the_real_data(real_data):
    for split, n in (("train", 128), ("val", 32)):
        [source] = (real_data / "geant4_lartpc" / split).glob("*.h5")
        from hepfm.readers.sniff import resolve_paths

        [path] = resolve_paths(f"sample:{split}")
        reader = StoreReader(path)
        assert len(reader) == n
        original = PilarnetReader(source)
        wanted = order_rows(original.read(range(n)), original.parts)
        found = reader.read(range(n))
        np.testing.assert_array_equal(found.event_ids, wanted.event_ids)
        for have, want in ((found.parts, wanted.parts), (found.labels, wanted.labels)):
            for name, values in have["image3d"]["voxels"].columns.items():
                np.testing.assert_array_equal(values, want["image3d"]["voxels"].columns[name])
        assert str(real_data) not in str(reader.provenance)


def test_the_sample_is_small():
    from hepfm.readers.sniff import SAMPLE

    assert sum(path.stat().st_size for path in SAMPLE.iterdir()) < 3_000_000


def test_fragments_are_made_from_labels_where_a_store_has_no_table(tmp_path):
    from hepfm.readers.sniff import SAMPLE

    store = StoreReader(SAMPLE / "val.h5")
    write_pilarnet(tmp_path / "x.h5", [store.read(range(5))], store.parts, {})
    batch, again = store.read(range(5)), PilarnetReader(tmp_path / "x.h5").read(range(5))
    for k in range(5):
        a, b = batch.event(k), again.event(k)
        rows = [
            np.column_stack(
                [e.parts["image3d"]["voxels"]["voxel"], e.parts["image3d"]["voxels"]["energy_mev"]]
                + [e.labels["image3d"]["voxels"][n] for n in ("fragment", "group", "interaction", "semantic")]
            )
            for e in (a, b)
        ]
        np.testing.assert_array_equal(*(r[np.lexsort(r.T)] for r in rows))
        assert b.labels["image3d"]["fragments"]["fragment_id"][0] == -1, "row 0 is the low-energy deposits"


def change(table, event, how):
    """Alters one table of one event."""

    def alter(tables, k):
        if k == event:
            tables[table] = how(tables[table].copy())

    return alter


def shifted(cluster):
    cluster[0, 0] += 1
    return cluster


def with_nan(point):
    point[3, 3] = np.nan
    return point


def below_grid(point):
    point[2, 1] = -1
    return point


def above_grid(point):
    point[2, 1] = 768
    return point


def of_no_class(cluster):
    cluster[1, 4] = 9
    return cluster


@pytest.mark.parametrize(
    ("table", "how", "field", "why"),
    [
        ("cluster", shifted, "cluster", "add up to"),
        ("point", lambda p: p.reshape(-1)[:-3], "point", "wanted rows of 8 numbers"),
        ("cluster_extra", lambda e: e[:-1], "cluster_extra", "rows of 5 numbers, found"),
        ("point", below_grid, "point", "not a whole number within the grid [768, 768, 768]"),
        ("point", above_grid, "point", "not a whole number within the grid [768, 768, 768]"),
        ("point", with_nan, "image3d/voxels/energy_mev", "1 rows are not finite"),
        ("cluster", of_no_class, "image3d/voxels/semantic", "of no class of 'semantic'"),
    ],
)
def test_a_bad_event_is_named(make, table, how, field, why):
    path, _ = make("v2", alter=change(table, 5, how))
    found = list(PilarnetReader(path).check())
    assert found
    assert all(f"{path}, event 5, field" in sentence for sentence in found)
    assert any(field in sentence and why in sentence for sentence in found)


def test_events_of_no_and_of_one_point(make):
    def alter(tables, k):
        if k in {0, 3}:
            points = 0 if k == 0 else 1
            tables["point"] = tables["point"][:points]
            tables["cluster"] = np.array([[points, -1, -1, -1, 4, -1]])[:, : tables["cluster"].shape[1]]
            tables["cluster_extra"] = np.full((1, 5), -1.0)

    path, _ = make("v2", alter=alter)
    reader = PilarnetReader(path)
    assert reader.lengths("image3d")[[0, 3]].tolist() == [0, 1]
    assert reader.read([0, 3]).labels["image3d"]["voxels"].columns["semantic"].tolist() == [4]
    assert list(reader.check()) == []


def test_wrong_files_are_refused_on_opening(make, tmp_path):
    def spoiled(name, spoil):
        path = tmp_path / f"{name}.h5"
        shutil.copyfile(make("v2", n=3)[0], path)
        with h5py.File(path, "r+") as file:
            spoil(file)
        with pytest.raises(DataError) as error:
            PilarnetReader(path)
        assert str(path) in error.value.where
        return error.value

    def put(name, data, **create):
        def spoil(file):
            del file[name]
            file.create_dataset(name, data=data, **create)

        return spoil

    def drop(file):
        del file["cluster"]

    def unsigned(file):
        del file["cluster"]
        found = file.create_dataset("cluster", (3,), h5py.vlen_dtype(np.uint64))
        for k in range(3):
            found[k] = np.zeros(6, np.uint64)

    missing = spoiled("no-cluster", drop)
    assert missing.what == "a field is missing"
    assert "field /cluster" in missing.where
    assert "int32 or int64, found uint64" in spoiled("unsigned", unsigned).what
    assert "found float32" in spoiled("flat", put("point", np.zeros(3, "f4"))).what
    assert "wanted shape (3,), found (2,)" in spoiled("short", put("cluster_extra", np.zeros(2))).what


def test_lost_sectors_do_not_hang(make):
    """HDF5 walks a heap of zeros without end."""
    path, _ = make("v2", n=3)
    raw = path.read_bytes()
    for at in range(0, len(raw), 1 << 14):
        path.write_bytes(raw[:at] + bytes(512) + raw[at + 512 :])
        with contextlib.suppress(DataError):
            list(PilarnetReader(path).check())
    heap = raw.index(b"GCOL")
    path.write_bytes(raw[: heap + 16] + bytes(512) + raw[heap + 528 :])
    [sentence, *_] = PilarnetReader(path).check()
    assert "the row is not where the file says" in sentence


def test_extras_of_another_width_are_refused(make):
    def wide(tables, k):
        tables["cluster_extra"] = np.repeat(tables["cluster_extra"], 2, axis=1)[:, :7]

    path, _ = make("v2", alter=wide, n=3)
    with pytest.raises(DataError, match="rows of 5 or 6 numbers"):
        PilarnetReader(path)


def test_a_number_too_large_for_its_column_is_refused(make):
    def far(extra):
        extra[0, 4] = 3e9
        return extra

    path, _ = make("v3_extra", alter=change("cluster_extra_2", 2, far), n=3)
    [sentence] = PilarnetReader(path).check()
    assert "event 2, field cluster_extra_2: parent_pdg or parent_track_id does not fit 32 bits" in sentence


def test_the_grid_and_its_origin_are_kept(v2, tmp_path):
    reader = PilarnetReader(v2)
    image = reader.parts["image3d"]
    moved = {**image.attributes, "origin_mm": [-1.0, 2.0, 3.0], "grid": [768, 800, 900]}
    parts = {"image3d": replace(image, attributes=moved)}
    write_pilarnet(tmp_path / "moved.h5", [reader.read([0])], parts, {})
    again = PilarnetReader(tmp_path / "moved.h5").parts["image3d"]
    assert again.attributes["origin_mm"] == [-1.0, 2.0, 3.0]
    assert again.attributes["grid"] == [768, 800, 900]


def test_a_huge_event_is_known_before_it_is_read(make):
    def alter(tables, k):
        if k == 1:
            tables["point"] = np.tile(tables["point"][:1], (1_000_001, 1))
            tables["cluster"] = np.array([[1_000_001, -1, -1, -1, 4, -1]])
            tables["cluster_extra"] = np.full((1, 5), -1.0)

    path, _ = make("v2", alter=alter, n=3)
    reader = PilarnetReader(path)
    assert reader.lengths("image3d")[1] == 1_000_001
    from hepfm.data.source import open_source
    from hepfm.recipe.schema import Part

    with pytest.raises(DataError, match=r"1000001|1,000,001") as error:
        open_source(str(path), parts={"image3d": Part(kind="image3d")}, max_event_cost=1_000_000)
    assert "event 1" in str(error.value)


def test_fragments_in_any_order_get_their_own_voxels(make, tmp_path):
    def reversed_ids(tables, k):
        cluster = tables["cluster"] = tables["cluster"].copy()
        cluster[1:, 1] = 1000 - cluster[1:, 1]

    path, _ = make("v2", alter=reversed_ids)
    reader = PilarnetReader(path)
    write_pilarnet(tmp_path / "copy.h5", [order_rows(reader.read(range(N)), reader.parts)], reader.parts, {})
    for (rows, cluster, _), (want_rows, want_cluster, _) in zip(
        as_table(tmp_path / "copy.h5"), as_table(path), strict=True
    ):
        np.testing.assert_array_equal(rows, want_rows)
        np.testing.assert_array_equal(cluster, want_cluster)
    cut = reader.read([2])
    table = cut.parts["image3d"]["voxels"]
    few = {
        "image3d": {
            "voxels": RaggedTable({c: v[:-1] for c, v in table.columns.items()}, table.offsets - [0, 1])
        }
    }
    truth = cut.labels["image3d"]["voxels"]
    labels = {c: v[:-1] for c, v in truth.columns.items()}
    kept = {"image3d": {**cut.labels["image3d"], "voxels": RaggedTable(labels, truth.offsets - [0, 1])}}
    with pytest.raises(DataError, match="voxels in its table") as error:
        write_pilarnet(tmp_path / "cut.h5", [replace(cut, parts=few, labels=kept)], reader.parts, {})
    assert "event 0" in error.value.where


def test_the_digest_is_of_the_options_too_and_the_ids_are_not(real_data):
    path = next((real_data / "geant4_lartpc" / "val").glob("*.h5"))
    plain, other = PilarnetReader(path), PilarnetReader(path, PilarnetReader.Config(voxel_mm=4))
    assert plain.digest() == PilarnetReader(path, PilarnetReader.Config()).digest() != other.digest()
    assert plain.event_ids().tolist() == other.event_ids().tolist()
