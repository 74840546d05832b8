"""From deposits to waveforms."""

from __future__ import annotations

import numpy as np
import pytest

from hepfm_lartpc import argon
from hepfm_lartpc.light import LightSimulation
from hepfm_lartpc.light.config import LightReadout
from hepfm_lartpc.species import ALPHA, MUON_MINUS, NAMES

QUIET = {"pe_width": 0.0, "crosstalk": 0.0, "dark_rate_hz": 0.0}


def uniform_visibility(points_mm):
    """Two detectors that see 1 % and 0.2 % of the light from everywhere, after 10 and 20 ns."""
    n = len(points_mm)
    return np.tile([0.01, 0.002], (n, 1)), np.tile([10.0, 20.0], (n, 1))


@pytest.fixture(scope="module")
def make(box):
    def build(visibility=uniform_visibility, **settings):
        panel = {"normal": (1, 0, 0), "width_mm": 100, "height_mm": 100, "efficiency": 0.5}
        content = {
            "detectors": [panel | {"position_mm": (-500, 0, 0)}, panel | {"position_mm": (-500, 200, 0)}],
            "sipm": QUIET,
            "digitizer": {"noise_rms_adc": 0.0},
        }
        return LightSimulation(LightReadout.model_validate(content | settings), *map(tuple, box), visibility)

    return build


def test_photoelectrons_are_photons_times_visibility_times_efficiency(make, flash):
    simulation = make()
    counts = np.array([
        simulation(*flash(photons=1e5), seed=1, event=event).photoelectrons.sum(1) for event in range(400)
    ])  # fmt: skip
    # What comes within the 900 samples after the trigger: all but exp(-14.4 us / 1.5 us).
    mean = 1e5 * 0.5 * np.array([0.01, 0.002])
    assert counts.mean(0) == pytest.approx(mean, rel=0.01)
    assert counts.var(0) == pytest.approx(mean, rel=0.2)


def test_light_and_charge_share_the_energy(make, flash):
    """With N ions and 0.21 N excitons, what recombines shines: the sum of both is fixed."""
    ions = 20.0e6 / argon.W_ION_EV
    sums = []
    for electrons in np.array([0.3, 0.5, 0.7, 0.9]) * ions:
        photons = ions * (1 + argon.EXCITON_RATIO) - electrons
        light = make()(*flash(photons=photons), seed=1, event=0)
        seen = light.photoelectrons[0].sum() / (0.5 * 0.01)
        sums.append(seen + electrons)
        assert seen == pytest.approx(photons, abs=4 * np.sqrt(photons / 0.005) + 1e-3 * photons)
    assert np.array(sums) == pytest.approx(ions * 1.21, rel=0.03)


def test_light_arrives_at_its_sample(make, flash):
    light = make()(*flash(photons=1e6, time_ns=[800.0]), seed=1, event=0)
    # Trigger at sample 100; 800 ns and a delay of 10 ns later is within sample 150, the first with light.
    assert light.t0_ns.tolist() == [0.0]
    first = [np.flatnonzero(row)[0] for row in light.photoelectrons]
    assert first == [150, 151]
    quiet = light.adc[0, :151]
    assert (quiet == 1500).all()
    assert light.adc[0, 152] > 1600


def test_the_first_light_tells_the_particle(make, flash):
    simulation = make()
    prompt = {}
    for species in range(len(NAMES)):
        light = simulation(*flash(photons=4e7, species=species), seed=1, event=species)
        row = light.photoelectrons[0]
        prompt[species] = row[100:106].sum() / row.sum()
    fraction = simulation.readout.scintillation.singlet_fraction.by_species()
    slow = 1 - np.exp(-86 / 1500)  # of the triplet's light, in the 86 ns that six samples leave
    for species, part in prompt.items():
        assert part == pytest.approx(fraction[species] + (1 - fraction[species]) * slow, abs=0.006)
    assert prompt[ALPHA] > prompt[MUON_MINUS] + 0.25


def test_a_waveform_is_the_sum_of_pulses_of_its_photoelectrons(make, flash):
    light = make()(*flash(photons=1e5), seed=1, event=0)
    # With no noise the integral over the baseline is that of the pulses, but for what the window cuts.
    area = make().readout.sipm.pulse.sampled(16.0, 0).sum()
    above = (light.adc.astype(float) - 1500).sum(1)
    assert above == pytest.approx(light.photoelectrons.sum(1) * area, rel=0.03)


def test_the_signal_is_the_convolution_of_photoelectrons_and_their_pulse(make, flash):
    """The light of a sample comes in its middle on average, so the pulse is that of its two edges."""
    simulation = make(digitizer={"noise_rms_adc": 5.0, "steps": 1})
    light = simulation(*flash(photons=1e5), seed=1, event=0)
    pulse = simulation.readout.sipm.pulse.sampled(16.0, 0)
    middle = 0.5 * (np.append(pulse, 0.0) + np.append(0.0, pulse))
    for signal, photoelectrons in zip(light.signal_adc, light.photoelectrons, strict=True):
        expected = np.convolve(photoelectrons.astype(np.float64), middle)[: len(signal)]
        np.testing.assert_allclose(signal, expected, atol=1e-5 * expected.max())


def test_single_photoelectrons_have_their_charge_and_crosstalk_raises_it(make, flash):
    """Dim flashes: the charge spectrum has peaks of width pe_width, and a mean of 1 / (1 - crosstalk)."""
    sensor = QUIET | {"pe_width": 0.08, "crosstalk": 0.15}
    simulation = make(sipm=sensor, digitizer={"noise_rms_adc": 0.3, "pedestal_adc": 300})
    area = simulation.readout.sipm.pulse.sampled(8.0, 0).sum() / 2
    charges = []
    for event in range(2500):
        light = simulation(*flash(photons=60.0), seed=2, event=event)
        count = light.photoelectrons.sum(1)
        late = light.photoelectrons[:, 700:].sum(1) > 0
        charge = (light.adc.astype(float) - 300).sum(1) / area
        charges.extend(charge[(count == 1) & ~late])
    charges = np.array(charges)
    assert len(charges) > 400
    single = charges[charges < 1.5]
    noise = 0.4 * np.sqrt(1000) / area
    assert single.mean() == pytest.approx(1.0, abs=0.03)
    assert single.std() == pytest.approx(np.hypot(0.08, noise), rel=0.2)
    assert charges.mean() == pytest.approx(1 / (1 - 0.15), abs=4 * charges.std() / np.sqrt(len(charges)))


def test_an_event_depends_on_seed_and_number_alone(make, flash):
    settings = {"sipm": {"dark_rate_hz": 1e5, "crosstalk": 0.2, "afterpulsing": {"probability": 0.1}}}
    settings["digitizer"] = {"noise_rms_adc": 2.0}
    one, other = make(**settings), make(**settings)
    first = one(*flash(), seed=7, event=3)
    for event in (1, 9):
        other(*flash(photons=3e5), seed=7, event=event)
    again = other(*flash(), seed=7, event=3)
    assert np.array_equal(first.adc, again.adc)
    assert np.array_equal(first.photoelectrons, again.photoelectrons)
    assert not np.array_equal(first.adc, one(*flash(), seed=7, event=4).adc)
    assert not np.array_equal(first.adc, one(*flash(), seed=8, event=3).adc)


def test_a_self_trigger_takes_a_waveform_for_each_flash(make, flash):
    simulation = make(
        trigger={"kind": "self", "threshold_pe": 50},
        sipm=QUIET,
        digitizer={"samples": 500, "noise_rms_adc": 0},
    )
    times = np.array([-5e5, 0.0, 30_000.0, 1e6])
    deposits = flash(np.zeros((4, 3)), 1e6, times)
    light = simulation(*deposits, seed=1, event=0)
    assert light.t0_ns == pytest.approx(times, abs=16.0 + 20.0)
    assert light.adc.shape == light.photoelectrons.shape == (8, 500)
    assert light.detector.tolist() == [0, 1] * 4
    assert light.trigger.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert light.photoelectrons[::2].sum(1) == pytest.approx(
        5000 * (1 - 0.75 * np.exp(-6400 / 1500)), rel=0.06
    )


def test_an_event_without_light_gives_a_baseline_or_no_waveform(make, flash):
    nothing = flash(np.zeros((0, 3)), np.zeros(0), np.zeros(0))
    light = make()(*nothing, seed=1, event=0)
    assert (light.adc == 1500).all()
    assert light.adc.shape == (2, 1000)
    silent = make(trigger={"kind": "self", "threshold_pe": 5})(*nothing, seed=1, event=0)
    assert silent.adc.shape == (0, 1000)
    assert len(silent.t0_ns) == len(silent.detector) == 0


def test_light_from_before_the_window_is_still_seen_in_it(make, flash):
    """A flash 3 us before the window: the triplet's tail alone, exp(-t / 1.5 us) of it."""
    begin = -1600.0
    light = make()(*flash(photons=1e8, time_ns=[begin - 3000.0]), seed=1, event=0)
    fraction = 0.23
    expected = 1e8 * 0.005 * (1 - fraction) * np.exp(-(3000 - 10) / 1500)
    assert light.photoelectrons[0].sum() == pytest.approx(expected, rel=0.01)


def test_without_a_visibility_the_detectors_own_geometry_counts(make, flash):
    simulation = make(visibility=None)
    near = simulation(*flash((-450.0, 0, 0), 1e5), seed=1, event=0).photoelectrons.sum(1)
    assert near[0] > 10 * near[1] > 0
    assert simulation.position_mm.tolist() == [[-500, 0, 0], [-500, 200, 0]]
