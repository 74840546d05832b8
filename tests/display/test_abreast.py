"""What was visible, hidden and predicted stands side by side, and can be compared by eye."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np

from hepfm.display.abreast import abreast
from hepfm.display.html import write_html
from hepfm.display.panels import Axis, Branch, Heatmap, Line, Lines, PointCloud, Tree

TIME, ADC = Axis("time", "us"), Axis("above pedestal", "ADC")
PLANE = Heatmap(
    title="hidden, U",
    values=np.array([[400.0, -400.0]]),
    x=TIME,
    y=Axis("channel"),
    x_edges=(0.0, 10.0),
    y_edges=(0.0, 5.0),
    value=ADC,
)


def lines(title, x, y):
    return Lines(title=title, lines=[Line("channel 1", np.array(x), np.array(y))] if x else [], x=TIME, y=ADC)


def test_a_plane_is_a_row_on_the_same_axes_and_scale():
    predicted = replace(PLANE, title="predicted, U", values=np.array([[1.0, 900.0]]), y_edges=(3.0, 8.0))
    other = replace(PLANE, title="hidden, V", values=np.zeros((2, 2)))
    panels = abreast({"visible": [], "hidden": [PLANE, other], "predicted": [predicted]})
    assert [p.title for p in panels[:3]] == ["visible, U", "hidden, U", "predicted, U"]
    assert [p.title for p in panels[3:]] == ["visible, V", "hidden, V (0 everywhere)", "predicted, V"]
    empty, hidden, answer = panels[:3]
    assert isinstance(empty, Lines)  # axes, and nothing on them
    assert hidden.x_range == answer.x_range == (0, 10)
    assert hidden.y_range == answer.y_range == (0, 8)
    assert hidden.most == answer.most == 400  # the truth's: what is far off is clipped


def test_curves_and_points_and_lists():
    rows = abreast(
        {
            "a": [lines("a", [0, 1], [5.0, np.nan]), Tree(title="a, list", branches=[])],
            "b": [
                lines("b", [3, 4], [-2.0, 9.0]),
                Tree(title="b, list", branches=[Branch(depth=0, text="mu")]),
            ],
            "c": [lines("c", [], [])],
        }
    )
    assert [p.x_range for p in rows[:3]] == [(0, 4)] * 3
    assert [p.y_range for p in rows[:3]] == [(-2, 9)] * 3
    assert [p.branches[0].text for p in rows[3:]] == ["nothing", "mu", "nothing"]
    cloud = PointCloud(title="a", xyz=np.ones((2, 3)), unit="mm", values=np.ones(2), value_label="energy")
    points = abreast({"a": [cloud], "b": []})
    assert [len(p.xyz) for p in points] == [2, 0]


def test_the_page_has_the_ranges_and_says_nothing_where_nothing_is(tmp_path):
    panels = abreast({"hidden": [PLANE], "predicted": []})
    write_html(panels, tmp_path / "event.html", in_a_row=2)
    text = (tmp_path / "event.html").read_text()
    drawn = json.loads(re.search(r'<script id="panels"[^>]*>(.*?)</script>', text, re.DOTALL)[1])
    assert [panel["title"] for panel in drawn] == ["hidden, U", "predicted, U (nothing)"]
    assert [panel["axes"][0]["range"] for panel in drawn] == [[0, 10], [0, 10]]
    assert {panel["inARow"] for panel in drawn} == {2}
