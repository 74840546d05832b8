"""What is drawn of panels: one box, common scales, legends, and thinning of very large events."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hepfm.api import ClassName
from hepfm.display.panels import PointCloud
from hepfm.display.scene import GREY, box, layers, scale


def cloud(xyz, **more) -> PointCloud:
    return PointCloud(title="t", xyz=np.asarray(xyz, dtype=float).reshape(-1, 3), unit="mm", **more)


@given(st.lists(arrays(np.float64, (4, 3), elements=st.floats(-1e4, 1e4)), min_size=1, max_size=3))
def test_the_box_holds_all_panels_and_is_nowhere_flat(clouds):
    low, high = box([cloud(xyz) for xyz in clouds])
    points = np.concatenate(clouds)
    assert (points >= low).all()
    assert (points <= high).all()
    assert (high - low).min() >= 0.0499 * (high - low).max()


def test_the_box_of_nothing_is_a_box():
    low, high = box([cloud([])])
    assert (low < high).all()


def test_panels_of_one_value_share_a_scale_and_others_do_not():
    energy = [
        cloud(np.zeros((2, 3)), values=np.array(v), value_label="energy") for v in ([0.0, 2.0], [5.0, np.nan])
    ]
    time = cloud(np.zeros((2, 3)), values=np.array([-3.0, 9.0]), value_label="time", log=False)
    panels = [*energy, time]
    assert scale(energy[0], panels) == scale(energy[1], panels) == (2.0, 5.0)
    assert scale(time, panels) == (-3.0, 9.0)


@pytest.mark.parametrize("log", [True, False])
def test_a_scale_has_a_width(log):
    panel = cloud(np.zeros((1, 3)), values=np.array([2.0]), log=log)
    first, last = scale(panel, [panel])
    assert first < 2.0 < last
    nothing = cloud([], values=np.array([]), log=log)
    assert scale(nothing, [nothing]) == (0.1, 1.0)


def test_classes_have_their_colours_and_unknown_ones_are_named():
    words = (ClassName(value=0, name="shower", colour="#E69F00"), ClassName(value=1, name="track"))
    shown = layers(cloud(np.arange(12), classes=np.array([1, 7, 0, 1]), vocabulary=words))
    assert [(layer.name, len(layer.xyz)) for layer in shown] == [("shower", 1), ("track", 2), ("class 7", 1)]
    assert shown[0].colour == "#E69F00"
    assert shown[2].colour == GREY
    np.testing.assert_array_equal(shown[1].xyz, [[0, 1, 2], [9, 10, 11]])


def test_what_is_not_finite_is_shown_apart():
    coloured, apart = layers(
        cloud(np.arange(9), values=np.array([1.0, np.nan, np.inf]), value_label="energy")
    )
    assert coloured.values.tolist() == [1.0]
    assert (apart.name, len(apart.xyz)) == ("energy not finite", 2)


def test_very_many_points_are_thinned_and_the_legend_says_so():
    (layer,) = layers(cloud(np.zeros((600_001, 3)), values=np.arange(600_001.0)))
    assert layer.name == "(1 of 4 points)"
    assert layer.values.tolist() == list(range(0, 600_001, 4))


@pytest.mark.parametrize(
    "wrong",
    [
        {"xyz": np.zeros((3, 2))},
        {"values": np.zeros(2)},
        {"classes": np.zeros((3, 1))},
        {"values": np.zeros(3), "classes": np.zeros(3)},
    ],
)
def test_panels_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="'t'"):
        PointCloud(**{"title": "t", "xyz": np.zeros((3, 3)), "unit": "mm"} | wrong)
