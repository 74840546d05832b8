"""Records of event generators: what comes out of a file is what another reader finds in it."""

from __future__ import annotations

import numpy as np
import pytest
import uproot

from hepfm.errors import DataError
from hepfm_lartpc import species as sp
from hepfm_lartpc.streams import stream
from hepfm_lartpc.vertices import Composer, CompositionConfig

LOW, HIGH = (-1000.0, -1000.0, -1000.0), (1000.0, 1000.0, 1000.0)


def composer(path, **options):
    return Composer(CompositionConfig(sources=[{"kind": "file", "path": path, **options}]), LOW, HIGH)


def momentum_mev(event):
    mass = sp.MASS_MEV[event.species]
    magnitude = np.sqrt(event.kinetic_mev * (event.kinetic_mev + 2 * mass))
    return (magnitude[:, None] * event.direction).sum(0)


@pytest.fixture
def gibuu(real_data):
    return real_data / "gibuu" / "EventOutput.Pert.00000001.root"


def test_momenta_of_gibuu_records_are_those_of_the_file(gibuu):
    compose = composer(gibuu, unknown="skip", pick="in-order")
    with uproot.open(gibuu) as file:
        tree = file["RootTuple"].arrays(library="np", entry_stop=300)
    compared = 0
    for record in range(300):
        pdg = tree["barcode"][record]
        if not set(pdg) <= {211, -211, 2212, 2112, 111, 321, -321}:
            continue  # others decay at the vertex, or are left out
        lepton = [tree[f"lepOut_P{axis}"][record] for axis in "xyz"]
        hadrons = [tree[f"P{axis}"][record].sum() for axis in "xyz"]
        visible = np.array(hadrons) + (np.array(lepton) if abs(tree["process_ID"][record]) != 3 else 0)
        event = compose(1, record)
        np.testing.assert_allclose(momentum_mev(event), 1000 * visible, atol=1e-6 + 1e-9 * abs(visible).max())
        assert len({tuple(at) for at in event.position_mm.tolist()}) == 1
        compared += 1
    assert compared > 200
    assert len(compose.files[0].records) == 4755
    np.testing.assert_array_equal(compose.files[0].records.weights[:300], tree["weight"])


def test_a_particle_that_cannot_be_followed_ends_it_or_is_counted(gibuu):
    strict, lenient = (composer(gibuu, unknown=word, pick="in-order") for word in ("error", "skip"))
    with pytest.raises(DataError, match=r"PDG number 4122 can neither(.|\n)*record 16"):
        strict(1, 16)
    for index in range(20):
        lenient(1, index)
    assert lenient.skipped[4122] == 1


def test_records_come_in_order_at_random_or_by_weight(gibuu):
    def records(pick, events):
        compose = composer(gibuu, unknown="skip", pick=pick)
        return [compose.files[0].record(stream(1, "vertices", i), i) for i in range(events)], compose

    ordered, compose = records("in-order", 4760)
    assert ordered == [i % 4755 for i in range(4760)]
    drawn, _ = records("random", 4000)
    assert len(set(drawn)) > 2500
    heavy, _ = records("weighted", 4000)
    weights = np.maximum(compose.files[0].records.weights, 0)
    expected = (weights**2).sum() / weights.sum()  # mean weight of what is drawn by weight
    assert weights[heavy].mean() == pytest.approx(expected, rel=0.1)


def taken(path, events=300, seed=1, **options):
    compose = composer(path, unknown="skip", **options)
    return [compose.files[0].record(stream(seed, "vertices", i), i) for i in range(events)]


def test_another_seed_begins_with_other_records(gibuu):
    assert taken(gibuu) == taken(gibuu)
    same = np.mean(np.equal(taken(gibuu), taken(gibuu, seed=2)))
    assert same < 0.05  # 1 of 4755 by chance


@pytest.mark.parametrize("pick", ["random", "weighted", "in-order"])
@pytest.mark.parametrize(
    ("share", "low", "high"), [((0, 0.9), 0, 4279), ((0.9, 1), 4279, 4755), ((0, 1), 0, 4755)]
)
def test_events_take_the_records_of_their_share_all_of_them(gibuu, pick, share, low, high):
    found = taken(gibuu, events=30_000, pick=pick, share=share)
    assert low <= min(found)
    assert max(found) < high
    if pick != "weighted":
        assert len(set(found)) > 0.99 * (high - low)
    else:  # rare ones stay away
        assert len(set(found)) > 0.5 * (high - low)


@pytest.mark.parametrize("share", [(0.5, 0.5), (0.6, 0.4), (0, 1e-5), (-0.1, 1)])
def test_a_share_without_records_is_refused(gibuu, share):
    with pytest.raises((DataError, ValueError), match="share"):
        composer(gibuu, share=share)


def test_hepmc_records_are_read_back(tmp_path):
    pyhepmc = pytest.importorskip("pyhepmc")
    path = tmp_path / "events.hepmc"
    with pyhepmc.open(str(path), "w") as file:
        for k in range(3):
            event = pyhepmc.GenEvent(pyhepmc.Units.GEV, pyhepmc.Units.MM)
            vertex = pyhepmc.GenVertex((0, 0, 0, 0))
            vertex.add_particle_in(pyhepmc.GenParticle((0, 0, 1, 1), 14, 4))
            for pdg, p in ((13, (0.1, 0.0, 0.5 + k)), (2212, (0.0, -0.3, 0.2)), (14, (0.0, 0.0, 1.0))):
                energy = np.sqrt(
                    np.dot(p, p) + (0.10566 if pdg == 13 else 0.93827 if pdg == 2212 else 0) ** 2
                )
                vertex.add_particle_out(pyhepmc.GenParticle((*p, energy), pdg, 1))
            event.add_vertex(vertex)
            file.write(event)
    compose = composer(path, position_mm=(1.0, 2.0, 3.0), pick="in-order")
    for k in range(3):
        event = compose(1, k)
        assert event.species.tolist() == [sp.MUON_MINUS, sp.PROTON]  # the neutrino leaves
        np.testing.assert_allclose(momentum_mev(event), [100, -300, 700 + 1000 * k], rtol=1e-9)
        assert event.position_mm.tolist() == [[1, 2, 3]] * 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("there.root", b"no ROOT file at all, but long enough to look at", "cannot be read"),
        ("there.hepmc", b"\x00\x01 no events", "cannot be read as HepMC|no records"),
        ("there.root", None, "no such file"),
    ],
)
def test_files_that_are_none_are_refused_with_their_path(tmp_path, name, content, message):
    pytest.importorskip("pyhepmc")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        composer(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize(("name", "form"), [("events.root", "hepmc3"), ("events.out", "auto")])
def test_a_file_of_gibuu_that_is_taken_for_hepmc_is_pointed_to_its_form(tmp_path, name, form):
    with uproot.recreate(tmp_path / name) as file:
        file["RootTuple"] = {"weight": np.ones(3)}
    with pytest.raises(DataError, match="format: gibuu") as caught:
        composer(tmp_path / name, format=form)
    assert caught.value.where == str(tmp_path / name)


@pytest.mark.parametrize(("unit", "per_mev"), [("MEV", 1.0), ("GEV", 1e-3)])
def test_hepmc_says_its_unit_of_momentum(tmp_path, unit, per_mev):
    pyhepmc = pytest.importorskip("pyhepmc")
    path = tmp_path / "events.hepmc"
    p = (120.0, -30.0, 400.0)
    energy = np.sqrt(np.dot(p, p) + sp.MUON_MASS**2)
    event = pyhepmc.GenEvent(getattr(pyhepmc.Units, unit), pyhepmc.Units.MM)
    vertex = pyhepmc.GenVertex((0, 0, 0, 0))
    vertex.add_particle_in(pyhepmc.GenParticle((0, 0, per_mev, per_mev), 14, 4))
    vertex.add_particle_out(pyhepmc.GenParticle([per_mev * k for k in (*p, energy)], 13, 1))
    event.add_vertex(vertex)
    with pyhepmc.open(str(path), "w") as file:
        file.write(event)
    made = composer(path)(1, 0)
    np.testing.assert_allclose(momentum_mev(made), p, rtol=1e-9)
    assert made.kinetic_mev[0] == pytest.approx(energy - sp.MUON_MASS, rel=1e-6)


def test_a_root_file_of_something_else_is_refused(real_data):
    with pytest.raises(DataError, match="no RootTuple"):
        composer(real_data / "collider" / "uproot-HZZ.root", format="gibuu")
