"""Voxelised segments conserve energy, and agree with brute-force sampling of each segment in float64."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepfm.errors import DataError
from hepfm.readers.sniff import open_reader
from hepfm.testing import reader_contract
from hepfm_image3d.edepsim import EdepsimReader
from hepfm_image3d.voxelise import clip

coordinate = st.floats(-20, 20, allow_nan=False, width=32) | st.integers(-20, 20).map(float)
point = st.tuples(coordinate, coordinate, coordinate)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(point, point), min_size=1, max_size=5))
def test_clipping_is_exact(segments):
    ends = np.array(segments, np.float64)
    pieces = clip(ends[:, 0], ends[:, 1])
    np.testing.assert_allclose(np.bincount(pieces.segment, pieces.share), 1, rtol=1e-12)
    samples = 4_000
    t = (np.arange(samples) + 0.5) / samples
    for k, (start, end) in enumerate(ends):
        mine = pieces.segment == k
        found: dict[tuple[int, ...], float] = {}
        for voxel, share in zip(map(tuple, pieces.voxel[mine]), pieces.share[mine], strict=True):
            found[voxel] = found.get(voxel, 0.0) + share
        voxels, counts = np.unique(np.floor(start + t[:, None] * (end - start)), axis=0, return_counts=True)
        brute = {tuple(map(int, v)): c / samples for v, c in zip(voxels, counts, strict=True)}
        for voxel in found.keys() | brute.keys():
            # Sampling sees a piece to within one sample at each of its ends.
            assert abs(found.get(voxel, 0) - brute.get(voxel, 0)) <= 2.5 / samples, (voxel, found, brute)


@pytest.fixture(scope="session", params=["edepsim/edepsim_70_events.h5", "larndsim/input_0.h5"])
def real(request, real_data):
    path = real_data / request.param
    with h5py.File(path) as file:
        return path, file["segments"][()]


def test_real_events_conserve_energy_and_length(real):
    path, segments = real
    reader = open_reader(path)
    assert type(reader) is EdepsimReader
    numbers = np.unique(segments["eventID"])
    assert len(reader) == len(numbers)
    batch = reader.read(range(len(reader)))
    np.testing.assert_array_equal(reader.lengths("image3d"), batch.cost)
    for row, number in enumerate(numbers):
        mine = segments[segments["eventID"] == number]
        voxels = batch.event(row).parts["image3d"]["voxels"]
        np.testing.assert_allclose(
            voxels["energy_mev"].sum(dtype="f8"), mine["dE"].sum(dtype="f8"), rtol=1e-6
        )
        np.testing.assert_allclose(
            voxels["dx_mm"].sum(dtype="f8"), 10 * mine["dx"].sum(dtype="f8"), rtol=1e-4
        )
        assert len(np.unique(voxels["voxel"], axis=0)) == len(voxels["voxel"])
    assert reader.provenance["segments_outside"] == 0
    assert list(reader.check()) == []


def test_a_real_event_is_what_fine_sampling_gives(real):
    path, segments = real
    reader = EdepsimReader(path, EdepsimReader.Config(voxel_mm=5))
    attributes = reader.parts["image3d"].attributes
    event = reader.read([1]).event(0)
    mine = segments[segments["eventID"] == np.unique(segments["eventID"])[1]]
    energy: dict[tuple[int, ...], float] = {}
    by_track: dict[tuple[tuple[int, ...], int], float] = {}
    samples = 400
    for s in mine:
        start, end = (np.array([10.0 * float(s[f"{a}_{w}"]) for a in "xyz"]) for w in ("start", "end"))
        t = (np.arange(samples) + 0.5)[:, None] / samples
        voxels = np.floor(
            (start + t * (end - start) - attributes["origin_mm"]) / attributes["voxel_mm"]
        ).astype(int)
        for voxel, count in zip(*np.unique(voxels, axis=0, return_counts=True), strict=True):
            key, share = tuple(voxel.tolist()), float(s["dE"]) * count / samples
            energy[key] = energy.get(key, 0.0) + share
            by_track[key, int(s["trackID"])] = by_track.get((key, int(s["trackID"])), 0.0) + share
    pdg = {int(s["trackID"]): int(s["pdgId"]) for s in mine}
    found, truth = event.parts["image3d"]["voxels"], event.labels["image3d"]["voxels"]
    tolerance = 4 * float(mine["dE"].max()) / samples
    compared = 0
    for voxel, value, track, code in zip(
        found["voxel"].tolist(), found["energy_mev"], truth["group"], truth["pdg"], strict=True
    ):
        key = tuple(voxel)
        assert abs(value - energy.pop(key, 0.0)) <= tolerance
        assert pdg[int(track)] == code
        shares = sorted(((e, n) for (k, n), e in by_track.items() if k == key), reverse=True)
        if shares and (len(shares) == 1 or shares[0][0] - shares[1][0] > 2 * tolerance):
            assert shares[0][1] == track
            compared += 1
    assert sum(energy.values()) <= tolerance
    assert compared > len(found["voxel"]) // 3


def test_the_contract_holds_and_the_grid_is_as_asked(real, tmp_path):
    path, segments = real
    config = EdepsimReader.Config(voxel_mm=4, origin_mm=(-100, -100, -100), grid=(50, 60, 50), axes="zyx")
    reader = EdepsimReader(path, config)
    attributes = reader.parts["image3d"].attributes
    assert attributes["grid"] == [50, 60, 50]
    batch = reader.read(range(len(reader)))
    voxel = batch.parts["image3d"]["voxels"].columns["voxel"]
    assert (voxel < (50, 60, 50)).all()
    ends = [
        np.stack([10.0 * segments[f"{a}_{w}"].astype("f8") for a in "zyx"], 1) + 100 for w in ("start", "end")
    ]
    inside = [((e >= 0) & (e < (200, 240, 200))).all(1) for e in ends]
    outside = ~(inside[0] & inside[1])
    assert reader.provenance["segments_outside"] == outside.sum() > 0
    kept = batch.parts["image3d"]["voxels"].columns["energy_mev"].sum(dtype="f8")
    assert segments["dE"][~outside].sum(dtype="f8") <= kept * (1 + 1e-6)
    assert kept <= segments["dE"].sum(dtype="f8")
    reader_contract(EdepsimReader, path, config)


def test_bad_files_are_named(tmp_path):
    kinds = [(f"{a}_{w}", "f4") for w in ("start", "end") for a in "xyz"] + [("eventID", "u4"), ("dE", "f4")]

    def write(name, fields, **values):
        rows = np.zeros(4, fields)
        rows["eventID"] = [3, 3, 5, 3]
        for field, value in values.items():
            rows[field][2] = value
        with h5py.File(tmp_path / name, "w") as file:
            file["segments"] = rows
        return tmp_path / name

    good = EdepsimReader(write("good.h5", kinds))
    assert len(good) == 2
    assert [
        c for c in good.parts["image3d"].tables["voxels"] if c in {"group", "pdg", "semantic", "time_ns"}
    ] == []
    with pytest.raises(DataError, match="lack the fields dE"):
        EdepsimReader(write("no-energy.h5", kinds[:-1]))
    with pytest.raises(DataError, match="position is not finite, or") as error:
        EdepsimReader(write("nan.h5", kinds, x_end=np.nan))
    assert "event 5, field segments" in error.value.where
    grid = EdepsimReader.Config(origin_mm=(0, 0, 0), grid=(8, 8, 8))
    with pytest.raises(DataError, match="more than 1000 m away"):  # not cut into 3e11 pieces
        EdepsimReader(write("far.h5", kinds, x_end=1e11), grid)
    text = [(name, "S4" if name == "x_start" else kind) for name, kind in kinds]
    with pytest.raises(DataError, match=r"wanted a number, found \|S4") as error:
        EdepsimReader(write("text.h5", text))
    assert "field segments/x_start" in error.value.where
    with h5py.File(tmp_path / "square.h5", "w") as file:
        file["segments"] = np.zeros((2, 4), kinds)
    with pytest.raises(DataError, match=r"wanted shape \('any',\), found \(2, 4\)"):
        EdepsimReader(tmp_path / "square.h5")
    [sentence] = EdepsimReader(write("energy.h5", kinds, dE=np.nan)).check()
    assert "event 5, field segments: a deposited energy (dE) is not finite" in sentence
    with pytest.raises(DataError, match="each side must have 1 to 65536"):
        EdepsimReader(tmp_path / "good.h5", EdepsimReader.Config(grid=(70000, 1, 1)))
