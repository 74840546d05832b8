"""Particles as a tree: children below the one that made them."""

from __future__ import annotations

import numpy as np

from hepfm.api import ClassName, Column, PartSchema
from hepfm_structured.display import panels

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
