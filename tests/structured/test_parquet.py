"""Parquet files are read as what they were made of, by row groups, as records or as plain columns."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hepfm.errors import DataError
from hepfm.readers.sniff import open_reader
from hepfm.testing import reader_contract
from hepfm_structured.parquet import ParquetReader
from hepfm_structured.root import RootReader

Config = ParquetReader.Config


def write(path, n=30, rows=7, lists=pa.list_):
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 6, n)
    columns = {
        f"part_{c}": ak.unflatten(rng.normal(0, 2, counts.sum()).astype("f4"), counts)
        for c in ("px", "py", "pz")
    }
    table = {name: pa.array(ak.to_list(v), lists(pa.float32())) for name, v in columns.items()}
    table |= {"jet_pt": pa.array(rng.uniform(500, 600, n)), "comment": pa.array(["no number"] * n)}
    pq.write_table(pa.table(table), path, row_group_size=rows)
    return columns, counts


@pytest.mark.parametrize("lists", [pa.list_, pa.large_list])
def test_row_groups(tmp_path, lists):
    path = tmp_path / "jets.parquet"
    columns, counts = write(path, lists=lists)
    reader = open_reader(path)
    assert type(reader) is ParquetReader
    np.testing.assert_array_equal(reader.lengths("structured"), counts)
    order = [29, 0, 13, 6, 7, 13]  # across row groups, and on their edges
    batch = reader.read(order)
    for k, event in enumerate(order):
        rows = batch.event(k).parts["structured"]["particles"]
        p = [ak.to_numpy(columns[f"part_{c}"][event]).astype("f8") for c in ("px", "py", "pz")]
        np.testing.assert_allclose(rows["pt"], np.sqrt(p[0] ** 2 + p[1] ** 2), rtol=1e-6)
        np.testing.assert_allclose(
            rows["eta"], np.arctanh(p[2] / np.sqrt(sum(c**2 for c in p))), rtol=1e-4, atol=1e-6
        )
    assert "mass" not in reader.parts["structured"].tables["particles"]  # there are no energies
    assert reader.parts["structured"].tables["event"].keys() == {"jet_pt"}
    reader_contract(ParquetReader, path)


def test_fixed_lists_and_flags(tmp_path):
    path = tmp_path / "fixed.parquet"
    values = np.arange(24, dtype="f8")
    two = pa.FixedSizeListArray.from_arrays(pa.array(values), 2)
    flags = pa.FixedSizeListArray.from_arrays(pa.array(values % 3 == 0), 2)
    pq.write_table(pa.table({"pt": two, "eta": two, "phi": two, "tight": flags}), path, row_group_size=5)
    batch = ParquetReader(path).read([4, 5, 11])
    columns = batch.parts["structured"]["particles"].columns
    assert columns["pt"].tolist() == [8, 9, 10, 11, 22, 23]
    assert columns["tight"].tolist() == [0, 1, 0, 0, 0, 0]


def test_records_are_read_like_the_root_file_that_they_came_from(real_data, tmp_path):
    import uproot

    source = real_data / "collider" / "uproot-HZZ.root"
    with uproot.open(source) as file:
        raw = file["events"].arrays(library="ak")
    names = ("Px", "Py", "Pz", "E", "Charge", "Iso")
    muons = ak.zip({name: raw[f"Muon_{name}"] for name in names})
    ak.to_parquet(ak.zip({"Muon": muons, "MET_px": raw["MET_px"]}, depth_limit=1), tmp_path / "muons.parquet")
    reader = ParquetReader(tmp_path / "muons.parquet")
    found = reader.read(range(2421)).parts["structured"]["particles"]
    wanted = (
        RootReader(source, RootReader.Config(collections=("Muon",)))
        .read(range(2421))
        .parts["structured"]["particles"]
    )
    np.testing.assert_array_equal(found.offsets, wanted.offsets)
    assert found.columns.keys() == wanted.columns.keys()
    for name, values in wanted.columns.items():
        np.testing.assert_array_equal(found.columns[name], values)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([[1.0], None, [2.0]], r"no list \(null\)"),
        ([[1.0], [None], [2.0]], r"1 values are missing \(null\)"),
    ],
)
def test_nulls_are_named(tmp_path, values, sentence):
    path = tmp_path / "null.parquet"
    column = pa.array(values, pa.list_(pa.float64()))
    pq.write_table(pa.table(dict.fromkeys(("pt", "eta", "phi"), column)), path)
    with pytest.raises(DataError, match=sentence) as error:
        ParquetReader(path).read([0, 1, 2])
    assert "column" in error.value.where


def test_bad_files_are_named(tmp_path):
    path = tmp_path / "jets.parquet"
    write(path)
    with pytest.raises(DataError, match=r"no branch 'part_ptt'(.|\n)*did you mean 'part_p"):
        ParquetReader(path, Config(particles={"pt": "part_ptt"}))
    data = bytearray(path.read_bytes())
    data[:-8] = b"\0" * (len(data) - 8)
    (tmp_path / "zero.parquet").write_bytes(data)
    with pytest.raises(DataError, match=r"Parquet's data cannot be read"):
        ParquetReader(tmp_path / "zero.parquet")
