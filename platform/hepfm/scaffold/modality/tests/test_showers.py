"""The generator keeps to the contract of hepfm, and its showers to what is known of showers."""

from __future__ import annotations

import numpy as np
from MODULE.showers import CRITICAL_MEV, FALL, Showers

from hepfm.testing import generator_contract


def test_it_keeps_to_the_contract():
    generator_contract(Showers, other=Showers.Config(showers=1))


def test_showers_have_their_energy_and_their_depth():
    energy = 5000.0
    config = Showers.Config(showers=1, min_energy_mev=energy, max_energy_mev=energy)
    generator = Showers(config, seed=3)
    hits = [generator.event(index).parts["NAME"]["hits"] for index in range(50)]
    seen = np.concatenate([each["energy_mev"] for each in hits])
    layer = np.concatenate([each["cell"][:, 0] for each in hits])
    # Some of it leaves through the back and the sides; the mean of a gamma distribution is shape * scale.
    assert 0.9 * energy < seen.sum() / len(hits) <= 1.02 * energy
    wanted = (1 + FALL * (np.log(energy / CRITICAL_MEV) - 0.5)) / FALL
    assert abs(np.average(layer + 0.5, weights=seen) - wanted) < 0.5
