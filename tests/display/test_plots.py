"""Plots of summed statistics say what the numbers say."""

from __future__ import annotations

import numpy as np
import pytest

from hepfm.display.html import write_html
from hepfm.display.panels import Axis, Matrix
from hepfm.display.plots import (
    against_panels,
    axis_named,
    confusion_panel,
    histogram_panel,
    reliability_panel,
    roc_panel,
    within_panel,
)
from hepfm.display.png import write_png
from hepfm.metrics.calibration import reliability
from hepfm.metrics.residuals import histogram, logarithmic, residual_figures, two_sided

EDGES = two_sided(1e-4, 1e3, per_decade=30)


def counts(values, edges):
    return histogram(values, np.zeros(len(values), int), 1, edges)[0]


def test_residuals_are_drawn_as_the_density_that_they_have():
    """Against the normal distribution that they are drawn from, to a few per cent of its height."""
    values = np.random.default_rng(1).normal(0.3, 0.2, 200_000)
    panel = histogram_panel(counts(values, EDGES), EDGES, Axis("predicted - true", "GeV"), title="p")
    (line,) = panel.lines
    middle, width = (line.x[::2] + line.x[1::2]) / 2, line.x[1::2] - line.x[::2]
    density = line.y[::2]
    assert (density * width).sum() == pytest.approx(1, abs=1e-3)
    wanted = np.exp(-0.5 * ((middle - 0.3) / 0.2) ** 2) / (0.2 * np.sqrt(2 * np.pi))
    assert np.abs(density - wanted).max() < 0.06 * wanted.max()
    assert panel.title == "p: median 0.3 GeV, resolution 0.2 GeV"
    assert panel.y.title == "density [1/GeV]"


@pytest.mark.parametrize(
    "values", [(-0.5, 0.5), (0.1, 0.2, 0.3, 0.4), (-3.0, 0.0, 2.0, 2.0), (1e9, 2.0, -1e9)]
)
def test_the_title_says_of_few_events_what_the_figures_say(values):
    """Of an even number the median is anywhere between two values: plot and figure take the same one."""
    told = residual_figures(counts(np.array(values), EDGES), EDGES)
    panel = histogram_panel(counts(np.array(values), EDGES), EDGES, Axis("x"), title="p")
    assert panel.title.startswith(f"p: median {told['bias']:.3g}, resolution {told['resolution']:.3g}")


def test_pulls_are_beside_a_normal_distribution_and_far_ones_are_told():
    values = np.concatenate([np.random.default_rng(1).normal(0, 1, 900), np.full(100, 50.0)])
    panel = histogram_panel(counts(values, EDGES), EDGES, Axis("pull"), title="pulls", normal=True)
    assert panel.title.endswith("10.0% outside")
    assert [line.look for line in panel.lines] == ["line", "reference"]
    assert panel.lines[1].y.max() == pytest.approx(1 / np.sqrt(2 * np.pi), rel=0.01)
    nothing = histogram_panel(counts(values[:0], EDGES), EDGES, Axis("pull"), title="pulls")
    assert not nothing.lines


def test_the_share_within_a_distance_is_that_of_the_distances():
    distance = np.random.default_rng(2).exponential(20.0, 5000)
    edges = logarithmic(1e-2, 1e5, per_decade=30)
    panel = within_panel(counts(distance, edges), edges, Axis("distance", "mm"), title="found")
    line = panel.lines[0]
    for at, share in zip(line.x, line.y, strict=True):
        assert share == pytest.approx((distance < at).mean())
    assert line.y[-1] == 1
    assert [each.name for each in panel.lines[1:]] == ["50%", "68%"]
    assert not within_panel(counts(distance[:0], edges), edges, Axis("distance"), title="found").lines


def test_calibration_is_how_often_a_prediction_is_right():
    probability = np.array([[0.95, 0.05], [0.9, 0.1], [0.3, 0.7], [0.91, 0.09]])
    truth = np.array([0, 1, 1, -1])
    panel = reliability_panel(reliability(probability, truth, np.zeros(4, int), 1)[0])
    right, share, same = panel.lines
    np.testing.assert_allclose(right.x, [0.7, 0.9, 0.95])
    np.testing.assert_allclose(right.y, [1, 0, 1])
    np.testing.assert_allclose(share.y, 1 / 3)
    assert same.look == "reference"


def test_a_confusion_is_told_by_the_share_of_the_true_class():
    panel = confusion_panel(np.array([[3.0, 1], [0, 0]]), ["a", "b"])
    np.testing.assert_array_equal(panel.shares, [[0.75, 0.25], [np.nan, np.nan]])
    assert (panel.y.title, panel.x.title) == ("true class", "predicted class")
    with pytest.raises(ValueError, match="not"):
        Matrix(title="m", counts=np.ones((2, 3)), rows="ab", columns="ab", x=Axis(""), y=Axis(""))


def test_figures_in_bins_are_drawn_against_what_the_bins_are_of():
    """Names are read back as heads write them; those of classes share a panel, open bins keep an edge."""
    figures = {
        "macro_f1": {"value": 0.5},
        "macro_f1/vertex_mm/0-10": {"value": 0.4, "low": 0.3, "high": 0.5},
        "macro_f1/vertex_mm/10-100": {"value": 0.6, "low": 0.5, "high": 0.7},
        "f1/track/momentum_gev/0.1-1e+03": {"value": 0.8},
        "f1/track/momentum_gev/0.01-0.1": {"value": 0.7},
        "f1/shower/momentum_gev/0.01-0.1": {"value": 0.2},
        "bias/x/-2--1e-05": {"value": 1.0},
        "bias/x/-1e-05-inf": {"value": 2.0},
        "recall/shower": {"value": 0.1},
    }
    macro, f1, bias = against_panels(figures)
    (line,) = macro.lines
    assert (macro.title, macro.x.title, macro.log_x) == ("macro f1 against vertex", "vertex [mm]", False)
    assert (line.x.tolist(), line.y.tolist()) == ([5, 55], [0.4, 0.6])
    np.testing.assert_allclose(line.band, [[0.3, 0.5], [0.5, 0.7]])
    assert f1.log_x
    track, shower = f1.lines
    assert [track.name, shower.name] == ["track", "shower"]
    np.testing.assert_allclose(track.x, [np.sqrt(1e-3), 10])
    assert track.band is None
    assert track.marked
    np.testing.assert_allclose(bias.lines[0].x, [-1.000005, -1e-5])


def test_units_are_at_the_end_of_names():
    assert axis_named("momentum_gev") == Axis("momentum", "GeV")
    assert axis_named("n_points") == Axis("n points")
    assert axis_named("mm") == Axis("mm")


def test_all_are_drawn(tmp_path):
    panels = [
        confusion_panel(np.arange(9.0).reshape(3, 3), ["a", "b<", "c"]),
        roc_panel({"a": (np.array([0.0, 0.2, 1]), np.array([0.0, 0.9, 1]))}),
        confusion_panel(np.zeros((12, 12)), [str(k) for k in range(12)]),
    ]
    write_html(panels, tmp_path / "plots.html")
    write_png(panels, tmp_path / "plots.png")
    text = (tmp_path / "plots.html").read_text()
    assert "33.3%\\u003cbr>1" in text  # of the first row, 0 1 2
    assert "b&lt;" in text
