"""A recipe names a generator in place of files: its options are checked, completed and hashed like any component's."""

from __future__ import annotations

import os
from pathlib import Path

import jsonschema
import pytest
import yaml

from hepfm.errors import RecipeError
from hepfm.recipe.json_schema import json_schema
from hepfm.recipe.layers import absolute_data
from hepfm.recipe.load import from_dict, load_recipe
from hepfm.recipe.schema import Generated

pytestmark = pytest.mark.usefixtures("tracks_plugin")
TRAIN = {"generator": "tracks", "events": 100, "muons": 3}


def tree(**data):
    given = load_recipe("toy/hide").recipe.model_dump(mode="json")
    return {**given, "data": {**given["data"], "train": TRAIN, **data}}


def refused(*overrides):
    with pytest.raises(RecipeError) as error:
        load_recipe("toy/hide", overrides)
    return str(error.value)


def test_options_are_completed_and_stay_with_what_stands_beside_them():
    resolved = from_dict(tree(val={**TRAIN, "seed": 2, "first": 7}))
    train, val = resolved.recipe.data.train, resolved.recipe.data.val
    assert isinstance(train, Generated)
    assert (train.generator, train.events, train.seed, train.first) == ("tracks", 100, 1, 0)
    assert train.options()["muons"] == 3
    assert train.options()["noise"] == {"voxels": 3.0, "energy_mev": 0.3}
    assert (val.seed, val.first) == (2, 7)
    again = from_dict(yaml.safe_load(resolved.yaml()))
    assert (again.recipe, again.hash) == (resolved.recipe, resolved.hash)
    assert from_dict(tree(train={**TRAIN, "muons": 4})).hash != from_dict(tree()).hash
    assert resolved.origins["data.train.muons"] == "recipe"
    assert resolved.origins["data.train.grid"] == "default"


def test_what_is_wrong_is_said_with_a_hint():
    start = ("data.train.generator=tracks", "data.train.events=5")
    assert "'tracks'" in refused("data.train.generator=track", "data.train.events=5")
    assert "data.train.events is missing" in refused("data.train.generator=tracks")
    assert "data.train.events is 0; wanted: more than 0" in refused(start[0], "data.train.events=0")
    assert "did you mean 'muons'" in refused(*start, "data.train.muon=2")
    assert "data.train.noise.voxels is -1; wanted: 0.0 or more" in refused(
        *start, "data.train.noise.voxels=-1"
    )
    assert 'data.train.grid is "wide"; wanted: a whole number' in refused(*start, "data.train.grid=wide")
    assert "data.train.generator is missing" in refused("data.train.events=5")


def test_files_and_a_generator_replace_one_another_layer_by_layer(tmp_path):
    (tmp_path / "drawn.yaml").write_text(
        "extends: toy/hide\ndata: {train: {generator: tracks, events: 9, seed: 4}}\n"
    )
    drawn = str(tmp_path / "drawn.yaml")
    assert load_recipe(drawn, ["data.train.events=11"]).recipe.data.train.seed == 4
    assert load_recipe(drawn, ["data.train=sample:train"]).recipe.data.train == "sample:train"
    assert load_recipe(drawn, ["data.train={generator: tracks, events: 3}"]).recipe.data.train.events == 3


def test_options_that_look_like_a_relative_path_start_from_the_recipe(tmp_path, monkeypatch):
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "drawn.yaml").write_text(
        "extends: toy/hide\ndata: {train: {generator: tracks, events: 9, calibration: ./c.txt}}\n"
    )
    (folder / "c.txt").write_text("2.0")
    monkeypatch.chdir(tmp_path)
    assert load_recipe("recipes/drawn.yaml").recipe.data.train.options()["calibration"] == str(
        folder / "c.txt"
    )
    from_the_command = load_recipe("recipes/drawn.yaml", ["data.train.calibration=../d.txt"])
    assert from_the_command.recipe.data.train.options()["calibration"] == os.path.normpath(
        tmp_path / "../d.txt"
    )
    at_home = load_recipe("recipes/drawn.yaml", ["data.train.calibration=~/d.txt"])
    assert at_home.recipe.data.train.options()["calibration"] == str(Path.home() / "d.txt")


def test_the_name_of_a_file_beside_the_recipe_is_a_path(tmp_path, monkeypatch):
    """Wherever it stands among the options; what is no file there, or has no ending, is left as it is."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    for name in ("mine.yaml", "cube", "records.hepmc"):
        (folder / name).write_text("")
    options = (
        "detector: mine.yaml, composition: cube, other: none.yaml, deep: {sources: [{path: records.hepmc}]}"
    )
    given = {"data": {"train": yaml.safe_load(f"{{generator: tracks, events: 9, {options}}}")}}
    monkeypatch.chdir(tmp_path)
    for placed in (absolute_data(given, folder), absolute_data(given, "recipes")):
        train = placed["data"]["train"]
        assert train["detector"] == str(folder / "mine.yaml")
        assert train["deep"]["sources"][0]["path"] == str(folder / "records.hepmc")
        assert (train["generator"], train["composition"], train["other"]) == ("tracks", "cube", "none.yaml")
    assert absolute_data(given, ".") == given, "there are none in the current folder"


def test_settings_without_effect_are_named():
    warnings = " ".join(from_dict(tree(batch_cost=99)).warnings)
    assert "data.batch_cost: no effect on events of a generator" in warnings
    assert from_dict(tree(batch_cost=99, batch_events=8)).warnings == ()
    assert "each rank computes its whole share" not in " ".join(
        from_dict(tree(micro_batch_cost=10**6)).warnings
    )
    assert "data.batch_events: no effect" in " ".join(
        load_recipe("toy/hide", ["data.batch_events=4"]).warnings
    )
    assert not from_dict(tree(batch_events=4)).warnings
    assert "tells nothing about new events" in " ".join(from_dict(tree(val=TRAIN)).warnings)


def test_the_schema_for_editors_agrees(tmp_path):
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(yaml.safe_load(from_dict(tree()).yaml()))
    validator.validate({"extends": "toy/hide", "data": {"val": {"events": 5}}})
    for wrong in (
        {**TRAIN, "muon": 2},
        {**TRAIN, "muons": 0},
        {**TRAIN, "events": 0},
        {**TRAIN, "noise": {"voxels": -1}},
        3,
    ):
        assert not validator.is_valid({"data": {"train": wrong}})
        with pytest.raises(RecipeError):
            from_dict(tree(train=wrong))
    files = schema["$defs"]["Data"]["properties"]["train"]
    assert "Muons of an event." in str(files)
    assert validator.is_valid({"data": {"train": ["a.h5", "b.h5"]}})
