"""What a detector file may say of its light readout."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from hepfm_lartpc.light.config import LightReadout
from hepfm_lartpc.light.optics import SingletFraction
from hepfm_lartpc.species import ALPHA, ELECTRON, MUON_MINUS, NEUTRON, PROTON

PANEL = {"position_mm": [0, 0, 0], "normal": [0, 0, 3], "width_mm": 100, "height_mm": 50, "efficiency": 0.03}


def readout(**changes):
    return LightReadout.model_validate({"detectors": [PANEL]} | changes)


def test_a_list_of_detectors_is_enough():
    config = readout()
    assert (config.digitizer.sample_ns, config.digitizer.samples) == (16.0, 1000)
    assert (config.scintillation.singlet_ns, config.scintillation.triplet_ns) == (6.0, 1500.0)
    assert config.trigger.kind == "beam"


def test_a_grid_gives_its_detectors_row_by_row():
    grid = PANEL | {"columns": 3, "rows": 2, "spacing_mm": [120, 80], "position_mm": [10, 20, 30]}
    panels = readout(detectors=[PANEL, grid]).panels()
    assert len(panels) == 7
    positions = np.array([panel.position_mm for panel in panels[1:]])
    assert positions.mean(0) == pytest.approx([10, 20, 30])
    assert positions[:, 1].tolist() == [-20, -20, -20, 60, 60, 60]
    assert np.diff(positions[:3, 0]).tolist() == [120, 120]
    assert all(panel.columns == panel.rows == 1 for panel in panels)


@pytest.mark.parametrize("normal", [(1, 0, 0), (0, -2, 0), (0, 0, 5), (1, 2, -3)])
@pytest.mark.parametrize("up", [None, (1, 1, 0.2)])
def test_the_axes_of_a_detector_are_at_right_angles(normal, up):
    axes = np.array(readout(detectors=[PANEL | {"normal": normal, "up": up}]).panels()[0].axes())
    assert axes @ axes.T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)
    assert axes[2] @ normal == pytest.approx(np.linalg.norm(normal))
    if up is not None:
        assert axes[1] @ up > 0


def test_the_kind_of_a_detector_chooses_its_sensor():
    config = readout(detectors=[PANEL, PANEL | {"kind": "pmt"}])
    assert config.sensors() == [config.sipm, config.pmt]


def test_denser_ionisation_has_more_singlet_light():
    fraction = SingletFraction().by_species()
    assert fraction[MUON_MINUS] <= fraction[ELECTRON] < fraction[PROTON] < fraction[ALPHA] < fraction[NEUTRON]


GRID = {"columns": 2, "rows": 1}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"detectors": []}, "at least 1"),
        ({"detectors": [PANEL | {"normal": [0, 0, 0]}]}, "normal must not be zero"),
        ({"detectors": [PANEL | {"up": [0, 0, 1]}]}, "along the normal"),
        ({"detectors": [PANEL | {"efficiency": 1.2}]}, "less than or equal to 1"),
        ({"detectors": [PANEL | {"width_mm": 0}]}, "greater than 0"),
        ({"detectors": [PANEL | {"position_mm": [0, 0, float("nan")]}]}, "finite"),
        ({"detectors": [PANEL | GRID]}, "a grid has spacing_mm"),
        ({"detectors": [PANEL | {"spacing_mm": [200, 200]}]}, "a grid has spacing_mm"),
        ({"detectors": [PANEL | GRID | {"spacing_mm": [50, 0]}]}, "less than a detector"),
        ({"volumes": [{"low_mm": [1, 1, 1], "high_mm": [9, 9, 9]}]}, "none of the volumes"),
        ({"volumes": [{"low_mm": [1, 1, 1], "high_mm": [9, 0, 9]}]}, "must lie below"),
        ({"scintillation": {"singlet_ns": 2000}}, "must lie below triplet_ns"),
        ({"scintillation": {"singlet_fraction": {"muon": 1.1}}}, "less than or equal to 1"),
        ({"optics": {"rayleigh_mm": 0}}, "greater than 0"),
        ({"optics": {"speed_mm_ns": 300}}, "less than 299.8"),
        ({"sipm": {"crosstalk": 0.6, "afterpulsing": {"probability": 0.5}}}, "would never stop"),
        ({"pmt": {"crosstalk": 0.1}}, "photomultiplier has no cells"),
        ({"digitizer": {"pedestal_adc": 99_999}}, "outside the converter's 0 to 16383"),
        ({"digitizer": {"pretrigger": 1000}}, "leaves nothing"),
        ({"digitizer": {"bits": 16}}, "at most 15 bits"),
        ({"trigger": {"kind": "self"}}, "Field required"),
        ({"trigger": {"kind": "moon"}}, "'beam', 'self'"),
        ({"colour": "blue"}, "Extra inputs"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(changes, says):
    with pytest.raises(ValidationError, match=says):
        readout(**changes)
