"""Readouts that cannot be are refused in a sentence."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hepfm_lartpc.charge.config import PixelReadout, WireElectronics, WirePlane, WireReadout

W = {"name": "W", "kind": "collection", "angle_deg": 0, "pitch_mm": 3.0, "wires": 8}
U = {"name": "U", "kind": "induction", "angle_deg": 60, "pitch_mm": 3.0, "wires": 8, "height_mm": 3.0}


@pytest.mark.parametrize(
    ("planes", "message"),
    [
        ([W, U], "height_mm must fall"),
        ([U, {**W, "height_mm": 3.0}], "height_mm must fall"),
        ([{**W, "height_mm": 3.0}, {**U, "height_mm": 0.0}], "must be the last"),
        ([U, {**W, "name": "U"}], "one name"),
        ([], "at least 1"),
        ([{**W, "pitch_mm": 0}], "greater than 0"),
        ([{**W, "wire": 3}], "not permitted"),
    ],
)
def test_planes_that_do_not_fit_together(planes, message):
    with pytest.raises(ValidationError, match=message):
        WireReadout(planes=planes, ticks=100)


def test_a_pedestal_outside_of_the_digitiser():
    with pytest.raises(ValidationError, match="0 to 255"):
        WireElectronics(bits=8)


def test_a_negative_bad_channel():
    with pytest.raises(ValidationError, match="count from 0"):
        WireReadout(planes=[WirePlane(**W)], ticks=10, bad_channels=[-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"v_ref_mv": 200.0}, "must lie above"), ({"pedestal_mv": 100.0}, "outside v_cm_mv")],
)
def test_a_pixel_digitiser_upside_down(options, message):
    with pytest.raises(ValidationError, match=message):
        PixelReadout(**options)
