"""The pulse of a photoelectron: exponentials, and measured files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import ValidationError

from hepfm.errors import DataError
from hepfm_lartpc.light.pulse import Pulse


def test_exponentials_have_their_height_and_times():
    step = 0.1
    pulse = Pulse(rise_ns=20.0, fall_ns=250.0, adc_per_pe=12.0).sampled(step, 0)
    assert pulse.max() == pytest.approx(12.0, rel=1e-5)
    assert pulse[0] == 0.0
    assert pulse[-1] < 12.0 * 1.1e-4
    # Late, the slope of the logarithm is that of the fall; at the start, the height grows as both times say.
    assert np.log(pulse[8000] / pulse[8001]) / step == pytest.approx(1 / 250.0, rel=1e-3)
    assert pulse.argmax() * step == pytest.approx(np.log(250 / 20) * 20 * 250 / 230, abs=step)
    height = 12.0 / (np.exp(-pulse.argmax() * step / 250) - np.exp(-pulse.argmax() * step / 20))
    assert pulse.sum() * step == pytest.approx(height * 230, rel=2e-3)


def test_the_impulse_response_of_larndsim_is_read(real_data):
    path = real_data / "larndsim" / "sipm_impulse.npy"
    measured = np.load(path)
    pulse = Pulse(file=path, file_sample_ns=10.0, adc_per_pe=7.0)
    assert pulse.sampled(10.0, 3) == pytest.approx(measured * 7.0 / measured.max())
    coarse = pulse.sampled(20.0, 0)
    assert coarse == pytest.approx(measured[::2] * 7.0 / measured.max())
    as_it_is = Pulse(file=path, file_sample_ns=10.0, adc_per_pe=None)
    assert as_it_is.sampled(10.0, 0).sum() == pytest.approx(1.0, rel=1e-6)


def test_templates_of_protodune_are_read_by_channel_or_in_turn(real_data):
    path = real_data / "protodune_frames" / "pdhd-spe-templates-v1.json"
    content = json.loads(path.read_text())
    values = [template["values"] for template in content["templates"]]
    pulse = Pulse(file=path, adc_per_pe=None)
    assert np.array_equal(pulse.sampled(16.0, 1), values[1])
    assert np.array_equal(pulse.sampled(16.0, len(values) + 2), values[2])
    row = content["channels"].index(85)
    one = Pulse(file=path, adc_per_pe=None, channel=85)
    assert np.array_equal(one.sampled(16.0, 1), values[content["template_index"][row]])
    assert Pulse(file=path, adc_per_pe=5.0).sampled(16.0, 0).max() == pytest.approx(5.0)
    with pytest.raises(DataError, match="pulse of a photoelectron") as caught:
        Pulse(file=path, channel=3).sampled(16.0, 0)
    assert "channel 3" in caught.value.where


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("none.npy", None),
        ("text.npy", b"no array"),
        ("text.json", b"{"),
        ("other.json", b'{"pulses": []}'),
        ("list.json", b"[1, 2]"),
        ("binary.json", b"\xff\xfe\x00"),
    ],
)
def test_a_file_that_is_no_pulse_is_refused(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        Pulse(file=tmp_path / name).sampled(16.0, 0)


@pytest.mark.parametrize("array", [np.ones((2, 3)), np.zeros(5), np.array([1.0, np.nan, 2.0]), np.ones(1)])
def test_an_array_that_is_no_pulse_is_refused(tmp_path, array):
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(DataError, match="with a peak"):
        Pulse(file=tmp_path / "bad.npy").sampled(16.0, 0)


@pytest.mark.parametrize("bad", [{"rise_ns": 300, "fall_ns": 30}, {"adc_per_pe": None}, {"adc_per_pe": 0}])
def test_a_pulse_that_cannot_be_is_refused(bad):
    with pytest.raises(ValidationError):
        Pulse(**bad)
