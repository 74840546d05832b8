"""The rules of particles and classes, case by case."""

from __future__ import annotations

import pytest

from hepfm_lartpc import species as sp
from hepfm_lartpc.truth import DELTA, LED, MICHEL, SHOWER, TRACK, classify

MUON = (sp.MUON_MINUS, -1, sp.PRIMARY, 500.0, 300.0)


@pytest.mark.parametrize(
    ("rows", "particle", "semantic"),
    [
        pytest.param([MUON], [0], [TRACK], id="a muon is a track"),
        pytest.param(
            [MUON, (sp.ELECTRON, 0, sp.DELTA, 3.1, 3.0)],
            [0, 1],
            [TRACK, DELTA],
            id="a delta of more than 3 MeV",
        ),
        pytest.param(
            [MUON, (sp.ELECTRON, 0, sp.DELTA, 2.9, 2.9)],
            [0, 0],
            [TRACK, TRACK],
            id="a delta of less is its track's",
        ),
        pytest.param(
            [
                MUON,
                (sp.ELECTRON, 0, sp.DELTA, 9.0, 7.0),
                (sp.PHOTON, 1, sp.BREMSSTRAHLUNG, 2.0, 0.0),
                (sp.ELECTRON, 2, sp.COMPTON, 1.5, 1.5),
            ],
            [0, 1, 1, 1],
            [TRACK, DELTA, DELTA, LED],
            id="a small Compton electron is low-energy",
        ),
        pytest.param(
            [
                (sp.PHOTON, -1, sp.PRIMARY, 400.0, 0.0),
                (sp.ELECTRON, 0, sp.COMPTON, 2.5, 2.1),
                (sp.POSITRON, 0, sp.PAIR, 300.0, 99.0),
                (sp.ELECTRON, 2, sp.DELTA, 20.0, 20.0),
            ],
            [0, 0, 0, 0],
            [SHOWER, SHOWER, SHOWER, SHOWER],
            id="a photon and all it makes are one shower",
        ),
        pytest.param(
            [
                (sp.PION_PLUS, -1, sp.PRIMARY, 100.0, 90.0),
                (sp.MUON_PLUS, 0, sp.DECAY, 4.1, 4.1),
                (sp.POSITRON, 1, sp.DECAY, 40.0, 30.0),
                (sp.PHOTON, 2, sp.ANNIHILATION, 0.51, 0.0),
                (sp.ELECTRON, 3, sp.COMPTON, 0.3, 0.3),
            ],
            [0, 1, 2, 2, 2],
            [TRACK, TRACK, MICHEL, MICHEL, LED],
            id="pi, mu and Michel electron",
        ),
        pytest.param(
            [MUON, (sp.PHOTON, 0, sp.BREMSSTRAHLUNG, 50.0, 0.0), (sp.ELECTRON, 1, sp.PAIR, 20.0, 20.0)],
            [0, 1, 1],
            [TRACK, SHOWER, SHOWER],
            id="a hard photon of a muon is a shower",
        ),
        pytest.param(
            [
                (sp.PION_MINUS, -1, sp.PRIMARY, 200.0, 50.0),
                (sp.PION_ZERO, 0, sp.NUCLEAR, 100.0, 0.0),
                (sp.PHOTON, 1, sp.DECAY, 70.0, 0.0),
                (sp.PROTON, 0, sp.NUCLEAR, 30.0, 30.0),
                (sp.PROTON, 0, sp.NUCLEAR, 1.0, 1.0),
                (sp.NEUTRON, 0, sp.NUCLEAR, 8.0, 0.2),
            ],
            [0, 1, 2, 3, 4, 5],
            [TRACK, SHOWER, SHOWER, TRACK, LED, LED],
            id="a star of a pion",
        ),
    ],
)
def test_a_deposit_belongs_to_a_particle_and_a_class(tracks, rows, particle, semantic):
    found, classes = classify(tracks(rows))
    assert found.tolist() == particle
    assert classes.tolist() == semantic
