"""What holds for every event: energy is conserved, and nothing depends on how it was computed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hepfm.errors import DataError
from hepfm_lartpc import species as sp
from hepfm_lartpc.event import Primaries
from hepfm_lartpc.streams import stream
from hepfm_lartpc.transport import Transport, TransportConfig
from hepfm_lartpc.transport.grid import HIGHEST_MEV

SMALL = Transport((-300.0, -200.0, -100.0), (300.0, 200.0, 100.0))
FOLLOWED = [i for i in range(sp.FOLLOWED) if i != sp.NEUTRINO]


def mixed(count, seed, *, within_mm=100.0, highest_mev=600.0):
    """Primaries of all species at random."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=(count, 3))
    return Primaries(
        species=rng.choice(FOLLOWED, count).astype(np.int32),
        kinetic_mev=rng.uniform(1.0, highest_mev, count),
        direction=direction / np.linalg.norm(direction, axis=1, keepdims=True),
        position_mm=rng.uniform(-within_mm, within_mm, (count, 3)),
        time_ns=rng.uniform(0.0, 10.0, count),
        interaction=np.arange(count, dtype=np.int32),
    )


def arrays(event):
    return [
        getattr(part, field.name)
        for part in (event.tracks, event.deposits)
        for field in dataclasses.fields(part)
    ]


@settings(max_examples=60)
@given(
    species=st.sampled_from(FOLLOWED),
    log_kinetic=st.floats(-3.0, 3.5),
    number=st.integers(0, 2**32),
)
def test_energy_is_conserved_for_any_particle(species, log_kinetic, number):
    primary = mixed(1, number)
    primary.species[0], primary.kinetic_mev[0] = species, 10.0**log_kinetic
    event = SMALL(primary, stream(number, "transport", 0))
    b = event.balance

    spent = b.deposited + b.escaped + b.neutrinos + b.bound
    assert spent == pytest.approx(b.brought, rel=1e-9, abs=1e-9)
    assert b.deposited == pytest.approx(event.tracks.deposited_mev.sum(), rel=1e-9, abs=1e-12)
    assert b.escaped >= 0.0
    assert b.neutrinos >= 0.0


def test_what_is_brought_counts_the_mass_of_unstable_particles(make_beam):
    muon = SMALL(make_beam(sp.MUON_MINUS, 50.0), stream(1, "transport", 0)).balance
    proton = SMALL(make_beam(sp.PROTON, 50.0), stream(1, "transport", 0)).balance

    assert (muon.brought, proton.brought) == (pytest.approx(50.0 + sp.MUON_MASS), 50.0)


def test_an_event_is_the_same_whenever_and_with_whatever_room_it_is_made():
    primaries = mixed(40, 5)
    first = SMALL(primaries, stream(3, "transport", 7))
    tight = Transport((-300.0, -200.0, -100.0), (300.0, 200.0, 100.0))
    tight._room = (41, 10)
    after = stream(3, "transport", 7)
    SMALL(mixed(3, 6), stream(4, "transport", 0))

    for other in (SMALL(primaries, stream(3, "transport", 7)), tight(primaries, after)):
        assert other.balance == first.balance
        for a, b in zip(arrays(first), arrays(other), strict=True):
            np.testing.assert_array_equal(a, b)
    unlike = SMALL(primaries, stream(3, "transport", 8))
    assert len(unlike.deposits) != len(first.deposits)
    assert after[2] > 0  # the stream has moved on


def test_tracks_form_trees_and_deposits_lie_on_them():
    primaries = mixed(60, 1)
    event = SMALL(primaries, stream(1, "transport", 1))
    tracks, deposits = event.tracks, event.deposits
    rows = np.arange(len(tracks))

    assert (tracks.parent < rows).all()
    assert (tracks.parent[:60] == -1).all()
    assert (tracks.parent[60:] >= 0).all()
    np.testing.assert_array_equal(tracks.species[:60], primaries.species)
    np.testing.assert_array_equal(tracks.kinetic_mev[:60], primaries.kinetic_mev)
    np.testing.assert_array_equal(tracks.interaction[60:], tracks.interaction[tracks.parent[60:]])
    assert (tracks.end_ns >= tracks.start_ns).all()
    assert (tracks.start_ns[60:] >= tracks.start_ns[tracks.parent[60:]]).all()
    np.testing.assert_allclose(np.linalg.norm(tracks.direction, axis=1), 1.0, atol=1e-6)
    own = np.bincount(deposits.track, deposits.energy_mev, len(tracks))
    np.testing.assert_allclose(own, tracks.deposited_mev, atol=1e-9)
    chord = np.linalg.norm(deposits.end_mm - deposits.start_mm, axis=1)
    assert (chord <= deposits.length_mm * (1 + 1e-9) + 1e-12).all()
    assert (deposits.length_mm > 0.0).all()
    assert deposits.length_mm.max() <= SMALL.config.max_step_mm
    assert (deposits.energy_mev >= 0.0).all()
    low, high = np.array([-300.0, -200.0, -100.0]), np.array([300.0, 200.0, 100.0])
    for place in (deposits.start_mm, deposits.end_mm, tracks.start_mm, tracks.end_mm):
        assert (place >= low - 1e-9).all()
        assert (place <= high + 1e-9).all()
    light = (tracks.end_ns - tracks.start_ns) * 299.792458
    assert (light >= np.linalg.norm(tracks.end_mm - tracks.start_mm, axis=1) * (1 - 1e-9)).all()


def test_what_leaves_the_box_has_escaped(make_beam, make_transport):
    thin = make_transport((-50.0, -50.0, 0.0), (50.0, 50.0, 10.0), nuclear=False)
    event = thin(make_beam(sp.MUON_PLUS, 1000.0), stream(2, "transport", 0))
    muon = event.tracks

    assert muon.end_mm[0, 2] == pytest.approx(10.0)
    assert event.balance.escaped == pytest.approx(1000.0 + sp.MUON_MASS - event.balance.deposited)
    assert 0.0 < event.balance.deposited < 30.0
    beta = np.sqrt(1.0 - (sp.MUON_MASS / (1000.0 + sp.MUON_MASS)) ** 2)
    assert muon.end_ns[0] == pytest.approx(10.0 / (299.792458 * beta), rel=1e-3)


@pytest.mark.parametrize("species", FOLLOWED)
def test_the_highest_energy_can_be_transported(make_beam, make_transport, species):
    thin = make_transport((-50.0, -50.0, 0.0), (50.0, 50.0, 10.0))
    b = thin(make_beam(species, HIGHEST_MEV, 20), stream(1, "transport", 0)).balance

    assert b.deposited + b.escaped + b.neutrinos + b.bound == pytest.approx(b.brought, rel=1e-9)


def test_stopped_muons_decay_after_their_life_or_are_captured(make_beam, make_transport):
    count = 2000
    free = make_transport(nuclear=False, muon_capture=False)
    argon = make_transport(nuclear=True, muon_capture=True)
    plus = free(make_beam(sp.MUON_PLUS, 20.0, count), stream(1, "transport", 0)).tracks
    minus = argon(make_beam(sp.MUON_MINUS, 20.0, count), stream(1, "transport", 0)).tracks

    decays = (plus.process == sp.DECAY) & (plus.parent < count)
    assert (plus.species[decays] == sp.POSITRON).all()
    assert plus.start_ns[decays].mean() == pytest.approx(2196.98, rel=4.0 / np.sqrt(count))
    assert plus.kinetic_mev[decays].max() < 52.83
    caught = len(np.unique(minus.parent[minus.process == sp.CAPTURE]))
    survived = ((minus.process == sp.DECAY) & (minus.species == sp.ELECTRON) & (minus.parent < count)).sum()
    assert survived / count == pytest.approx(0.25, abs=0.05)
    assert caught / count > 0.6


def test_nuclei_end_tracks_of_hadrons_with_their_mean_free_path(make_beam, make_transport):
    count = 1500
    on = make_transport(nuclear=True)(make_beam(sp.PION_PLUS, 300.0, count), stream(1, "transport", 0)).tracks
    off = make_transport(nuclear=False)(
        make_beam(sp.PION_PLUS, 300.0, count), stream(1, "transport", 0)
    ).tracks

    met = np.unique(on.parent[(on.process == sp.NUCLEAR) & (on.parent < count)])
    assert not (off.process == sp.NUCLEAR).any()
    # 0.64 b at 300 MeV, up to 0.9 b near the Delta resonance: 540 to 750 mm, over a range of 1.2 m
    assert 0.75 < len(met) / count < 0.97
    first_100_mm = (on.length_mm[met] < 100.0).mean() * len(met) / count
    assert first_100_mm == pytest.approx(1.0 - np.exp(-100.0 / 735.0), rel=0.2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"species": np.array([99], np.int32)}, "unknown species"),
        ({"kinetic_mev": np.array([1e6])}, "kinetic energy outside"),
        ({"kinetic_mev": np.array([np.nan])}, "kinetic energy outside"),
        ({"direction": np.array([[1.0, 1.0, 0.0]])}, "no unit vector"),
        ({"position_mm": np.array([[0.0, 0.0, 101.0]])}, "starts outside"),
    ],
)
def test_primaries_that_cannot_be_are_refused(make_beam, change, said):
    primaries = dataclasses.replace(make_beam(sp.PROTON, 100.0), **change)

    with pytest.raises(DataError, match=said):
        SMALL(primaries, stream(1, "transport", 0))


def test_an_event_without_primaries_is_empty(make_beam):
    event = SMALL(make_beam(sp.PROTON, 1.0, 0), stream(1, "transport", 0))

    assert (len(event.tracks), len(event.deposits), event.balance.brought) == (0, 0, 0.0)


@pytest.mark.parametrize("wrong", [{"max_step_mm": 0.0}, {"delta_cut_mev": 1e-3}, {"stopp_mev": 0.1}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        TransportConfig(**wrong)
