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


def test_layers_do_not_share_their_values():
    below = {"a": {"x": [1]}}
    merged(below, {"a": {"x": [2], "y": 3}})[0]["a"]["x"].append(4)
    merged(below)[0]["a"]["x"].append(5)
    assert below == {"a": {"x": [1]}}
