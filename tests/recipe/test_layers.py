"""Merging layers: what is left of the lower ones, and which layer each value is said to be from."""

from __future__ import annotations

import pytest

from hepfm.recipe.layers import Layer, merge


def merged(*trees):
    layers = [
        Layer(f"layer{i}", tree, {(key,): f"layer{i}:1" for key in tree}) for i, tree in enumerate(trees)
    ]
    result = merge(layers, lambda _hook, _name: None)
    return result.tree, {".".join(key): label for key, label in result.labels.items()}


@pytest.mark.parametrize(
    ("trees", "tree", "labels"),
    [
        (
            [{"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}],
            {"a": {"x": 1, "y": 3}},
            {"a.x": "layer0", "a.y": "layer1"},
        ),
        ([{"a": {"x": {"y": 1}}}, {"a": 5}], {"a": 5}, {"a": "layer1"}),
        ([{"a": 5}, {"a": {"x": 1}}], {"a": {"x": 1}}, {"a.x": "layer1"}),
        ([{"a": [1, 2]}, {"a": [3]}], {"a": [3]}, {"a": "layer1"}),
        ([{"a": {"x": 1}}, {"a": {}}], {"a": {"x": 1}}, {"a.x": "layer0"}),
        ([{"a": {"x": 1}}, {"a": None}], {"a": None}, {"a": "layer1"}),
        ([{}, {"a": {}}], {"a": {}}, {"a": "layer1"}),
        ([{"a": {}}, {"a": {"x": 1}}], {"a": {"x": 1}}, {"a.x": "layer1"}),
    ],
)
def test_a_later_layer_wins_key_by_key(trees, tree, labels):
    assert merged(*trees) == (tree, labels)


def test_an_inherited_part_is_left_out_by_null_with_what_the_objective_said_of_it():
    parts = {"charge": {"kind": "waveform"}, "light": {"kind": "waveform"}}
    below = {
        "data": {"parts": parts},
        "objective": {"whole": {"charge": 0.1, "light": 0.2}, "first": ["light"]},
    }
    tree, labels = merged(below, {"data": {"parts": {"charge": None}}})
    assert tree["data"]["parts"] == {"light": {"kind": "waveform"}}
    assert tree["objective"] == {"whole": {"light": 0.2}, "first": ["light"]}
    assert not [key for key in labels if "charge" in key]
    own = {"data": {"parts": {"charge": None, "chrge": None}}, "objective": {"whole": {"charge": 0.3}}}
    tree, _ = merged(below, own)
    assert tree["data"]["parts"] == {"light": {"kind": "waveform"}, "chrge": None}  # refused by the schema
    assert tree["objective"]["whole"] == {"charge": 0.3, "light": 0.2}  # refused by the objective


def test_layers_do_not_share_their_values():
    below = {"a": {"x": [1]}}
    merged(below, {"a": {"x": [2], "y": 3}})[0]["a"]["x"].append(4)
    merged(below)[0]["a"]["x"].append(5)
    assert below == {"a": {"x": [1]}}
