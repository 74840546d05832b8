"""Events of which Geant4 followed the particles: the contract of generators, and all modalities."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from hepfm.testing import generator_contract
from hepfm_lartpc.geant4 import Geant4Config
from hepfm_lartpc.generator import LartpcGenerator

if importlib.util.find_spec("geant4_pybind") is None:  # its import would ask for data files
    pytest.skip("geant4-pybind is not installed", allow_module_level=True)


def config(stand_ins, **changes):
    geant4 = Geant4Config(data=stand_ins, **changes)
    return LartpcGenerator.Config(detector="wire", composition="geant4-sample", geant4=geant4)


def test_it_keeps_the_contract_of_generators(stand_ins):
    generator_contract(LartpcGenerator, config(stand_ins), other=config(stand_ins, production_cut_mm=1.0))


def test_all_modalities_are_of_one_event(stand_ins):
    generator = LartpcGenerator(config(stand_ins), seed=3)
    sample = generator.event(4)
    generator.close()
    image, truth = sample.parts["image3d"]["voxels"], sample.parts["truth"]["particles"]
    assert image["energy_mev"].sum() == pytest.approx(truth["deposited_mev"].sum(), rel=0.02)
    assert {"charge", "light"} <= set(sample.parts)
    assert sample.labels["charge"]["samples"]["electrons"].sum() > 0
    assert set(np.unique(sample.labels["image3d"]["voxels"]["semantic"])) <= {0, 1, 2, 3, 4}


def test_the_digest_is_that_of_our_own_transport_without_geant4(stand_ins):
    own = LartpcGenerator.Config(detector="wire", composition="geant4-sample")
    digests = {LartpcGenerator(c, seed=1).digest() for c in (own, config(stand_ins))}
    assert len(digests) == 2
