"""Truth beside prediction: what is drawn follows from tables and schemas alone."""

from __future__ import annotations

import numpy as np
import pytest

from hepfm.api import ClassName, Column, PartSchema, Sample
from hepfm.display.answers import answer_panels
from hepfm.display.html import write_html
from hepfm.display.panels import Heatmap
from hepfm.display.png import write_png
from hepfm.display.scene import GREY
from hepfm_image3d.schema import image3d_schema

DATA = image3d_schema(voxels=("voxel", "energy_mev", "semantic"))
N = 6


def image(n=N):
    voxel = np.arange(3 * n).reshape(n, 3).astype("u2")
    tables = {"voxels": {"voxel": voxel, "energy_mev": np.ones(n, "f4")}}
    return Sample(event_id=1, parts={"image3d": tables})


def predicts(tables, vocabularies=None):
    return {
        "image3d": PartSchema(
            kind="image3d", primary="voxels", tables=tables, vocabularies=vocabularies or {}
        )
    }


def drawn(predictions, predicted, truth=None, sample=None):
    right = {} if truth is None else {"image3d": truth}
    return answer_panels(
        sample or image(),
        {"image3d": predicted},
        right,
        schemas={"image3d": DATA},
        predictions=predictions,
    )


CLASSES = predicts(
    {
        "voxels": {
            "semantic": Column(dtype="int8", vocabulary="semantic"),
            "probability": Column(dtype="float32", shape=(2,)),
        }
    },
    {"semantic": (ClassName(value=0, name="shower"), ClassName(value=1, name="track"))},
)


def classes(values):
    return {"voxels": {"semantic": np.array(values, "i1"), "probability": np.ones((len(values), 2), "f4")}}


def test_classes_stand_beside_the_true_ones_and_wrong_ones_apart():
    true = {"voxels": {"semantic": np.array([0, 0, 1, 1, 4, 0])}}
    right, found, wrong = drawn(CLASSES, classes([0, 1, 1, 0, 1, 0]), true)
    assert [panel.title for panel in (right, found)] == [
        "image3d: true semantic",
        "image3d: predicted semantic",
    ]
    assert right.classes.tolist() == [0, 0, 1, 1, 4, 0]
    assert [word.name for word in right.vocabulary][:2] == ["shower", "track"]
    assert wrong.classes.tolist() == [0, 1, 0, 1, 2, 0]  # the head knows no class 4: it is not judged
    assert wrong.title == "image3d: wrong, 40.0% of 5 points"
    np.testing.assert_allclose(wrong.xyz, right.xyz)


def test_without_labels_the_prediction_stands_beside_the_input():
    energy, found = drawn(CLASSES, classes([0, 1, 1, 0, 1, 0]))
    assert energy.value_label == "energy"
    assert found.title == "image3d: predicted semantic"


def test_an_empty_event_is_drawn(tmp_path):
    true = {"voxels": {"semantic": np.zeros(0, "i1")}}
    panels = drawn(CLASSES, classes([]), true, image(0))
    assert [len(panel.xyz) for panel in panels] == [0, 0, 0]
    write_html(panels, tmp_path / "event.html")
    write_png(panels, tmp_path / "event.png")


PARTICLES = predicts(
    {
        "voxels": {"instance": Column(dtype="int32"), "score": Column(dtype="float32")},
        "particles": {
            "instance": Column(dtype="int32"),
            "pid": Column(dtype="int8", vocabulary="pid"),
            "probability": Column(dtype="float32", shape=(2,)),
            "energy_mev": Column(dtype="float32", unit="MeV"),
        },
    },
    {"pid": (ClassName(value=2, name="muon"), ClassName(value=4, name="proton"))},
)


def test_a_particle_has_one_colour_in_the_truth_the_prediction_and_the_list():
    true = {
        "voxels": {"instance": np.array([7, 7, 7, 2, 2, -1])},
        "particles": {
            "instance": np.array([2, 7]),
            "pid": np.array([4, 2]),
            "energy_mev": np.array([np.nan, 250.0]),
        },
    }
    predicted = {
        "voxels": {"instance": np.array([0, 0, 0, 0, 1, 1]), "score": np.ones(N, "f4")},
        "particles": {
            "instance": np.array([0, 1]),
            "pid": np.array([2, 2]),
            "probability": np.array([[0.9, 0.1], [0.7, 0.3]]),
            "energy_mev": np.array([245.0, 80.0]),
        },
    }
    right, found, wrong, listed = drawn(PARTICLES, predicted, true)
    assert right.classes.tolist() == [0, 0, 0, 1, 1, -1]
    assert found.classes.tolist() == [0, 0, 0, 0, 1, 1]
    assert (right.title, found.title) == ("image3d: true instance (2)", "image3d: predicted instance (2)")
    assert wrong.classes.tolist() == [0, 0, 0, 1, 0, 2]
    colours = {word.value: word.colour for word in found.vocabulary}
    assert [branch.colour for branch in listed.branches] == [colours[0], colours[1]]
    assert [branch.text for branch in listed.branches] == [
        "1: true muon, energy 250 MeV; predicted muon (90%), energy 245 MeV; overlap 0.75",
        "2: true proton; predicted muon (70%), energy 80 MeV; overlap 0.33",
    ]


EVENT = predicts(
    {
        "event": {
            "pid": Column(dtype="int8", vocabulary="pid"),
            "probability": Column(dtype="float32", shape=(2,)),
            "momentum_gev": Column(dtype="float32", unit="GeV/c"),
            "momentum_gev_sigma": Column(dtype="float32", unit="GeV/c"),
            "vertex": Column(dtype="float32", shape=(3,), unit="mm"),
        }
    },
    {"pid": (ClassName(value=2, name="muon"), ClassName(value=4, name="proton"))},
)
FOUND = {
    "event": {
        "pid": np.array([4]),
        "probability": np.array([[0.2, 0.8]]),
        "momentum_gev": np.array([0.5]),
        "momentum_gev_sigma": np.array([0.1]),
        "vertex": np.array([[1.0, 2.0, 3.0]]),
    }
}


def test_numbers_of_an_event_are_written_and_places_marked():
    true = {
        "event": {
            "pid": np.array([2]),
            "momentum_gev": np.array([0.7]),
            "vertex": np.array([[1.0, 2.0, 33.0], [1.0, 6.0, 0.0]]),
        }
    }
    energy, listed = drawn(EVENT, FOUND, true)
    assert [(marker.name, marker.xyz.tolist()) for marker in energy.markers] == [
        ("true vertex", true["event"]["vertex"].tolist()),
        ("predicted vertex", [[1.0, 2.0, 3.0]]),
    ]
    assert [branch.text for branch in listed.branches] == [
        "pid: true muon, predicted proton (80%)",
        "momentum: true 0.7 GeV/c, predicted 0.5 +- 0.1 GeV/c, residual -0.2 GeV/c (-2 sigma)",
        "vertex: true (1, 6, 0) mm, predicted (1, 2, 3) mm, 5 mm apart (nearest of 2)",
    ]


@pytest.mark.parametrize(
    ("true", "said"),
    [
        (None, "momentum: predicted 0.5 +- 0.1 GeV/c"),
        (
            {"event": {"momentum_gev": np.array([np.nan])}},
            "momentum: true not known, predicted 0.5 +- 0.1 GeV/c",
        ),
    ],
)
def test_what_is_not_known_is_not_compared(true, said):
    energy, listed = drawn(EVENT, FOUND, true)
    assert [marker.name for marker in energy.markers] == ["predicted vertex"]
    assert listed.branches[1].text == said


def test_a_value_that_is_no_class_is_not_known():
    """As the head's right answers may say it (`hepfm.api.Answered`): it is not drawn as a mistake."""
    _, listed = drawn(EVENT, FOUND, {"event": {"pid": np.array([-7])}})
    assert listed.branches[0].text == "pid: true not known, predicted proton (80%)"
    assert listed.branches[0].colour == GREY
    instance = {"instance": np.arange(N) // N}
    true = {"voxels": instance, "particles": {"instance": np.array([0]), "pid": np.array([-7])}}
    predicted = {
        "voxels": {**instance, "score": np.ones(N, "f4")},
        "particles": {
            "instance": np.array([0]),
            "pid": np.array([2]),
            "probability": np.array([[0.9, 0.1]]),
            "energy_mev": np.array([245.0]),
        },
    }
    *_, listed = drawn(PARTICLES, predicted, true)
    assert listed.branches[0].text == "1: true; predicted muon (90%), energy 245 MeV; overlap 1.00"


def test_numbers_of_points_have_one_scale_and_their_difference_another():
    schema = predicts({"voxels": {"dx_mm": Column(dtype="float32", unit="mm")}})
    values = np.arange(1.0, 7)
    right, found, apart = drawn(schema, {"voxels": {"dx_mm": values + 1}}, {"voxels": {"dx_mm": values}})
    assert (right.value_label, right.value_unit) == (found.value_label, found.value_unit) == ("dx_mm", "mm")
    np.testing.assert_allclose(apart.values, 1)
    assert apart.value_label != right.value_label


WAVES = PartSchema(
    kind="waveform",
    primary="samples",
    tables={
        "samples": {
            "adc": Column(dtype="int16", unit="ADC"),
            "electrons": Column(dtype="float32", label=True),
            "signal_adc": Column(dtype="float32", unit="ADC", label=True),
        },
        "traces": {name: Column(dtype="int32") for name in ("channel", "n_samples", "start_tick")},
    },
    attributes={"sample_ns": 1000.0},
)


@pytest.mark.parametrize(("name", "unit", "height"), [("electrons", "", 40.0), ("signal_adc", "ADC", 100.0)])
@pytest.mark.parametrize("known", [True, False])
def test_waveforms_have_input_truth_and_prediction(name, unit, height, known):
    """Counts of the input's unit share its axis; charge has one of its own, over the same time."""
    traces = {
        "channel": np.array([3]),
        "n_samples": np.array([4]),
        "start_tick": np.array([10]),
        "pedestal_adc": np.array([500.0]),
    }
    adc = np.array([500, 600, 500, 500], np.int16)
    sample = Sample(event_id=1, parts={"charge": {"samples": {"adc": adc}, "traces": traces}})
    column = Column(dtype="float32", unit=unit)
    schema = PartSchema(kind="waveform", primary="samples", tables={"samples": {name: column}})
    true, found = np.array([0, 40, 0, 0], "f4"), np.array([0, 30, 5, 0], "f4")
    panels = answer_panels(
        sample,
        {"charge": {"samples": {name: found}}},
        {"charge": {"samples": {name: true}}} if known else {},
        schemas={"charge": WAVES},
        predictions={"charge": schema},
    )
    words = name.replace("_", " ")
    titles = ["charge: input", f"charge: true {words}", f"charge: predicted {words}"]
    assert [panel.title for panel in panels] == (titles if known else [titles[0], titles[2]])
    np.testing.assert_array_equal(panels[0].lines[0].y[:4], adc - 500)
    np.testing.assert_array_equal(panels[-1].lines[0].y[:4], found)  # above nothing: it has no pedestal
    assert panels[-1].y.title == (f"{words} [{unit}]" if unit else words)
    assert {panel.x_range for panel in panels} == {(10.0, 14.0)}
    assert panels[-1].y_range == (0.0, height if known or unit else 30.0)


def test_a_plane_of_waveforms_is_a_row_of_pictures():
    channels = np.arange(60)
    traces = {
        "channel": channels,
        "n_samples": np.full(60, 2),
        "start_tick": np.zeros(60, int),
        "pedestal_adc": np.zeros(60),
    }
    sample = Sample(event_id=1, parts={"charge": {"samples": {"adc": np.arange(120)}, "traces": traces}})
    schema = PartSchema(
        kind="waveform", primary="samples", tables={"samples": {"electrons": Column(dtype="float32")}}
    )
    values = np.arange(120.0) * 100
    given, right, found = answer_panels(
        sample,
        {"charge": {"samples": {"electrons": 2 * values}}},
        {"charge": {"samples": {"electrons": values}}},
        schemas={"charge": WAVES},
        predictions={"charge": schema},
    )
    assert all(isinstance(panel, Heatmap) for panel in (given, right, found))
    np.testing.assert_allclose(found.values, 2 * right.values)
    assert right.most == found.most  # the truth sets the colours' scale
    assert given.most is None
