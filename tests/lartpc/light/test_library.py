"""Photon libraries: filled, written, read, interpolated, refused."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from hepfm.errors import DataError
from hepfm_lartpc.light.library import Library
from hepfm_lartpc.light.optics import Optics
from hepfm_lartpc.light.panels import Volume
from hepfm_lartpc.light.visibility import SolidAngle, visibility_of


@pytest.fixture(scope="module")
def calculated(panels, box):
    return SolidAngle(panels, [Volume(low_mm=tuple(box[0]), high_mm=tuple(box[1]))], Optics())


@pytest.fixture(scope="module")
def library(calculated, box):
    return Library.filled(calculated, *box, (21, 17, 25))


def test_at_its_nodes_it_is_what_it_was_filled_with(calculated, library):
    nodes = np.array([[-500.0, -400, -600], [0, 0, 0], [500, 400, 600], [50, -100, 300]])
    seen, delay_ns = library(nodes)
    exact, exact_ns = calculated(nodes)
    assert seen == pytest.approx(exact, rel=1e-9)
    assert delay_ns == pytest.approx(exact_ns, rel=1e-9)


def test_between_nodes_it_is_close_away_from_detectors(calculated, library):
    points = np.random.default_rng(2).uniform([-200, -250, -400], [480, 150, 300], (500, 3))
    seen, delay_ns = library(points)
    exact, exact_ns = calculated(points)
    assert abs(seen / exact - 1).mean() < 0.01
    assert abs(delay_ns / exact_ns - 1).max() < 0.05


def test_it_is_linear_between_nodes_and_constant_beyond():
    grid = np.stack(np.meshgrid(*[[0.0, 1.0, 2.0]] * 3, indexing="ij"), -1)
    values = (grid @ [0.1, 0.05, 0.02])[..., None]
    library = Library(values, np.ones_like(values), np.zeros(3), np.full(3, 2.0))
    points = np.array([[0.3, 1.7, 0.9], [1.0, 1.5, 2.0], [-5, 0, 0], [9, 9, 9]])
    inside = np.clip(points, 0, 2) @ [0.1, 0.05, 0.02]
    assert library(points)[0][:, 0] == pytest.approx(inside, abs=1e-12)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_a_file_gives_back_the_library(library, panels, tmp_path, suffix):
    path = tmp_path / f"library{suffix}"
    if suffix == ".npz":
        library.write(path)
    else:
        with h5py.File(path, "w") as file:
            file["visibility"], file["delay_ns"] = library.visibility, library.delay_ns
            file["low_mm"], file["high_mm"] = library.low_mm, library.high_mm
    read = visibility_of(panels, [], Optics(library=path))
    points = np.array([[10.0, 20, 30], [-480, 100, 20]])
    for a, b in zip(read(points), library(points), strict=True):
        assert np.array_equal(a, b)


def _npz(path, **changes):
    parts = {"visibility": np.full((2, 2, 2, 6), 0.1), "low_mm": np.zeros(3), "high_mm": np.ones(3)} | changes
    np.savez(path, **{name: value for name, value in parts.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"visibility": None}, "visibility"),
        ({"visibility": np.full((2, 2, 2, 5), 0.1)}, "5 detectors"),
        ({"visibility": np.full((2, 2, 2, 6), 1.5)}, "outside 0 to 1"),
        ({"visibility": np.full((2, 2, 2, 6), np.nan)}, "outside 0 to 1"),
        ({"visibility": np.full((2, 6), 0.1)}, r"shape \(2, 6\)"),
        ({"low_mm": np.full(3, 2.0)}, "must lie below"),
        ({"high_mm": np.ones(2)}, "fit together"),
    ],
)
def test_a_library_that_cannot_be_is_refused(tmp_path, changes, says):
    _npz(tmp_path / "bad.npz", **changes)
    with pytest.raises(DataError, match=says) as caught:
        Library.read(tmp_path / "bad.npz", 6)
    assert "bad.npz" in caught.value.where


@pytest.mark.parametrize("name", ["none.npz", "none.h5", "text.npz", "text.h5", "library.root"])
def test_a_file_that_is_no_library_is_refused(tmp_path, name):
    if name.startswith("text"):
        (tmp_path / name).write_text("no library")
    with pytest.raises(DataError):
        Library.read(tmp_path / name, 6)
