"""TrackML's files against the csv module of the standard library."""

from __future__ import annotations

import csv
import gzip
import shutil

import numpy as np
import pytest

from hepfm.errors import DataError
from hepfm.readers.sniff import open_reader
from hepfm.testing import reader_contract
from hepfm_structured.trackml import TrackmlReader

KINDS = ("hits", "truth", "particles")


def rows_of(path):
    with gzip.open(path, "rt") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def real(real_data):
    return real_data / "trackml"


@pytest.fixture
def folder(real, tmp_path):
    """Three events of the real one: its first 400, next 300 and next 200 hits, plain and gzipped."""
    hits, truth = (rows_of(real / f"event000000001-{kind}.csv.gz") for kind in ("hits", "truth"))
    at = 0
    out = tmp_path / "events"
    out.mkdir()
    for k, n in enumerate((400, 300, 200)):
        opener, ending = (gzip.open, ".csv.gz") if k == 1 else (open, ".csv")
        for kind, rows in (("hits", hits), ("truth", truth)):
            with opener(out / f"event00000000{k}-{kind}{ending}", "wt") as file:
                writer = csv.DictWriter(file, rows[0].keys())
                writer.writeheader()
                writer.writerows(rows[at : at + n])
        at += n
    return out


def test_the_real_event(real):
    reader = open_reader(real)
    assert type(reader) is TrackmlReader
    assert len(reader) == 1
    event = reader.read([0]).event(0)
    hits, truth, particles = (rows_of(real / f"event000000001-{kind}.csv.gz") for kind in KINDS)
    found, labels = event.parts["structured"]["hits"], event.labels["structured"]
    assert reader.lengths("structured").tolist() == [len(hits)] == [5527]
    for name, column in {"x": "x", "y": "y", "z": "z", "volume": "volume_id", "module": "module_id"}.items():
        np.testing.assert_array_equal(
            found[name], np.array([float(r[column]) for r in hits], found[name].dtype)
        )
    ids = [int(r["particle_id"]) for r in truth]  # beyond what float64 tells apart
    assert max(ids) > 2**53
    assert labels["hits"]["particle_id"].tolist() == ids
    np.testing.assert_array_equal(labels["hits"]["true_px"], np.array([float(r["tpx"]) for r in truth], "f4"))
    assert labels["tracks"]["particle_id"].tolist() == [int(r["particle_id"]) for r in particles]
    assert labels["tracks"]["charge"].tolist() == [int(r["q"]) for r in particles]
    # Physics: a track has the hits that the file counts, and they bend as its charge and field say.
    counted = dict(zip(*np.unique(labels["hits"]["particle_id"], return_counts=True), strict=True))
    assert all(
        counted.get(i, 0) == n
        for i, n in zip(labels["tracks"]["particle_id"], labels["tracks"]["n_hits"], strict=True)
    )
    assert list(reader.check()) == []


def test_the_contract_holds(folder):
    reader_contract(TrackmlReader, folder)


def test_events_are_in_the_order_of_their_names(folder):
    reader = TrackmlReader(folder)
    assert reader.lengths("structured").tolist() == [400, 300, 200]
    assert "tracks" not in reader.parts["structured"].tables
    digest = reader.digest()
    for file in folder.glob("*truth*"):
        file.unlink()
    unlabelled = TrackmlReader(folder)
    assert not unlabelled.read([0]).labels
    assert unlabelled.digest() != digest


def test_bad_folders_are_named(folder, tmp_path):
    lines = (folder / "event000000000-truth.csv").read_text().splitlines()

    def truth(lines):
        (folder / "event000000000-truth.csv").write_text("\n".join(lines) + "\n")
        return TrackmlReader(folder)

    with pytest.raises(DataError, match=r"the truth is of other hits than event000000000-hits\.csv has"):
        truth(lines[:-1]).read([0])
    with pytest.raises(DataError, match=r"no column 'tpx'(.|\n)*did you mean 'tpxx'"):
        truth([lines[0].replace("tpx", "tpxx"), *lines[1:]]).read([0])
    with pytest.raises(DataError, match=r"the file is no whole CSV"):
        truth([*lines[:-1], lines[-1].rsplit(",", 1)[0]]).read([0])
    with pytest.raises(DataError, match=r"the file is no whole CSV"):
        truth([*lines[:-1], lines[-1].replace(lines[-1].split(",")[2], "word")]).read([0])
    (folder / "event000000000-truth.csv").unlink()
    with pytest.raises(DataError, match=r"the event has no truth, others of the folder do"):
        TrackmlReader(folder)
    with pytest.raises(DataError, match=r"no file event...-hits.csv"):
        TrackmlReader(tmp_path)
    with pytest.raises(DataError, match=r"no folder of TrackML's files"):
        TrackmlReader(folder / "event000000000-hits.csv")
    shutil.rmtree(folder)
    with pytest.raises(DataError, match=r"there is no such folder"):
        TrackmlReader(folder)
