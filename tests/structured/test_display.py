"""Objects where they are, and as a tree: children below the one that made them."""

from __future__ import annotations

import numpy as np
import pytest

from hepfm.api import ClassName, Column, PartSchema
from hepfm.display.panels import Heatmap, PointCloud, Tree
from hepfm_structured.display import panels
from hepfm_structured.schema import field, part_schema

SCHEMA = PartSchema(
    kind="structured",
    primary="particles",
    tables={
        "particles": {
            "parent": Column(dtype="int32"),
            "pdg": Column(dtype="int32"),
            "semantic": Column(dtype="int8", vocabulary="semantic"),
            "energy_mev": Column(dtype="float32", unit="MeV"),
            "momentum_gev": Column(dtype="float32", shape=(3,), unit="GeV/c"),
        }
    },
    vocabularies={
        "semantic": (ClassName(value=1, name="track", colour="#0072B2"), ClassName(value=2, name="Michel"))
    },
)


def test_children_stand_below_their_parents_with_units_and_names():
    rows = {
        "parent": np.array([-1, -1, 0, 2]),
        "pdg": np.array([211, 2212, -13, -11]),
        "semantic": np.array([1, 1, 1, 2]),
        "energy_mev": np.array([210.0, 55.5, 4.12, 33.0]),
        "momentum_gev": np.zeros((4, 3)),
    }
    (tree,) = panels({"particles": rows}, SCHEMA, title="truth")
    assert [branch.depth for branch in tree.branches] == [0, 1, 2, 0]
    assert tree.branches[0].text == "pi+, track, energy 210 MeV, momentum (0, 0, 0) GeV/c"
    assert [branch.text.split(",")[0] for branch in tree.branches] == ["pi+", "mu+", "e+", "p"]
    assert [branch.colour for branch in tree.branches] == ["#0072B2", "#0072B2", "", "#0072B2"]


def test_no_objects_are_an_empty_tree():
    empty = {name: np.zeros((0, *column.shape)) for name, column in SCHEMA.tables["particles"].items()}
    (tree,) = panels({"particles": empty}, SCHEMA)
    assert tree.branches == []


def test_every_row_is_shown_whatever_its_parent():
    schema = PartSchema(
        kind="structured",
        primary="rows",
        tables={"rows": {"parent": Column(dtype="int32"), "number": Column(dtype="int64")}},
    )
    # Below the first, by itself, below one that is not there, below itself, below each other.
    rows = {"parent": np.array([-1, 0, 99, -5, 4, 6, 5]), "number": np.arange(123456, 123463)}
    (tree,) = panels({"rows": rows}, schema)
    shown = {branch.text: branch.depth for branch in tree.branches}
    assert len(tree.branches) == len(shown) == 7
    depths = [0, 1, 0, 0, 0, 0, 1]
    assert shown == {f"number {123456 + row}": depth for row, depth in enumerate(depths)}


def test_a_jet_is_a_plane_a_list_and_what_belongs_to_it():
    schema = part_schema(
        {
            "pt": field("float32", "positive", unit="GeV"),
            "deta": field("float32", "continuous"),
            "dphi": field("float32", "continuous"),
            "charge": field("int8", "categorical", vocabulary="charge"),
        },
        {
            "mass": field("float32", "positive", unit="GeV"),
            "kind": field("int8", vocabulary="kind", label=True),
        },
        vocabularies={"kind": (ClassName(value=0, name="QCD"), ClassName(value=1, name="top"))},
    )
    rows = {
        "pt": np.array([9.0, 16.0, 100.0]),
        "deta": np.array([0.01, 0.01, -0.39]),
        "dphi": np.array([0.21, 0.21, 0.0]),
        "charge": np.array([1, -1, 0]),
    }
    plane, rows_listed, event = panels(
        {"particles": rows, "event": {"mass": np.array([172.5])}},
        schema,
        labels={"event": {"kind": np.array([1])}},
        title="jet",
    )
    assert isinstance(plane, Heatmap)
    assert isinstance(rows_listed, Tree)
    # Cells of 0.04: two particles share one, whose value is the root of their sum.
    filled = {
        (int(i), int(j)): v for i, j in np.argwhere(np.isfinite(plane.values)) for v in [plane.values[i, j]]
    }
    assert filled == {(30, 25): 5.0, (25, 15): 10.0}
    assert plane.x_edges == plane.y_edges == (-1.0, 1.0)
    assert [branch.text for branch in event.branches] == ["mass 172.5 GeV", "kind: top"]
    assert rows_listed.branches[0].text == "pt 9 GeV, deta 0.01, dphi 0.21, +1"


def test_fields_that_are_hidden_one_by_one_are_left_out():
    """Where single fields are units, the hidden ones are NaN, and integers floating-point."""
    rows = {
        "parent": np.array([-1.0, np.nan]),
        "pdg": np.array([np.nan, 2212.0]),
        "semantic": np.array([1.0, np.nan]),
        "energy_mev": np.array([np.nan, 55.5]),
        "momentum_gev": np.full((2, 3), np.nan),
    }
    (tree,) = panels({"particles": rows}, SCHEMA)
    assert [branch.text for branch in tree.branches] == ["track", "p, energy 55.5 MeV"]
    schema = part_schema({"n": field("int16", "continuous")}, {"m": field("int64", "continuous")})
    listed, event = panels({"particles": {"n": np.array([7.0])}, "event": {"m": np.array([np.nan])}}, schema)
    assert [branch.text for branch in listed.branches] == ["n 7"]
    assert event.branches == []


def test_azimuth_wraps_and_what_is_not_finite_is_left_out():
    schema = part_schema({n: field("float32", "continuous") for n in ("pt", "eta", "phi")})
    rows = {
        "pt": np.ones(3),
        "eta": np.array([0.0, 0.0, np.nan]),
        "phi": np.array([-1.5, 2 * np.pi - 1.5, 0]),
    }
    plane, _ = panels({"particles": rows}, schema)
    assert np.nansum(plane.values**2) == pytest.approx(2)
    assert np.isfinite(plane.values).sum() == 1


def test_hits_are_points_and_pixels_are_an_image():
    hits = part_schema({n: field("float32", "continuous", unit="mm") for n in "xyz"}, primary="hits")
    (cloud,) = panels({"hits": {"x": np.arange(3.0), "y": np.zeros(3), "z": np.ones(3)}}, hits)
    assert isinstance(cloud, PointCloud)
    assert cloud.unit == "mm"
    assert cloud.xyz.tolist() == [[0, 0, 1], [1, 0, 1], [2, 0, 1]]
    pixels = part_schema(
        {n: field("float32", "continuous") for n in ("x", "y", "value")}, primary="pixels", grid=[4, 6]
    )
    # Predicted pixels are numbers that lie where they like.
    rows = {
        "x": np.array([3.0, 0.2, 9.0]),
        "y": np.array([5.0, 1.9, 0.0]),
        "value": np.array([7.0, 2.0, 1.0]),
    }
    (image,) = panels({"pixels": rows}, pixels)
    assert isinstance(image, Heatmap)
    assert image.values.shape == (4, 6)
    assert image.values[3, 5] == 7
    assert image.values[0, 2] == 2
    assert np.isfinite(image.values).sum() == 2
