"""A point of charge lies at one place of the axes that image, charge and light share, in each of the parts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hepfm.data.tensors import to_torch
from hepfm.readers.pack import pack
from hepfm.testing import modality_contract
from hepfm_image3d.modality import Image3D, Image3DConfig
from hepfm_lartpc.generator import LartpcGenerator
from hepfm_lartpc.vertices import CompositionConfig
from hepfm_waveform.config import WaveformConfig
from hepfm_waveform.modality import Waveform

UNIT_MM = 10.0


def generator_of(detector, name, kinetic_mev, place_mm):
    particle = {"name": name, "kinetic_mev": kinetic_mev, "direction": (0.3, 0, 1), "position_mm": place_mm}
    composition = CompositionConfig(sources=[{"kind": "particles", "particles": [particle]}], nuclear=False)
    return LartpcGenerator(LartpcGenerator.Config(detector=detector, vertices=composition), seed=1)


def modalities_of(generator, *, patch):
    waveform = WaveformConfig(patch=patch, noise_samples=None, noise_adc=2.0)
    return {
        "image3d": Image3D(Image3DConfig(cell_voxels=2, min_energy_mev=0.0), generator.parts["image3d"]),
        "charge": Waveform(waveform, generator.parts["charge"]),
        "light": Waveform(
            WaveformConfig(geometry="position", patch=100, noise_samples=None), generator.parts["light"]
        ),
    }


def units_of_a_point(detector, place_mm, *, patch):
    """The units of a proton that stops within a voxel."""
    generator = generator_of(detector, "proton", 6.0, place_mm)
    batch = to_torch(pack([generator.event(0)], generator.parts))
    modalities = modalities_of(generator, patch=patch)
    return {part: m.units(batch.parts[part]) for part, m in modalities.items()}, generator


def along(units, axis, rows):
    middle, reach = units.places[axis][rows].double().numpy().T
    return middle, reach


@pytest.mark.parametrize("place_mm", [(-120.0, 45.0, -70.0), (200.0, -210.0, 130.0)])
def test_a_point_is_where_its_cell_and_its_wires_are(place_mm):
    units, _ = units_of_a_point("wire", place_mm, patch=32)
    x, y, z = place_mm
    angle = math.radians(35.7)
    truth = {
        "x": x,
        "U": math.cos(angle) * z - math.sin(angle) * y,
        "V": math.cos(angle) * z + math.sin(angle) * y,
        "W": z,
    }
    image = units["image3d"]
    assert len(image.positions)
    for axis, wanted in truth.items():
        middle, reach = along(image, axis, slice(None))
        assert (np.abs(middle - wanted / UNIT_MM) <= reach + 0.05).any(), axis
    windows = units["charge"].payload
    for plane, axis in enumerate("UVW"):
        # The wire and the ticks with the largest signal, which comes a few microseconds after the electrons.
        rows = (windows.plane == plane).nonzero()[:, 0]
        row = rows[windows.value[rows].abs().amax(1).argmax()]
        pitch_mm = 3.0 if axis == "W" else 4.67
        assert float(units["charge"].places[axis][row, 0]) * UNIT_MM == pytest.approx(
            truth[axis], abs=0.75 * pitch_mm
        )
        middle, reach = units["charge"].places["x"][row].tolist()
        assert abs(middle - x / UNIT_MM) <= reach + 0.4
        others = set("UVW") - {axis}
        assert all(math.isinf(units["charge"].places[other][row, 1]) for other in others)
    light = units["light"]
    assert set(light.places) == {*truth, "time"}
    assert light.places["time"][:, 0].min() > -2.0  # microseconds


@pytest.mark.parametrize("place_mm", [(100.0, -250.0, -80.0), (-40.0, 33.0, 150.0)])
def test_a_point_is_where_its_pixels_are_in_either_drift_volume(place_mm):
    units, generator = units_of_a_point("module0", place_mm, patch=32)
    charge = units["charge"]
    assert len(charge.positions)
    for i, axis in enumerate("xyz"):
        for part in ("image3d", "charge"):
            middle, reach = along(units[part], axis, slice(None))
            slack = 0.5 if part == "charge" else 0.05
            assert (np.abs(middle - place_mm[i] / UNIT_MM) <= reach + slack).any(), (part, axis)
    assert len(generator.parts["charge"].attributes["frame"]["drift"]) == 2


def test_units_and_their_pieces_keep_the_contract():
    generator = generator_of("wire", "mu-", 40.0, (60.0, 20.0, -110.0))
    events = [generator.event(i) for i in range(3)]
    for part, modality in modalities_of(generator, patch=36).items():
        assert set(modality.axes) <= set("xyzUVW") | {"time"}
        assert len(modality.axes) >= 3
        content = ("energy_mev",) if part == "image3d" else ("adc",)
        modality_contract(modality, [event.parts[part] for event in events], content=content)
