"""``hepfm data``: what it says of files, and that no event is lost or doubled on the way."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from hepfm.api import Column
from hepfm.cli.data import app
from hepfm.errors import DataError, RecipeError
from hepfm.readers.hilbert import order_rows
from hepfm.readers.plan import CONVERSION, claimed
from hepfm.readers.sniff import SAMPLE, open_reader
from hepfm.readers.store import StoreReader, StoreWriter

HEPFM = (sys.executable, "-m", "hepfm")


def run(*words, fails=None):
    """Runs ``hepfm data``; gives its output, or the error where it should fail."""
    result = CliRunner().invoke(app, [str(w) for w in words])
    if fails is not None:
        assert isinstance(result.exception, fails), (result.exception, result.output)
        return result.exception
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


@pytest.fixture
def sources(tmp_path):
    """Two small stores of 20 and 12 events, in the order of the sample's rows."""
    paths = []
    for name, events in (("b", range(20)), ("a", range(20, 32))):
        reader = StoreReader(SAMPLE / "val.h5")
        paths.append(tmp_path / f"{name}.h5")
        with StoreWriter(paths[-1], reader.parts, {"name": name}) as writer:
            writer.write(reader.read(events))
    return paths


def ids_of(path):
    with StoreReader(Path(path)) as reader:
        return reader.event_ids().tolist()


@pytest.fixture(scope="module")
def sample_ids():
    return ids_of(SAMPLE / "val.h5")


def test_inspect_counts_what_a_loop_counts():
    found = json.loads(run("inspect", "sample:val", "--json"))
    reader = StoreReader(SAMPLE / "val.h5")
    batch = reader.read(range(32))
    semantic = batch.labels["image3d"]["voxels"].columns["semantic"]
    part = found["parts"]["image3d"]
    names = ("shower", "track", "Michel", "delta", "LED")
    assert part["classes"]["voxels.semantic"] == {n: int((semantic == k).sum()) for k, n in enumerate(names)}
    assert part["class_values"]["voxels.semantic"] == {n: k for k, n in enumerate(names)}
    lengths = batch.parts["image3d"]["voxels"].lengths
    assert part["lengths"] == {
        "total": len(semantic),
        "min": lengths.min(),
        "median": np.median(lengths),
        "max": lengths.max(),
    }
    assert found["events"] == 32
    assert part["tables"]["voxels"]["energy_mev"]["unit"] == "MeV"
    text = run("inspect", "sample:val")
    assert "32 events" in text
    assert "MeV" in text


@pytest.mark.parametrize("suffix", [".html", ".png"])
def test_inspect_draws_an_event(tmp_path, suffix):
    target = tmp_path / "deep" / f"event{suffix}"
    run("inspect", "sample:val", "--display", target, "--event", 3)
    head = target.read_bytes()[:200]
    assert head.startswith(b"\x89PNG") if suffix == ".png" else b"html" in head.lower()


def test_inspect_refuses_what_it_cannot_draw(tmp_path):
    assert "add --display" in str(run("inspect", "sample:val", "--event", 1, fails=RecipeError))
    assert "no event 32" in str(
        run("inspect", "sample:val", "--display", tmp_path / "x.png", "--event", 32, fails=DataError)
    )
    assert ".html or .png" in str(
        run("inspect", "sample:val", "--display", tmp_path / "x.jpg", fails=RecipeError)
    )
    assert "did you mean 'verify'" in str(run("inspect", "sample:val", "-o", "verfy=1", fails=RecipeError))


def test_convert_keeps_order_content_and_ids(sources, tmp_path, sample_ids):
    out = tmp_path / "out"
    run("convert", *sources, out, "--workers", 0, "--shard-events", 8, "--compression", "zstd")
    assert sorted(p.name for p in out.glob("*.h5")) == [f"{k:05d}.h5" for k in range(5)]
    assert ids_of(out) == sample_ids
    one, all_ = StoreReader(SAMPLE / "val.h5"), StoreReader(out)
    a, b = order_rows(one.read(range(32)), one.parts), all_.read(range(32))
    for name, values in a.parts["image3d"]["voxels"].columns.items():
        np.testing.assert_array_equal(values, b.parts["image3d"]["voxels"].columns[name])
    assert "nothing to do" in run(
        "convert", *sources, out, "--workers", 0, "--shard-events", 8, "--compression", "zstd"
    )
    single = tmp_path / "single.h5"
    run("convert", *sources, single)
    assert ids_of(single) == sample_ids
    assert "exists already" in str(run("convert", *sources, single, fails=DataError))
    assert "another conversion" in str(run("convert", sources[0], out, "--workers", 0, fails=DataError))


def test_a_killed_conversion_goes_on(tmp_path):
    """kill -9 at some moment: what is there is refused as unfinished, and a second run completes it exactly."""
    out = tmp_path / "out"
    command = [*HEPFM, "data", "convert", "sample:train", str(out), "--workers", "0", "--shard-events", "4"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(out.glob("*.h5"))) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {p.name: p.stat().st_mtime_ns for p in out.glob("*.h5")}
    assert 2 <= len(before) < 32, "the kill came at no useful moment"
    (out / "00031.h5.partial").write_bytes(b"half a shard")
    with pytest.raises(DataError, match="the conversion is not finished"):
        StoreReader(out)
    with pytest.warns(UserWarning, match="was not finished and is dropped"):
        run("convert", "sample:train", out, "--workers", 0, "--shard-events", 4)
    assert ids_of(out) == ids_of(SAMPLE / "train.h5")
    after = {p.name: p.stat().st_mtime_ns for p in out.glob("*.h5")}
    assert before.items() <= after.items(), "finished shards were written again"
    assert list(StoreReader(out).check()) == []


def test_convert_names_the_columns_that_the_format_cannot_hold(tmp_path):
    reader = StoreReader(SAMPLE / "val.h5")
    image = reader.parts["image3d"]
    more = image.tables["voxels"] | {"pdg": Column(dtype="int32", label=True)}
    parts = {"image3d": dataclasses.replace(image, tables={**image.tables, "voxels": more})}
    batch = reader.read(range(4))
    labels = batch.labels["image3d"]["voxels"]
    labels.columns["pdg"] = np.full(len(labels.columns["semantic"]), 13, np.int32)
    with StoreWriter(tmp_path / "more.h5", parts, {}) as writer:
        writer.write(batch)
    words = ["convert", str(tmp_path / "more.h5"), str(tmp_path / "p.h5"), "--to", "pilarnet"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0
    assert "image3d.voxels.pdg" in result.stderr
    assert "semantic" not in result.stderr
    kept = open_reader(tmp_path / "p.h5").parts["image3d"].tables["voxels"]
    assert "pdg" not in kept
    assert "semantic" in kept


def test_convert_to_pilarnet_and_back(tmp_path):
    run("convert", "sample:val", tmp_path / "p.h5", "--to", "pilarnet")
    reader = open_reader(tmp_path / "p.h5")
    assert type(reader).__name__ == "PilarnetReader"
    np.testing.assert_array_equal(
        reader.lengths("image3d"), StoreReader(SAMPLE / "val.h5").lengths("image3d")
    )
    run("convert", tmp_path / "p.h5", tmp_path / "s.h5")
    a, b = StoreReader(SAMPLE / "val.h5").read(range(32)), StoreReader(tmp_path / "s.h5").read(range(32))
    for name in ("voxel", "energy_mev", "time_ns"):
        np.testing.assert_array_equal(
            a.parts["image3d"]["voxels"].columns[name], b.parts["image3d"]["voxels"].columns[name]
        )
    np.testing.assert_array_equal(
        a.labels["image3d"]["voxels"].columns["fragment"], b.labels["image3d"]["voxels"].columns["fragment"]
    )
    assert "cannot write" in str(
        run("convert", "sample:val", tmp_path / "e.h5", "--to", "edepsim", fails=RecipeError)
    )


@pytest.mark.ray
def test_convert_on_ray_gives_the_same_files_and_goes_on_past_a_bad_one(sources, tmp_path):
    with h5py.File(sources[1], "r+") as file:  # found only when the second source is read
        file["blocks/000000/image3d/voxels/offsets"][3] = 2**31
    alone, ray = tmp_path / "alone", tmp_path / "ray"
    words = ("--shard-events", "10")
    for out, workers in ((alone, 0), (ray, 2)):
        process = subprocess.run(
            [*HEPFM, "data", "convert", *map(str, sources), str(out), "--workers", str(workers), *words],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert process.returncode == 3, process.stderr
        assert "offsets go backwards" in process.stderr
        assert "2 of 4 files were not written" in process.stderr
        assert "Traceback" not in process.stderr
    for name in ("00000.h5", "00001.h5"):
        assert StoreReader(alone / name).digest() == StoreReader(ray / name).digest()
    assert not (ray / "00002.h5").exists()


def test_a_second_conversion_into_one_folder_is_refused(sources, tmp_path):
    out = tmp_path / "out"
    with claimed(out, CONVERSION):
        refused = run("convert", *sources, out, "--workers", 0, fails=DataError)
    assert refused.what == "another process fills this folder with a conversion"
    assert f'"pid": {os.getpid()}' in refused.where
    run("convert", *sources, out, "--workers", 0)
    assert len(ids_of(out)) == 32
    assert sorted(path.name for path in out.iterdir()) == ["00000.h5", "00001.h5", "convert.json"]


def test_a_ray_that_is_not_there_is_refused_before_the_sources_are_read(sources, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    sources[0].write_bytes(b"broken")
    refused = run("convert", *sources, tmp_path / "out", fails=RecipeError)
    assert "No Ray cluster answers at '127.0.0.1:9'" in refused.what
    assert refused.where == "RAY_ADDRESS"
    run("convert", sources[1], tmp_path / "one")  # without Ray
    assert len(ids_of(tmp_path / "one")) == 12


def test_check_lists_every_bad_file(sources, tmp_path):
    good, bad = sources
    with h5py.File(bad, "r+") as file:
        file["blocks/000000/image3d/voxels/energy_mev"][5] = np.nan
    (tmp_path / "empty.h5").write_bytes(b"")
    process = subprocess.run(
        [*HEPFM, "data", "check", str(tmp_path / "*.h5"), str(tmp_path / "none.h5")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 3
    lines = process.stdout.splitlines()
    assert f"{good}: good" in lines
    assert any("was altered" in line and str(bad) in line for line in lines)
    assert any("event 0, field image3d/voxels/energy_mev: 1 rows are not finite" in line for line in lines)
    assert any("empty.h5: the file is empty" in line for line in lines)
    assert any("none.h5: there is no such file" in line for line in lines)
    assert "Traceback" not in process.stderr
    found = json.loads(run("check", good, "--json"))
    assert found == {"files": {str(good): []}, "bad_files": 0}


def test_check_looks_at_the_other_files(tmp_path, monkeypatch):
    """Whatever is wrong with one: with its content, with the options, or with its reader."""
    good, silent = tmp_path / "good.npz", tmp_path / "silent.h5"
    adc = np.random.default_rng(0).integers(0, 9, (2, 3, 20))
    np.savez(good, adc=adc, sample_ns=16.0)
    with h5py.File(silent, "w") as file:
        file["adc"] = adc
    words = ["check", silent, good, "--reader", "array"]
    assert f"{silent}: neither the file nor" in run(*words)
    assert f"{good}: good" in run(*words)
    assert CliRunner().invoke(app, list(map(str, words))).exit_code == RecipeError.exit_code

    def stumble(reader):
        raise ZeroDivisionError("bad luck")

    monkeypatch.setattr("hepfm_waveform.reader.WaveformReader.check", stumble)
    stumbled = CliRunner().invoke(app, ["check", str(good), str(SAMPLE / "val.h5")])
    assert f"{good}: its reader fails on it (ZeroDivisionError: bad luck)" in stumbled.stdout
    assert f"{SAMPLE / 'val.h5'}: good" in stumbled.stdout
    assert stumbled.exit_code == DataError.exit_code


def test_split_deals_each_event_once_by_its_id_alone(sources, tmp_path, sample_ids):
    shares = "train=.6,val=.2,test=.2"
    run("split", *sources, "--out", tmp_path / "x", "--fractions", shares)
    run("split", *reversed(sources), "--out", tmp_path / "y", "--fractions", shares)
    run("split", *sources, "--out", tmp_path / "z", "--fractions", shares, "--seed", 1)
    found = {o: {s: set(ids_of(tmp_path / o / s)) for s in ("train", "val", "test")} for o in "xyz"}
    assert found["x"] == found["y"]
    assert found["x"] != found["z"]
    for splits in found.values():
        assert sum(map(len, splits.values())) == 32
        assert set().union(*splits.values()) == set(sample_ids)
    assert "exists already" in str(
        run("split", *sources, "--out", tmp_path / "x", "--fractions", shares, fails=DataError)
    )


def test_split_shares_are_those_asked_for():
    from hepfm.readers.split import by_fractions

    ids = np.arange(100_000, dtype=np.uint64) * np.uint64(7919)
    masks = by_fractions(ids, {"train": 0.8, "val": 0.1, "test": 0.1}, seed=0)
    assert abs(masks["train"].mean() - 0.8) < 0.006  # five standard deviations
    assert sum(m.astype(int) for m in masks.values()).tolist() == [1] * len(ids)
    part = by_fractions(ids[::3], {"train": 0.8, "val": 0.1, "test": 0.1}, seed=0)
    np.testing.assert_array_equal(part["val"], masks["val"][::3])


def test_split_by_rule(sources, tmp_path, sample_ids):
    run("split", *sources, "--out", tmp_path / "r", "--rule", "train=0:25,val=25:32")
    assert ids_of(tmp_path / "r" / "train") == sample_ids[:25]
    assert ids_of(tmp_path / "r" / "val") == sample_ids[25:]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "either --fractions or --rule"),
        (("--fractions", "train=.8,val=.3"), "add up to at most 1"),
        (("--fractions", "train=x"), "could not convert"),
        (("--fractions", "../up=1"), "cannot be used"),
        (("--rule", "train=0:99"), "does not lie within the 32 events"),
        (("--rule", "train=0:9,val=8:12"), "overlap"),
        (("--rule", "train=5"), "not START:STOP"),
    ],
)
def test_split_refuses_what_makes_no_sense(tmp_path, words, why):
    assert why in str(run("split", "sample:val", "--out", tmp_path / "s", *words, fails=RecipeError))


def test_events_named_twice_are_refused(sources, tmp_path):
    twin = tmp_path / "twin.h5"
    twin.write_bytes(sources[0].read_bytes())
    assert "the same events" in str(run("convert", sources[0], twin, tmp_path / "x", fails=DataError))
    assert "named twice" in str(run("convert", sources[0], sources[0], tmp_path / "x", fails=DataError))
    assert "the same events" in str(
        run("split", sources[0], twin, "--out", tmp_path / "s", "--rule", "a=0:5", fails=DataError)
    )


def test_a_split_refuses_events_that_stand_in_two_files(sources, tmp_path):
    shortened = tmp_path / "shortened.h5"
    reader = StoreReader(sources[0])
    with StoreWriter(shortened, reader.parts, {"name": "other"}) as writer:
        writer.write(reader.read(range(5)))
    said = run("split", sources[0], shortened, "--out", tmp_path / "s", "--rule", "a=0:5", fails=DataError)
    assert "the same events stand in several sources" in str(said)
    assert run("split", sources[0], "--out", tmp_path / "t", "--rule", "a=0:5").endswith(
        "15 of 20 events are in no split\n"
    )
