"""Detectors: those that are shipped, and files that cannot be."""

from __future__ import annotations

import re

import numpy as np
import pytest
import yaml

from hepfm.errors import DataError, RecipeError
from hepfm_lartpc.charge.config import WireReadout
from hepfm_lartpc.charge.projection import wire_geometry
from hepfm_lartpc.coverage import doubts, face_mm
from hepfm_lartpc.detector import load_detector, shipped
from hepfm_lartpc.detector_file import parse

SMALL = {
    "name": "small",
    "sources": ["made up"],
    "low_mm": [-100, -100, -100],
    "high_mm": [100, 100, 100],
    "tpcs": [{"low_mm": [-100, -100, -100], "high_mm": [100, 100, 100], "anode": "x+"}],
    "image": {"origin_mm": [-102, -102, -102], "grid": [68, 68, 68]},
}
PANEL = {"position_mm": [0, 0, 100], "normal": [0, 0, -1], "width_mm": 9, "height_mm": 9, "efficiency": 0.1}
WIRES = {
    "kind": "wires",
    "ticks": 400,  # 200 us, and 200 mm at 1.6 mm/us are 125 us
    "planes": [
        {"name": "U", "kind": "induction", "angle_deg": 30, "pitch_mm": 4, "wires": 69, "height_mm": 3},
        {"name": "W", "kind": "collection", "angle_deg": 0, "pitch_mm": 4, "wires": 50},
    ],
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
        ({"lifetme_ms": 5}, "lifetme_ms: there is no such key; did you mean 'lifetime_ms'"),
        ({"charge": WIRES | {"tiks": 5}}, "did you mean 'ticks'"),
        ({"charge": {"kind": "pixels", "ptch_mm": 4}}, "did you mean 'pitch_mm'"),
        ({"charge": WIRES | {"trigger_offset_ticks": 400}}, "ends before the event's time 0"),
        ({"image": {"voxel_mm": 0.001}}, "voxel_mm"),
        ({"image": {"origin_mm": [200, 0, 0], "grid": [9, 9, 9]}}, "no voxel lies in the argon"),
        ({"light": {"detectors": [PANEL | {"position_mm": [0, 0, 151]}]}}, "photon detector 0(.|\n)*outside"),
        ({"tpcs": [SMALL["tpcs"][0], SMALL["tpcs"][0] | {"low_mm": [99, -100, -100]}]}, "0 and 1 overlap"),
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


@pytest.mark.parametrize("content", [b"name: [", b"\xff\xfe\x00", b"- a list", b"", b"? [a, list]\n: 1"])
def test_what_is_no_detector_at_all_is_said(tmp_path, content):
    path = tmp_path / "d.yaml"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"d\.yaml"):
        load_detector(str(path))


def test_a_key_that_is_given_twice_is_refused_with_its_lines(tmp_path):
    path = tmp_path / "d.yaml"
    path.write_text(yaml.safe_dump(SMALL) + "field_kv_cm: 0.3\nlifetime_ms: 3\nfield_kv_cm: 0.5\n")
    with pytest.raises(DataError, match=r"'field_kv_cm' is given twice, first in line \d+"):
        load_detector(str(path))
    merged = "one: {two: &a {<<: &b {key: 1}, key: 2}}\nthree: {<<: *a}\n"
    assert parse(merged) == {"one": {"two": {"key": 2}}, "three": {"key": 2}}


def test_no_message_speaks_pydantic(tmp_path):
    with pytest.raises(DataError) as caught:
        load_detector(written(tmp_path, low_mm=[200, -100, -100]))
    assert "Value error" not in str(caught.value)


@pytest.mark.parametrize("name", shipped())
def test_nothing_is_odd_about_shipped_detectors(name):
    assert list(doubts(load_detector(name))) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, None),
        ({"image": {"origin_mm": [-102, -102, -102], "grid": [60, 68, 68]}}, "from -102 to 78 mm in x"),
        ({"image": {}}, "of which only -100 to 100 mm hold argon"),
        ({"charge": WIRES}, None),
        ({"charge": WIRES | {"ticks": 240}}, "of plane|frame ends 120 us after"),
        ({"charge": WIRES | {"ticks": 400, "trigger_offset_ticks": 200}}, "frame ends 100 us after"),
    ],
)
def test_what_is_odd_and_may_be_meant_is_said(tmp_path, changes, sentence):
    found = list(doubts(load_detector(written(tmp_path, **changes))))
    assert bool(found) == bool(sentence)
    assert all(re.search(sentence, one) for one in found)


@pytest.mark.parametrize("anode", ["x+", "y-", "z+"])
@pytest.mark.parametrize("angle", [-60.0, 0.0, 35.7, 90.0])
def test_wires_cover_the_anode_where_the_geometry_has_all_its_corners_between_wires(tmp_path, anode, angle):
    """Against the wires that charge is put on: a corner lies beyond the outermost where the face is not covered."""
    box = {"low_mm": [-100, -60, -30], "high_mm": [100, 60, 30]}
    tpc = load_detector(written(tmp_path, tpcs=[box | {"anode": anode}])).tpcs[0]
    axes = [axis for axis in range(3) if axis != tpc.axis]
    corners = np.array(
        [[a[axes[0]], b[axes[1]]] for a in (tpc.low_mm, tpc.high_mm) for b in (tpc.low_mm, tpc.high_mm)]
    )
    plane = {"name": "W", "kind": "collection", "angle_deg": angle, "pitch_mm": 1.0, "wires": 10}
    geometry = wire_geometry(WireReadout(planes=[plane], ticks=9), [tpc])
    wire = corners @ geometry.across[0, 0] + geometry.constant[0, 0]
    assert face_mm(tpc, angle) == pytest.approx(np.ptp(wire))


def test_a_plane_that_is_too_narrow_is_named_with_the_wires_that_it_needs(tmp_path):
    planes = [WIRES["planes"][0] | {"wires": 50}, WIRES["planes"][1]]
    (said,) = doubts(load_detector(written(tmp_path, charge=WIRES | {"planes": planes})))
    # 200 mm (cos 30 + sin 30) = 273.2 mm across; 50 wires are 200.
    assert "plane U leave 36.6 mm" in said
    assert "69 wires" in said
