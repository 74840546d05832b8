"""What events begin with, against what the reference data's README says of the Geant4 sample."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from hepfm.errors import RecipeError
from hepfm_lartpc import species as sp
from hepfm_lartpc.vertices import Composer, CompositionConfig, preset

LOW, HIGH = (-1152.0, -1152.0, -1152.0), (1152.0, 1152.0, 1152.0)
ENERGY = {
    sp.ELECTRON: (50, 700), sp.PHOTON: (50, 700), sp.MUON_MINUS: (50, 900), sp.MUON_PLUS: (50, 900),
    sp.PION_MINUS: (50, 300), sp.PION_PLUS: (50, 300), sp.PROTON: (50, 400),
}  # fmt: skip
EVENTS = 3000


@pytest.fixture(scope="module")
def sample():
    composer = Composer(preset("geant4-sample"), LOW, HIGH)
    return [composer(3, i) for i in range(EVENTS)]


def columns(events, name):
    return np.concatenate([getattr(event, name) for event in events])


def is_bomb(events):
    return columns(events, "position_mm")[:, 1] < HIGH[1] - 1e-3


def test_an_event_has_one_or_two_interactions_of_one_to_four_particles(sample):
    interactions, particles = [], []
    for event in sample:
        bombs = event.interaction[event.position_mm[:, 1] < HIGH[1] - 1e-3]
        numbers, counts = np.unique(bombs, return_counts=True)
        interactions.append(len(numbers))
        particles += counts.tolist()
    assert stats.chisquare(np.bincount(interactions, minlength=3)[1:]).pvalue > 1e-3
    assert stats.chisquare(np.bincount(particles, minlength=5)[1:]).pvalue > 1e-3


def test_species_are_drawn_evenly_with_even_energies_and_directions(sample):
    bomb = is_bomb(sample)
    kind, kinetic = columns(sample, "species")[bomb], columns(sample, "kinetic_mev")[bomb]
    direction, position = columns(sample, "direction")[bomb], columns(sample, "position_mm")[bomb]
    assert set(kind) == set(ENERGY)
    assert stats.chisquare([(kind == one).sum() for one in ENERGY]).pvalue > 1e-3
    for one, (low, high) in ENERGY.items():
        assert stats.kstest(kinetic[kind == one], stats.uniform(low, high - low).cdf).pvalue > 1e-3
    for axis in range(3):
        assert stats.kstest(direction[:, axis], stats.uniform(-1, 2).cdf).pvalue > 1e-3
        # Particles of one interaction share its point.
        points = np.unique(position[:, axis])
        assert stats.kstest(points, stats.uniform(-864, 1728).cdf).pvalue > 1e-3
    np.testing.assert_allclose(np.linalg.norm(direction, axis=1), 1, atol=1e-12)


def test_cosmic_muons_come_through_the_top_as_the_readme_says(sample):
    cosmic = ~is_bomb(sample)
    counts = [int((event.position_mm[:, 1] >= HIGH[1] - 1e-3).sum()) for event in sample]
    assert np.mean(counts) == pytest.approx(0.7, abs=4 * np.sqrt(0.7 / EVENTS))
    assert np.var(counts) == pytest.approx(0.7, rel=0.1)
    direction, kinetic = columns(sample, "direction")[cosmic], columns(sample, "kinetic_mev")[cosmic]
    assert (direction[:, 1] < 0).all()
    assert stats.kstest(direction[:, 1] ** 2, stats.uniform(0.05, 0.95).cdf).pvalue > 1e-3
    azimuth = np.arctan2(direction[:, 0], direction[:, 2])
    assert stats.kstest(azimuth, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3
    assert stats.kstest(kinetic, stats.uniform(300, 4700).cdf).pvalue > 1e-3
    assert set(columns(sample, "species")[cosmic]) == {sp.MUON_MINUS, sp.MUON_PLUS}


def test_cosmic_muons_come_evenly_within_the_window_in_the_share_of_charges_asked_for():
    source = {"kind": "cosmics", "mean": 4.0, "window_ns": (-2000.0, 3000.0), "plus_share": 0.56}
    composer = Composer(CompositionConfig(sources=[source]), LOW, HIGH)
    events = [composer(5, i) for i in range(1000)]
    times = columns(events, "time_ns")
    assert stats.kstest(times, stats.uniform(-2000, 5000).cdf).pvalue > 1e-3
    # Each has a time of its own, whichever event and energy it has.
    assert len(set(times.tolist())) == len(times)
    energies = columns(events, "kinetic_mev")
    assert abs(np.corrcoef(times, energies)[0, 1]) < 4 / np.sqrt(len(times))
    plus = (columns(events, "species") == sp.MUON_PLUS).sum()
    assert stats.binomtest(int(plus), len(times), 0.56).pvalue > 1e-3
    # The top face is lit evenly.
    for axis in (0, 2):
        place = columns(events, "position_mm")[:, axis]
        assert stats.kstest(place, stats.uniform(LOW[axis], HIGH[axis] - LOW[axis]).cdf).pvalue > 1e-3
    assert {len(set(event.interaction.tolist())) - len(event.interaction) for event in events} == {0}


@pytest.mark.parametrize("window", [(100.0, 0.0), (0.0, np.inf)])
def test_a_window_that_is_none_is_refused(window):
    with pytest.raises(ValidationError, match="window_ns"):
        CompositionConfig(sources=[{"kind": "cosmics", "window_ns": window}])


def test_an_event_is_the_same_alone_and_among_others(sample):
    alone = Composer(preset("geant4-sample"), LOW, HIGH)(3, 17)
    for name in ("species", "kinetic_mev", "direction", "position_mm", "time_ns", "interaction"):
        np.testing.assert_array_equal(getattr(alone, name), getattr(sample[17], name))


def test_the_sample_has_neither_nuclei_nor_captures():
    composer = Composer(preset("geant4-sample"), LOW, HIGH)
    assert not composer.nuclear
    assert not composer.muon_capture
    assert Composer(preset("bombs"), LOW, HIGH).nuclear


def test_given_particles_are_taken_as_they_are_and_sources_add_up():
    given = {
        "name": 2212,
        "kinetic_mev": 55.0,
        "direction": (0, 3, 4),
        "position_mm": (1, 2, 3),
        "time_ns": 7.0,
    }
    sources = [{"kind": "particles", "particles": [given]}, {"kind": "particles", "particles": [given]}]
    event = Composer(CompositionConfig(sources=sources), LOW, HIGH)(1, 0)
    assert event.species.tolist() == [sp.PROTON] * 2
    assert event.kinetic_mev.tolist() == [55.0] * 2
    np.testing.assert_allclose(event.direction, [[0, 0.6, 0.8]] * 2)
    assert event.position_mm.tolist() == [[1, 2, 3]] * 2
    assert event.time_ns.tolist() == [7.0] * 2
    assert event.interaction.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"kind": "bombs", "weights": {"protn": 1.0}}, "did you mean 'proton'"),
        ({"kind": "bombs", "weights": {"proton": 0.0}}, "weight above 0"),
        ({"kind": "bombs", "weights": {"K+": 1.0}}, "lacks the energies of K"),
        ({"kind": "bombs", "interactions": (2, 1)}, "begins above its end"),
        ({"kind": "bombs", "kinetic_mev": {"proton": (50.0, 1e9)}}, "outside the energy tables"),
        ({"kind": "cosmics", "mean": -1}, "greater than or equal to 0"),
        ({"kind": "particles", "particles": []}, "at least 1 item"),
        ({"kind": "particles", "particles": [{"name": 12, "kinetic_mev": 1.0}]}, "PDG number 12"),
        (
            {"kind": "particles", "particles": [{"name": "p", "kinetic_mev": 1.0, "direction": (0, 0, 0)}]},
            "needs a length",
        ),
        ({"kind": "swarm"}, "kind"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(source, message):
    with pytest.raises(ValidationError, match=message):
        CompositionConfig(sources=[source])


def test_a_particle_outside_the_argon_is_refused():
    particles = [{"name": "mu-", "kinetic_mev": 1.0, "position_mm": (0, 5000, 0)}]
    config = CompositionConfig(sources=[{"kind": "particles", "particles": particles}])
    with pytest.raises(RecipeError, match="lies outside the argon"):
        Composer(config, LOW, HIGH)
