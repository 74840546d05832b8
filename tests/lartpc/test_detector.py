"""Detectors: those that are shipped, and files that cannot be."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from hepfm.errors import DataError, RecipeError
from hepfm_lartpc.detector import load_detector, shipped

SMALL = {
    "name": "small",
    "sources": ["made up"],
    "low_mm": [-100, -100, -100],
    "high_mm": [100, 100, 100],
    "tpcs": [{"low_mm": [-100, -100, -100], "high_mm": [100, 100, 100], "anode": "x+"}],
}


def written(tmp_path, **changes):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL | changes))
    return str(path)


@pytest.mark.parametrize("name", shipped())
def test_shipped_detectors_can_be_built_and_say_where_their_numbers_come_from(name):
    detector = load_detector(name)
    assert detector.name == name
    assert detector.summary
    assert all(detector.sources)
    image = detector.image
    far = np.array(image.origin_mm) + image.voxel_mm * np.array(image.grid)
    assert (np.array(image.origin_mm) <= detector.low_mm).all()
    assert (far >= detector.high_mm).all()  # no deposit is outside the image


def test_a_detector_of_ones_own_is_a_file(tmp_path):
    detector = load_detector(written(tmp_path, field_kv_cm=0.27))
    assert detector.field_kv_cm == 0.27
    (tpc,) = detector.tpcs
    assert (tpc.axis, tpc.towards, tpc.anode_mm, tpc.drift_mm) == (0, 1, 100, 200)


def test_files_that_a_detector_names_are_seen_from_its_folder(tmp_path):
    light = {
        "detectors": [
            {
                "position_mm": [0, 0, 100],
                "normal": [0, 0, -1],
                "width_mm": 9,
                "height_mm": 9,
                "efficiency": 0.1,
            }
        ],
        "optics": {"library": "maps/library.npz"},
    }
    detector = load_detector(written(tmp_path, light=light))
    assert detector.light.optics.library == tmp_path / "maps" / "library.npz"


def test_an_unknown_name_is_met_with_a_known_one():
    with pytest.raises(RecipeError, match=r"no detector 'cub'(.|\n)*did you mean 'cube'"):
        load_detector("cub")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"field_kv_cm": -1}, "field_kv_cm"),
        ({"temperature_k": 300}, "temperature_k"),
        ({"low_mm": [200, -100, -100]}, "must lie below"),
        ({"tpcs": []}, "tpcs"),
        ({"tpcs": [SMALL["tpcs"][0] | {"high_mm": [101, 100, 100]}]}, "leaves the argon"),
        ({"tpcs": [SMALL["tpcs"][0] | {"anode": "w+"}]}, "anode"),
        ({"sources": []}, "sources"),
        ({"feild_kv_cm": 0.5}, "feild_kv_cm"),
        ({"image": {"voxel_mm": 0}}, "voxel_mm"),
        ({"image": {"grid": [65_537, 8, 8]}}, "image.grid.0"),
        ({"image": {"grid": [8, 0, 8]}}, "image.grid.1"),
        ({"charge": {"kind": "strips"}}, "charge"),
    ],
)
def test_impossible_values_are_named_with_file_and_key(tmp_path, changes, message):
    path = written(tmp_path, **changes)
    with pytest.raises(DataError, match=message) as caught:
        load_detector(path)
    assert path in str(caught.value)


def test_a_missing_value_is_named(tmp_path):
    path = tmp_path / "d.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in SMALL.items() if k != "high_mm"}))
    with pytest.raises(DataError, match="high_mm: Field required"):
        load_detector(str(path))


@pytest.mark.parametrize("content", [b"name: [", b"\xff\xfe\x00", b"- a list", b""])
def test_what_is_no_detector_at_all_is_said(tmp_path, content):
    path = tmp_path / "d.yaml"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"d\.yaml"):
        load_detector(str(path))
