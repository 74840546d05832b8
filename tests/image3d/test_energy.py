from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepfm_image3d.energy import EnergyMap


@pytest.mark.parametrize("floor", [0.01, 0.13])
def test_it_is_the_map_of_panda_and_polar_mae(floor: float) -> None:
    energy = torch.tensor([0.0, 0.02, 0.13, 0.5, 3.0, 20.0, 60.0], dtype=torch.float64)
    wanted = [
        2 * (math.log10(e + floor) - math.log10(floor)) / (math.log10(20 + floor) - math.log10(floor)) - 1
        for e in energy.tolist()
    ]
    found = EnergyMap(floor_mev=floor, max_mev=20.0)(energy)
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64))
    assert found[0] == -1
    assert found[-2] == pytest.approx(1)


@given(st.floats(0, 1000), st.floats(0.01, 1), st.floats(1, 100))
def test_the_inverse_gives_the_energy_back(energy: float, floor: float, largest: float) -> None:
    energy_map = EnergyMap(floor_mev=floor, max_mev=largest)
    value = torch.tensor(energy, dtype=torch.float64)
    torch.testing.assert_close(energy_map.inverse(energy_map(value)), value, rtol=1e-9, atol=1e-12)


def test_predictions_below_the_map_are_no_negative_energies() -> None:
    assert EnergyMap(floor_mev=0.13, max_mev=20.0).inverse(torch.tensor([-1.5, -1.0])).tolist() == [0.0, 0.0]
