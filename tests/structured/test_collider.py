"""Jets of the generator: the standard figures of hadron physics, and event i is of (seed, i) alone."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from hepfm.errors import PluginError, RecipeError
from hepfm.readers.pack import pack
from hepfm.testing import generator_contract
from hepfm_structured import collider
from hepfm_structured.collider import PROCESSES, ColliderGenerator

Config = ColliderGenerator.Config
SEED = 11
EACH = 30


@pytest.fixture(scope="module")
def installed():
    for name in ("pythia8mc", "fastjet"):
        pytest.importorskip(name, reason="needs pip install 'hepfm[collider]'")


@pytest.fixture(scope="module")
def jets(installed):
    """Jets of each process: process to events ``(particles, event, pdg)``."""
    made = {}
    for process in PROCESSES:
        generator = ColliderGenerator(Config(processes=(process,)), seed=SEED)
        samples = [generator.event(i) for i in range(EACH)]
        made[process] = [
            (s.parts["structured"]["particles"], s.parts["structured"]["event"], s.labels["structured"])
            for s in samples
        ]
    return made


def test_the_contract_holds(installed):
    config = Config(processes=("qcd", "z"))
    generator_contract(ColliderGenerator, config, other=config.model_copy(update={"radius": 0.6}))


def test_jets_are_what_was_asked_for(jets):
    for process, events in jets.items():
        for particles, jet, labels in events:
            assert 500 <= jet["pt"][0] <= 1000.0001
            assert abs(jet["eta"][0]) <= 2
            assert labels["event"]["process"][0] == PROCESSES.index(process)
            assert (np.diff(particles["pt"]) <= 0).all()
            # The jet is the sum of its constituents (E scheme).
            pt, eta, phi, energy = (particles[n].astype("f8") for n in ("pt", "eta", "phi", "energy"))
            p = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)]).sum(1)
            np.testing.assert_allclose(np.hypot(*p[:2]), jet["pt"][0], rtol=1e-5)
            np.testing.assert_allclose(
                energy.sum() ** 2 - (p**2).sum(), jet["mass"][0].astype("f8") ** 2, rtol=1e-3, atol=1
            )
            # Pseudorapidity is not the rapidity that anti-kt works with: slow heavy particles stand outside.
            inside = np.hypot(particles["deta"], particles["dphi"]) < 0.8
            assert pt[inside].sum() > 0.98 * pt.sum()
            np.testing.assert_allclose(np.cos(phi - jet["phi"][0]), np.cos(particles["dphi"]), atol=1e-5)


def test_charges_and_species_are_those_of_the_particles(jets):
    from particle import Particle

    for events in jets.values():
        for particles, _, labels in events[:10]:
            for charge, species, code in zip(
                particles["charge"], particles["species"], labels["particles"]["pdg"], strict=True
            ):
                found = Particle.from_pdgid(int(code))
                assert charge == found.charge
                lepton_or_photon = {22: 2, 11: 3, 13: 4}.get(abs(int(code)))
                assert species == (
                    lepton_or_photon if lepton_or_photon is not None else int(found.charge == 0)
                )
                assert abs(code) not in {12, 14, 16}  # neutrinos are not seen


def median_mass(events):
    return float(np.median([jet["mass"][0] for _, jet, _ in events]))


def share_near(events, mass, window):
    return float(np.mean([abs(jet["mass"][0] - mass) < window for _, jet, _ in events]))


def test_masses_peak_at_what_decayed(jets):
    """The underlying event and radiation add a few GeV to 20 in a jet of 0.8: peaks are at and above the mass."""
    for process, mass in (("w", 80.4), ("z", 91.2), ("higgs", 125.1), ("top", 172.6)):
        values = np.array([jet["mass"][0] for _, jet, _ in jets[process]])
        assert share_near(jets[process], mass + 6, 16) > 0.45, process
        assert mass - 8 < np.median(values) < mass + 22, process
    assert share_near(jets["qcd"], 97, 16) < 0.35
    assert (
        median_mass(jets["w"])
        < median_mass(jets["z"])
        < median_mass(jets["higgs"])
        < median_mass(jets["top"])
    )


def test_charged_fraction_multiplicity_and_number_of_jets(jets):
    """Isospin: two pions of three are charged, photons and neutral hadrons take the rest, so about 0.6."""
    fractions, sizes = {}, {}
    for process, events in jets.items():
        charged = [p["energy"][p["charge"] != 0].sum() / p["energy"].sum() for p, _, _ in events]
        fractions[process] = float(np.mean(charged))
        sizes[process] = float(np.mean([len(p["pt"]) for p, _, _ in events]))
        assert min(len(p["pt"]) for p, _, _ in events) >= 3
    assert 0.54 < np.mean(list(fractions.values())) < 0.66
    assert all(0.48 < f < 0.70 for f in fractions.values()), fractions
    assert sizes["top"] > sizes["qcd"] > 0.8 * sizes["w"]  # three quarks, gluons, two quarks
    assert 40 < sizes["qcd"] < 110
    counts = {
        process: np.mean([jet["n_jets"][0] for _, jet, _ in events]) for process, events in jets.items()
    }
    assert all(2 <= n <= 8 for n in counts.values()), counts
    assert counts["top"] > counts["z"]  # the other top's jets


def test_pythia_has_the_same_state_whatever_went_before(installed):
    """Also after an event of another process and in another process of the machine."""
    config = Config(processes=("qcd", "top"))
    generator = ColliderGenerator(config, seed=3)
    many = [generator.event(i) for i in (5, 2, 9, 2, 5)]
    code = (
        "import sys, hashlib, numpy as np\n"
        "from hepfm_structured.collider import ColliderGenerator as G\n"
        "e = G(G.Config(processes=('qcd', 'top')), seed=3).event(5)\n"
        "p = e.parts['structured']['particles']\n"
        "sys.stdout.write(hashlib.sha256(b''.join(p[n].tobytes() for n in sorted(p))).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    )
    import hashlib

    for sample in (many[0], many[4]):
        p = sample.parts["structured"]["particles"]
        assert done.stdout == hashlib.sha256(b"".join(p[n].tobytes() for n in sorted(p))).hexdigest()
    # FastJet's citation goes to stderr, not into what a command prints: stdout above was the digest alone.


def test_streams_of_events_are_their_own(installed):
    generator = ColliderGenerator(Config(), seed=0)
    streams = [generator._stream(i) for i in range(400)]
    assert len(set(streams)) == len(streams)
    assert all(1 <= seed <= 900_000_000 for seed, _ in streams)
    other = ColliderGenerator(Config(), seed=1)
    assert not set(streams) & {other._stream(i) for i in range(400)}
    drawn = Counter(int(generator.event(i).labels["structured"]["event"]["process"][0]) for i in range(30))
    assert len(drawn) == 5


def test_jets_of_a_chosen_kind_alone(installed):
    generator = ColliderGenerator(Config(processes=("z",), pt_gev=(250, 400), radius=1.0), seed=2)
    batch = pack([generator.event(i) for i in range(5)], generator.parts)
    pt = batch.parts["structured"]["event"].columns["pt"]
    assert ((pt >= 250) & (pt <= 400.001)).all()
    assert generator.parts["structured"].attributes["order"] == "pt"


def test_what_makes_no_sense_is_refused(installed):
    with pytest.raises(RecipeError, match=r"jets from 900 to 500 GeV cannot be made at 13000 GeV"):
        ColliderGenerator(Config(pt_gev=(900, 500)), seed=0)
    with pytest.raises(RecipeError, match=r"no process to draw from"):
        ColliderGenerator(Config(processes=()), seed=0)
    with pytest.raises(RecipeError, match=r"no part 'structurd'(.|\n)*did you mean 'structured'"):
        ColliderGenerator(Config(), seed=0, parts=["structurd"])


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(collider, "find_spec", lambda name: None if name == "fastjet" else object())
    with pytest.raises(
        PluginError,
        match=r"needs fastjet, not installed here(.|\n)*pip install --only-binary pythia8mc 'hepfm\[collider\]'",
    ):
        ColliderGenerator(Config(), seed=0)
