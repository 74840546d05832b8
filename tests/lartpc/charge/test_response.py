"""Field responses: strips against a Fourier integral, GARFIELD files against their own numbers."""

from __future__ import annotations

import bz2
import json

import numpy as np
import pytest

from hepfm.errors import DataError
from hepfm_lartpc.charge.config import WireElectronics, WirePlane, WireReadout
from hepfm_lartpc.charge.electronics import pulse_adc
from hepfm_lartpc.charge.response import garfield, parametric, tick_kernel

VELOCITY = 1.6


def planes(pitch_mm=4.71):
    rest = {"pitch_mm": pitch_mm, "wires": 64}
    return [
        WirePlane(name="U", kind="induction", angle_deg=35.7, height_mm=9.42, **rest),
        WirePlane(name="V", kind="induction", angle_deg=-35.7, height_mm=4.71, **rest),
        WirePlane(name="W", kind="collection", angle_deg=0, **rest),
    ]


READOUT = WireReadout(planes=planes(), ticks=100)


def test_a_collection_wire_takes_the_whole_charge_and_its_neighbours_none():
    induced = parametric(READOUT, VELOCITY)[2].induced
    assert induced[:, 0] == pytest.approx(0.0, abs=1e-6)
    np.testing.assert_allclose(induced[:, -1], [0, 0, 1, 0, 0], atol=1e-6)


@pytest.mark.parametrize("plane", [0, 1])
def test_an_induction_wire_keeps_nothing_and_its_current_is_first_positive_then_negative(plane):
    response = parametric(READOUT, VELOCITY)[plane]
    assert np.abs(response.induced[:, [0, -1]]).max() < 1e-6
    current = np.diff(response.induced[2])
    passes_us = -READOUT.planes[plane].height_mm / VELOCITY
    early = response.time_us[1:] < passes_us
    assert (current[early] >= 0).all()
    assert (current[~early][1:] <= 0).all()
    assert response.induced[2].max() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("neighbour", [0, 1, 2])
@pytest.mark.parametrize("z_mm", [0.7, 2.0, 4.0])
def test_the_strips_potential_solves_laplaces_equation(neighbour, z_mm):
    # phi = 2/pi int sin(k p/2)/k cos(k x) sinh(k(g - z))/sinh(k g) dk, then the mean over the pitch.
    pitch = gap = 4.71
    k = (np.arange(40000) + 0.5) * 2e-3
    depth = np.where(
        k * gap < 300, np.sinh(np.minimum(k * (gap - z_mm), 300)) / np.sinh(np.minimum(k * gap, 300)), 0
    )
    x = pitch * (neighbour + (np.arange(50) + 0.5) / 50 - 0.5)
    spectrum = np.sin(k * pitch / 2) / k * depth
    expected = (2 / np.pi * 2e-3 * np.cos(np.outer(x, k)) @ spectrum).mean()
    response = parametric(READOUT, VELOCITY)[2]
    found = np.interp(-z_mm / VELOCITY, response.time_us, response.induced[2 + neighbour])
    assert found == pytest.approx(expected, abs=2e-3)


def test_the_samples_of_an_electron_hold_its_whole_charge():
    kernel, first = tick_kernel(parametric(READOUT, VELOCITY)[2], WireElectronics(), 500.0)
    area = pulse_adc(0.01 * np.arange(4000), WireElectronics()).sum() * 0.01 / 0.5
    np.testing.assert_allclose(kernel.sum(1), [0, 0, area, 0, 0], atol=2e-5 * area)
    peak_us = 0.5 * (first + kernel[2].argmax())
    assert 0.5 <= peak_us <= 2.5  # the shaper peaks 2.3 us after the current, which comes over the last 3 us


def test_a_sharp_current_leaves_the_pulse_spread_over_a_tick():
    from hepfm_lartpc.charge.response import FieldResponse

    step = FieldResponse(induced=np.array([[0.0, 1.0]]), time_us=np.array([-1e-3, 1e-3]))
    kernel, first = tick_kernel(step, WireElectronics(), 100.0)
    time_us = 0.1 * (first + np.arange(kernel.shape[1]))
    spread = (np.arange(100) + 0.5) / 100 * 0.1 - 0.05
    expected = pulse_adc(time_us[:, None] + spread, WireElectronics()).mean(1)
    np.testing.assert_allclose(kernel[0], expected, atol=0.02 * expected.max())


@pytest.mark.parametrize("name", ["dune-garfield-1d565.json.bz2"])
def test_a_garfield_file_collects_an_electron_once_and_when_it_arrives(real_data, name):
    responses = garfield(real_data / "field_responses" / name, planes())
    middle = len(responses[2].induced) // 2
    assert middle == 10
    assert sum(r.induced[middle, -1] for r in responses) == pytest.approx(1.0)
    assert responses[2].induced[middle, -1] == pytest.approx(1.0, abs=0.02)
    for response in responses[:2]:
        assert np.abs(response.induced[:, -1]).max() < 0.02
    current = np.diff(responses[2].induced[middle])
    assert abs(responses[2].time_us[current.argmax()]) < 3.0
    for response in responses:
        np.testing.assert_allclose(response.induced, response.induced[::-1], atol=1e-12)


@pytest.mark.parametrize(
    ("name", "pitch_mm", "kinds"),
    [
        ("dune-garfield-1d565", 4.71, ["induction", "induction", "collection"]),
        ("np04hd-garfield-6paths", 4.71, ["induction", "collection", "collection"]),  # V lies open in APA 1
        ("pcbro-response-avg", 5.0, ["induction", "induction", "collection"]),
    ],
)
def test_charge_comes_when_its_electrons_do_and_planes_are_what_the_file_makes_of_them(
    real_data, name, pitch_mm, kinds
):
    """Whatever the file says of its origin and speed: the pulse lags the label as the shaper's alone does."""
    path = real_data / "field_responses" / f"{name}.json.bz2"
    responses = garfield(path, planes(pitch_mm))
    assert [response.kind for response in responses] == kinds
    most = max(responses, key=lambda response: response.collected)
    wire = len(most.induced) // 2
    lags = []
    for response, row in ((most, wire), (parametric(READOUT, VELOCITY)[2], 2)):
        kernel, first = tick_kernel(response, WireElectronics(), 500.0)
        lags.append(first + int(kernel[row].argmax()))
    assert abs(lags[0] - lags[1]) <= 2


def test_the_parametric_response_is_like_garfields(real_data):
    theirs = garfield(real_data / "field_responses" / "dune-garfield-1d565.json.bz2", planes())
    for mine, their in zip(parametric(READOUT, 1.565), theirs, strict=True):
        a, first_a = tick_kernel(mine, WireElectronics(), 500.0)
        b, first_b = tick_kernel(their, WireElectronics(), 500.0)
        # Heights of collection within 10 %; strips couple about twice as strongly as wires in induction.
        assert 0.8 < a[2].max() / b[10].max() < 3.5
        assert abs((first_a + a[2].argmax()) - (first_b + b[10].argmax())) <= 4


def write(path, current, positions, pitch=4.71, planes_=3):
    content = {
        "FieldResponse": {
            "origin": 16.0, "period": 100.0, "tstart": 0.0, "speed": 0.0016, "axis": 3,
            "planes": [
                {
                    "PlaneResponse": {
                        "planeid": k, "location": 0.0, "pitch": pitch,
                        "paths": [
                            {
                                "PathResponse": {
                                    "pitchpos": x * pitch, "wirepos": 0.0,
                                    "current": {"array": {"shape": [4], "elements": [float(c) for c in current(k, x)]}},
                                }
                            }
                            for x in positions
                        ],
                    }
                }
                for k in range(planes_)
            ],
        }
    }  # fmt: skip
    path.write_bytes(bz2.compress(json.dumps(content).encode()))
    return path


def test_a_region_is_the_mean_over_the_pitch_and_its_mirror_image(tmp_path):
    # A file has half of each region, from -1/2 to 0; the current is linear there, its mean that of the ends.
    positions = [-1.5, -1.25, -1.0, -0.5, -0.25, 0.0, 0.5, 0.75, 1.0]

    def current(plane, x):
        return np.array([0, 1, -1, 0]) if plane < 2 else np.array([0, -1.0, -2.0 - x, 0]) * (abs(x) <= 0.5)

    response = garfield(write(tmp_path / "r.json.bz2", current, positions), planes())
    # 0.5 belongs to the next region in the file and to this one in the mirror: (2 cases) x = 0.5 and -0.5 average.
    ends = [0.5 * ((-2.0 + 0.5) + (-2.0 - 0.5)), -2.0 + 0.25, -2.0]
    mean = 0.5 * (0.5 * (ends[0] + ends[1]) + 0.5 * (ends[1] + ends[2]))
    wire = response[2].induced[1]
    assert wire[-1] == pytest.approx(1.0)
    assert wire[2] == pytest.approx(1.0 / (1.0 - mean))
    assert response[2].time_us[0] == pytest.approx(-0.25)  # 2.5 of 0.1 us before the middle of the peak's


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p.write_text("no json"), "cannot be read"),
        (lambda p: p.unlink(), "cannot be read"),
        (lambda p: write(p, lambda k, x: [0, 0, -1, 0], [-0.5, 0.0], pitch=3.0), "pitch of 3.0 mm"),
        (lambda p: write(p, lambda k, x: [0, 0, -1, 0], [-0.5, 0.0], planes_=2), "of 2 planes"),
        (lambda p: write(p, lambda k, x: [0, 0, 0, 0], [-0.5, 0.0]), "no electron"),
    ],
)
def test_a_file_that_cannot_serve_is_refused_with_its_name(tmp_path, spoil, message):
    path = tmp_path / "r.json.bz2"
    path.touch()
    spoil(path)
    with pytest.raises(DataError, match=message) as error:
        garfield(path, planes())
    assert str(path) in str(error.value)
