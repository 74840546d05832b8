"""A recipe names a reader alone or with options, which are checked, completed and hashed like any component's."""

from __future__ import annotations

import jsonschema
import pytest
import yaml

from hepfm.errors import RecipeError
from hepfm.recipe.json_schema import json_schema
from hepfm.recipe.load import from_dict, load_recipe
from hepfm.recipe.schema import Component


def load(*overrides):
    return load_recipe("toy/hide", overrides)


def test_a_name_alone_stays_a_name():
    data = load("data.reader=store").recipe.data
    assert (data.reader, data.reader_name, data.reader_options) == ("store", "store", {})
    assert (load().recipe.data.reader_name, load().recipe.data.reader_options) == (None, {})


def test_options_are_completed_and_change_the_hash():
    resolved = load("data.reader.name=edepsim", "data.reader.voxel_mm=5")
    data = resolved.recipe.data
    assert isinstance(data.reader, Component)
    assert data.reader_name == "edepsim"
    assert data.reader_options["voxel_mm"] == 5.0
    assert data.reader_options["axes"] == "xyz"
    assert resolved.origins["data.reader.voxel_mm"] == "--set"
    assert resolved.origins["data.reader.axes"] == "default"
    again = from_dict(yaml.safe_load(resolved.yaml()))
    assert (again.recipe, again.hash) == (resolved.recipe, resolved.hash)
    assert load("data.reader.name=edepsim", "data.reader.voxel_mm=4").hash != resolved.hash


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data.reader.name=edepsim", "data.reader.voxl_mm=5"], ["voxl_mm", "did you mean 'voxel_mm'"]),
        (["data.reader.name=edepsim", "data.reader.voxel_mm=0"], ["voxel_mm is 0; wanted: more than 0"]),
        (["data.reader.name=edepsm"], ["edepsm", "did you mean 'edepsim'"]),
        (["data.reader=edepsm"], ["edepsm", "did you mean 'edepsim'"]),
        (["data.reader.voxel_mm=5"], ["data.reader.name is missing"]),
    ],
)
def test_what_is_wrong_is_said_with_a_hint(overrides, words):
    with pytest.raises(RecipeError) as error:
        load(*overrides)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_another_reader_leaves_the_old_ones_options_behind(tmp_path):
    (tmp_path / "low.yaml").write_text(
        "extends: toy/hide\ndata: {reader: {name: edepsim, voxel_mm: 5, axes: zyx}}\n"
    )
    low = str(tmp_path / "low.yaml")
    switched = load_recipe(low, ["data.reader.name=pilarnet"])
    assert switched.recipe.data.reader_options["voxel_mm"] == 5.0  # both have it
    assert "axes" not in switched.recipe.data.reader_options
    assert "whose options axes are dropped" in " ".join(switched.warnings)
    assert load_recipe(low, ["data.reader=pilarnet"]).recipe.data.reader == "pilarnet"


def test_paths_in_options_start_from_the_recipe(tmp_path):
    (tmp_path / "legend.yaml").write_text(
        "extends: toy/hide\ndata: {reader: {name: legend, hit: ./tier_hit}}\n"
    )
    found = load_recipe(str(tmp_path / "legend.yaml")).recipe.data.reader_options
    assert found["hit"] == str(tmp_path / "tier_hit")


def test_the_schema_for_editors_agrees():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    resolved = load("data.reader.name=array", "data.reader.sample_ns=500", "data.reader.planes={U: [0, 9]}")
    for right in (yaml.safe_load(resolved.yaml()), {"data": {"reader": "store"}}, {"data": {"reader": None}}):
        validator.validate(right)
    for wrong in ({"name": "array", "sample_ns": 0}, {"name": "array", "samplens": 1}, 3):
        assert not validator.is_valid({"data": {"reader": wrong}})
