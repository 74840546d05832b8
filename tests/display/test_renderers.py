"""The files that are drawn: the HTML holds the points and needs nothing else; the PNG shows their colours."""

from __future__ import annotations

import base64
import gzip
import json
import re
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from plotly.offline import get_plotlyjs

from hepfm.api import ClassName
from hepfm.display.html import write_html
from hepfm.display.panels import Axis, Branch, Heatmap, Line, Lines, PointCloud, Tree
from hepfm.display.png import _column_lines, _draw_tree, write_png
from hepfm.display.scene import cells

WORDS = (
    ClassName(value=0, name="shower", colour="#E69F00"),
    ClassName(value=1, name="track", colour="#0072B2"),
)
XYZ = np.random.default_rng(1).uniform(-500, 500, (60, 3))
ENERGY = np.geomspace(0.1, 20, 60)


def two_panels() -> list[PointCloud]:
    return [
        PointCloud(title="energy", xyz=XYZ, unit="mm", values=ENERGY, value_label="energy", value_unit="MeV"),
        PointCloud(
            title="class", xyz=XYZ, unit="mm", classes=np.arange(60) % 2, vocabulary=WORDS, point_size=6
        ),
    ]


def script(page: str, name: str) -> str:
    return re.search(rf'<script id="{name}"[^>]*>(.*?)</script>', page, re.DOTALL)[1]


def numbers(packed: dict[str, str]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed["bdata"]), "<f4")


def test_the_page_holds_the_points_with_their_values(tmp_path):
    path = tmp_path / "event.html"
    write_html(two_panels(), path, "an event")
    energy, classes = json.loads(script(path.read_text(), "panels"))
    (trace,) = energy["traces"]
    for axis, column in zip("xyz", XYZ.T, strict=True):
        np.testing.assert_allclose(numbers(trace[axis]), column, rtol=1e-6)
    np.testing.assert_allclose(numbers(trace["customdata"]), ENERGY, rtol=1e-6)
    np.testing.assert_allclose(10 ** numbers(trace["marker"]["color"]), ENERGY, rtol=1e-5)
    bar = trace["marker"]["colorbar"]
    assert bar["title"]["text"] == "energy [MeV]"
    assert (
        [f"{10**value:.3g}" for value in bar["tickvals"]]
        == bar["ticktext"]
        == ["0.1", "0.2", "0.5", "1", "2", "5", "10", "20"]
    )
    assert "%{customdata:.3g} MeV" in trace["hovertemplate"]
    assert "z %{z:.4g} mm" in trace["hovertemplate"]
    assert [axis["title"] for axis in energy["axes"]] == ["x [mm]", "y [mm]", "z [mm]"]
    assert [(t["name"], t["marker"]["color"]) for t in classes["traces"]] == [
        (w.name, w.colour) for w in WORDS
    ]
    assert energy["axes"] == classes["axes"]


def test_the_page_needs_nothing_else(tmp_path):
    path = tmp_path / "event.html"
    write_html(two_panels(), path)
    page = path.read_text()
    assert gzip.decompress(base64.b64decode(script(page, "plotly"))).decode() == get_plotlyjs()
    assert not re.search(r"(src|href)\s*=|@import|url\(|fetch\(|import\(", page)
    assert path.stat().st_size < 2_500_000
    assert [file.name for file in tmp_path.iterdir()] == ["event.html"]


def test_titles_cannot_become_markup(tmp_path):
    path = tmp_path / "event.html"
    evil = "</script><script>alert(1)</script>@PANELS@"
    cloud = PointCloud(
        title=evil, xyz=XYZ, unit=evil, classes=np.zeros(60), vocabulary=(ClassName(value=0, name=evil),)
    )
    write_html([cloud], path, evil)
    page = path.read_text()
    assert "<script>alert" not in page
    (panel,) = json.loads(script(page, "panels"))
    assert panel["title"] == evil
    assert "<" not in panel["traces"][0]["name"]


@pytest.mark.parametrize("write", [write_html, write_png])
def test_events_without_points_or_with_odd_values_are_drawn(tmp_path, write):
    none = PointCloud(title="none", xyz=np.zeros((0, 3)), unit="mm", values=np.zeros(0), value_label="energy")
    one = PointCloud(
        title="one", xyz=np.zeros((1, 3)), unit="mm", values=np.array([0.0]), value_label="energy"
    )
    odd = PointCloud(
        title="odd", xyz=XYZ[:3], unit="mm", values=np.array([np.nan, -1, np.inf]), value_label="energy"
    )
    for panels in ([none], [one], [odd], [none, one, odd]):
        write(panels, tmp_path / "out", "odd")
        assert (tmp_path / "out").stat().st_size > 1000


def test_the_picture_shows_each_class_in_its_colour(tmp_path):
    path = tmp_path / "event.png"
    write_png(two_panels(), path, "an event")
    pixels = (imread(path)[..., :3] * 255).round().astype(int)
    assert pixels.shape[1] > 1.8 * pixels.shape[0]
    left, right = np.array_split(pixels, 2, axis=1)

    def drawn(picture, colour: str) -> int:
        return int((picture == [int(colour[i : i + 2], 16) for i in (1, 3, 5)]).all(-1).sum())

    for word in WORDS:
        assert drawn(right, word.colour) > 100
        assert drawn(left, word.colour) < 20


def heatmap(values) -> Heatmap:
    return Heatmap(
        title="plane U",
        values=np.asarray(values, float),
        x=Axis("time", "us"),
        y=Axis("channel"),
        x_edges=(0.0, 10.0),
        y_edges=(-0.5, len(values) - 0.5),
        value=Axis("above pedestal", "ADC"),
    )


def flat_panels() -> list[Heatmap | Lines | Tree]:
    line = Line("channel 3", np.arange(5.0), np.array([0, 1, np.nan, 3, 4.0]))
    return [
        heatmap([[0, 5.0, np.nan, -10], [1, 2, 3, 4]]),
        Lines(title="light", lines=[line], x=Axis("time", "us"), y=Axis("ADC")),
        Tree(
            title="truth",
            branches=[Branch(depth=0, text="mu-", colour="#0072B2"), Branch(depth=1, text="e- <Michel>")],
        ),
    ]


def test_axes_in_space_have_as_many_numbers_as_there_is_room_and_scales_no_powers_of_ten(
    tmp_path, monkeypatch
):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path: (drawn.append(self), path.touch()))
    flat = PointCloud(
        title="flat", xyz=XYZ * (1, 0.1, 1), unit="mm", values=ENERGY, value_label="energy", value_unit="MeV"
    )
    write_png([flat], tmp_path / "flat.png")
    axes, bar = drawn[0].axes
    drawn[0].canvas.draw()
    inside = {
        name: sum(low <= at <= high for at in getattr(axes, f"get_{name}ticks")())
        for name in "xyz"
        for low, high in [getattr(axes, f"get_{name}lim")()]
    }
    assert {inside["x"], inside["z"]} <= {3, 4, 5}
    assert 1 <= inside["y"] <= 3, "a tenth as long"
    numbers = [label.get_text() for label in bar.get_yticklabels(which="both")]
    assert {"0.1", "1", "10"} <= set(numbers)
    assert not any("e" in number or "$" in number for number in numbers)


def test_the_page_holds_pictures_over_time_curves_and_trees(tmp_path):
    write_html([*two_panels(), *flat_panels()], tmp_path / "event.html", "an event")
    text = (tmp_path / "event.html").read_text()
    *_, picture, curves, tree = json.loads(script(text, "panels"))
    (heat,) = picture["traces"]
    np.testing.assert_array_equal(
        numbers(heat["z"]).reshape(2, 4), np.float32([[0, 5, np.nan, -10], [1, 2, 3, 4]])
    )
    assert heat["z"]["shape"] == "2, 4"
    assert (heat["x0"], heat["dx"], heat["y0"], heat["dy"]) == (1.25, 2.5, 0.0, 1.0)
    assert heat["zmax"] == -heat["zmin"] == pytest.approx(10, rel=0.05)
    assert [axis["title"] for axis in picture["axes"]] == ["time [us]", "channel"]
    np.testing.assert_array_equal(numbers(curves["traces"][0]["y"]), np.float32([0, 1, np.nan, 3, 4]))
    assert tree["lines"] == [[0, "mu-", "#0072B2"], [1, "e- <Michel>", ""]]
    assert "<Michel>" not in text  # it is data, not a tag


def test_a_large_picture_keeps_what_is_farthest_from_zero():
    values = np.random.default_rng(1).normal(0, 1, (700, 5000))
    values[321, 1234], values[555, 4999] = 90.0, -80.0
    values[:, 3000:3010] = np.nan
    drawn = cells(heatmap(values))[0].values
    assert drawn.shape == (350, 1000)
    assert drawn[321 // 2, 1234 // 5] == 90
    assert drawn[555 // 2, 4999 // 5] == -80
    assert np.isnan(drawn[:, 600:602]).all()
    assert not np.isnan(drawn[:, :600]).any()


@pytest.mark.parametrize("shape", [(700, 5000), (701, 5003), (1023, 1025), (512, 1024)])
def test_each_cell_of_a_large_picture_lies_over_what_it_was_made_of(shape):
    """A spot is drawn within a cell's size of where it is, also where cells do not come out even."""
    for row, column in ((0, 0), (shape[0] - 1, shape[1] - 1), (shape[0] - 2, shape[1] - 7)):
        values = np.zeros(shape)
        values[row, column] = 1.0
        panel = heatmap(values)
        drawn, _ = cells(panel)
        ((k, m),) = np.argwhere(drawn.values == 1.0)
        for at, place, n, count, new, old in (
            (k, row, shape[0], drawn.values.shape[0], drawn.y_edges, panel.y_edges),
            (m, column, shape[1], drawn.values.shape[1], drawn.x_edges, panel.x_edges),
        ):
            middle = old[0] + (place + 0.5) * (old[1] - old[0]) / n
            size = (new[1] - new[0]) / count
            assert new[0] + at * size < middle < new[0] + (at + 1) * size


def test_a_picture_without_values_has_a_scale():
    assert cells(heatmap(np.full((2, 3), np.nan)))[1] == 1
    assert cells(heatmap(np.zeros((2, 3))))[1] == 1


def test_the_png_has_a_place_for_each_panel(tmp_path):
    write_png([*two_panels(), *flat_panels()], tmp_path / "event.png", "an event")
    height, width, _ = imread(tmp_path / "event.png").shape
    assert width == pytest.approx(4 * 6 * 110, abs=2)  # four in a row
    tree = 0.15 * (2 + 3)  # two lines below them, and their title
    assert height == pytest.approx((5.2 + tree + 0.4) * 110, abs=2)


@pytest.mark.parametrize(("lines", "width"), [(3, 8.0), (61, 12.0), (60, 24.0), (200, 24.0)])
def test_the_lines_of_a_tree_neither_overlap_nor_leave_the_picture(lines, width):
    texts = [f"gamma, interaction {k}, momentum " + "(0.01234, -1.2345) " * (k % 9) for k in range(lines)]
    tree = Tree(title="truth", branches=[Branch(depth=k % 8, text=text) for k, text in enumerate(texts)])
    figure = Figure(figsize=(width, 0.15 * _column_lines(tree, width)), dpi=110)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    _draw_tree(axes, tree, width)
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in axes.texts]
    assert len(boxes) == min(lines, 61)
    assert all(box.x0 >= 0 and box.x1 <= width * 110 for box in boxes)
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
