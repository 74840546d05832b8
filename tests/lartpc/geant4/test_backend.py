"""Geant4's transport behind our call: its ranges, its energies, the same event again, and what is said."""

from __future__ import annotations

import importlib.util
import os
import signal

import numpy as np
import pytest

from hepfm.errors import DataError, RecipeError
from hepfm_lartpc import species as sp
from hepfm_lartpc.event import Primaries
from hepfm_lartpc.geant4 import Geant4Config, Geant4Transport, backend
from hepfm_lartpc.streams import stream
from hepfm_lartpc.transport import Transport, TransportConfig

if importlib.util.find_spec("geant4_pybind") is None:  # its import would ask for data files
    pytest.skip("geant4-pybind is not installed", allow_module_level=True)

LOW, HIGH = (-1152.0, -900.0, -1000.0), (1152.0, 1000.0, 1152.0)  # its centre is not the origin
ELECTROMAGNETIC = TransportConfig(nuclear=False, muon_capture=False)


@pytest.fixture(scope="module")
def geant4(stand_ins):
    transport = Geant4Transport(LOW, HIGH, ELECTROMAGNETIC, Geant4Config(data=stand_ins))
    yield transport
    transport.close()


def primaries(*particles):
    """Along z from the point given, at 5 ns."""
    n = len(particles)
    return Primaries(
        species=np.array([species for species, _, _ in particles], np.int32),
        kinetic_mev=np.array([kinetic for _, kinetic, _ in particles]),
        direction=np.tile([0.0, 0.0, 1.0], (n, 1)),
        position_mm=np.array([position for _, _, position in particles], np.float64),
        time_ns=np.full(n, 5.0),
        interaction=np.arange(n, dtype=np.int32),
    )


ORIGIN = (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("species", "kinetic_mev", "range_mm"),
    [(sp.MUON_MINUS, 250.0, 1000.0), (sp.PROTON, 200.0, 260.0)],
)
def test_ranges_are_those_of_the_tables(geant4, species, kinetic_mev, range_mm):
    event = primaries(*[(species, kinetic_mev, ORIGIN)] * 20)
    tracks = geant4(event, stream(1, "transport", 0)).tracks
    assert tracks.length_mm[:20].mean() == pytest.approx(range_mm, rel=0.02)
    np.testing.assert_allclose(tracks.start_mm[:20], 0.0, atol=1e-9)


def test_every_species_that_is_followed_can_begin_an_event(geant4):
    kinds = [kind for kind in range(sp.FOLLOWED) if kind != sp.NEUTRINO]
    made = geant4(primaries(*[(kind, 20.0, ORIGIN) for kind in kinds]), stream(7, "transport", 0))
    np.testing.assert_array_equal(made.tracks.species[: len(kinds)], kinds)
    # An alpha of 20 MeV ends within half a millimetre, and a deuteron within a few: all that they bring is left.
    for kind in (sp.DEUTERON, sp.ALPHA):
        assert made.tracks.deposited_mev[kinds.index(kind)] == pytest.approx(20.0, rel=0.01)


def test_a_muons_mean_loss_is_that_of_our_own_transport(geant4):
    event = primaries(*[(sp.MUON_MINUS, 1500.0, (0.0, 50.0 * y, -900.0)) for y in range(-6, 7)])
    lost = []
    for transport in (geant4, Transport(LOW, HIGH, ELECTROMAGNETIC)):
        made = [transport(event, stream(2, "transport", i)) for i in range(5)]
        lost.append(np.mean([one.balance.deposited for one in made]))
    assert lost[0] == pytest.approx(lost[1], rel=0.03)


def test_energy_is_deposited_or_leaves(geant4):
    made = geant4(
        primaries((sp.PROTON, 200.0, ORIGIN), (sp.PHOTON, 300.0, ORIGIN)), stream(3, "transport", 0)
    )
    balance = made.balance
    assert made.deposits.energy_mev.sum() == pytest.approx(balance.deposited)
    # Binding energies of shells apart, nothing stays behind: pairs bring mass, annihilation gives it back.
    assert balance.bound == pytest.approx(0.0, abs=12 * sp.ELECTRON_MASS)
    np.testing.assert_allclose(made.tracks.deposited_mev.sum(), made.deposits.energy_mev.sum(), rtol=1e-12)


def test_a_muon_decays_to_a_michel_electron_after_its_life(geant4):
    tracks = geant4(primaries(*[(sp.MUON_PLUS, 50.0, ORIGIN)] * 40), stream(4, "transport", 0)).tracks
    michel = (tracks.process == sp.DECAY) & (tracks.species == sp.POSITRON)
    assert michel.sum() == 40
    assert tracks.kinetic_mev[michel].max() < 52.9
    assert (tracks.start_ns[michel] - 5.0).mean() == pytest.approx(2197.0, rel=0.5)
    neutrinos = tracks.species == sp.NEUTRINO
    assert neutrinos.sum() == 80
    assert (tracks.parent[michel] < 40).all()


def test_an_event_depends_on_its_own_random_numbers_alone(geant4, stand_ins):
    event = primaries((sp.ELECTRON, 200.0, ORIGIN), (sp.PION_PLUS, 100.0, ORIGIN))
    first = geant4(event, stream(5, "transport", 7))
    geant4(event, stream(5, "transport", 8))
    again = geant4(event, stream(5, "transport", 7))
    alone = Geant4Transport(LOW, HIGH, ELECTROMAGNETIC, Geant4Config(data=stand_ins))
    elsewhere = alone(event, stream(5, "transport", 7))
    alone.close()
    for other in (again, elsewhere):
        np.testing.assert_array_equal(first.deposits.energy_mev, other.deposits.energy_mev)
        np.testing.assert_array_equal(first.deposits.end_mm, other.deposits.end_mm)
        np.testing.assert_array_equal(first.tracks.species, other.tracks.species)
    different = geant4(event, stream(5, "transport", 9))
    assert len(different.deposits) != len(first.deposits)


def child_of(transport):
    """The number of its process."""
    return next(one.pid for one in transport._end.peek()[2] if hasattr(one, "pid"))


def test_signals_to_all_processes_of_a_run_end_it_not(geant4):
    event = primaries((sp.MUON_MINUS, 50.0, ORIGIN))
    geant4(event, stream(8, "transport", 0))
    child = child_of(geant4)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        os.kill(child, number)
    geant4(event, stream(8, "transport", 1))
    assert child_of(geant4) == child


def test_a_process_that_was_killed_is_told_of_and_another_one_begins(geant4):
    event = primaries((sp.MUON_MINUS, 50.0, ORIGIN))
    first = geant4(event, stream(9, "transport", 0))
    os.kill(child_of(geant4), signal.SIGKILL)
    os.waitid(os.P_PID, child_of(geant4), os.WEXITED | os.WNOWAIT)
    with pytest.raises(DataError, match="its process ended"):
        geant4(event, stream(9, "transport", 1))
    again = geant4(event, stream(9, "transport", 0))
    np.testing.assert_array_equal(first.deposits.energy_mev, again.deposits.energy_mev)


def test_parents_come_before_their_children_and_share_their_interaction(geant4):
    event = primaries((sp.MUON_MINUS, 300.0, ORIGIN), (sp.ELECTRON, 100.0, (0.0, 100.0, 0.0)))
    tracks = geant4(event, stream(6, "transport", 0)).tracks
    rows = np.arange(len(tracks))
    assert (tracks.parent[:2] == -1).all()
    assert ((tracks.parent[2:] >= 0) & (tracks.parent[2:] < rows[2:])).all()
    np.testing.assert_array_equal(tracks.interaction[2:], tracks.interaction[tracks.parent[2:]])


def test_missing_data_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"G4EMLOW \(G4LEDATA\).*PhotonEvaporation") as caught:
        Geant4Transport(LOW, HIGH, TransportConfig(), Geant4Config(data=tmp_path))
    assert "downloads nothing" in str(caught.value)


def test_what_geant4_says_as_it_dies_is_passed_on(tmp_path, stand_ins):
    for name in ("G4EMLOW8.8", "G4ENSDFSTATE3.0", "PhotonEvaporation6.1.2", "G4PARTICLEXS4.2"):
        (tmp_path / name).mkdir()
    transport = Geant4Transport(LOW, HIGH, TransportConfig(), Geant4Config(data=tmp_path))
    with pytest.raises(DataError, match=r"Geant4 failed: .*ENSDFSTATE"):
        transport(primaries((sp.PROTON, 100.0, ORIGIN)), stream(1, "transport", 0))


def test_an_unknown_physics_list_is_refused_with_those_there_are(tmp_path, stand_ins):
    for name in ("PhotonEvaporation6.1.2", "G4PARTICLEXS4.2"):
        (tmp_path / name).mkdir()
    for name in ("G4EMLOW8.8", "G4ENSDFSTATE3.0"):
        (tmp_path / name).symlink_to(stand_ins / name)
    config = Geant4Config(data=tmp_path, physics_list="FTFP_BURT")
    with pytest.raises(DataError, match=r"no physics list 'FTFP_BURT'; it has .*FTFP_BERT"):
        Geant4Transport(LOW, HIGH, TransportConfig(), config)(
            primaries((sp.PROTON, 100.0, ORIGIN)), stream(1, "transport", 0)
        )


def test_without_the_package_it_says_what_to_install(monkeypatch, stand_ins):
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(RecipeError, match=r"pip install 'hepfm\[geant4\]'"):
        Geant4Transport(LOW, HIGH, ELECTROMAGNETIC, Geant4Config(data=stand_ins))


def test_the_newest_of_several_versions_is_taken(tmp_path, monkeypatch):
    from hepfm_lartpc.geant4.data_files import data_sets

    monkeypatch.delenv("G4LEDATA", raising=False)
    for name in ("G4EMLOW8.8", "G4EMLOW8.10", "G4EMLOW7.13", "G4ENSDFSTATE3.0", "G4EMLOWold"):
        (tmp_path / name).mkdir()
    assert data_sets(tmp_path, None)["G4LEDATA"].name == "G4EMLOW8.10"
