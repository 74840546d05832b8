"""Loading: merging, components completed, origins, paths, hash, and that a resolved recipe loads to itself."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hepfm.errors import PluginError, RecipeError
from hepfm.recipe.components import config_of
from hepfm.recipe.load import as_written, from_dict, load_recipe
from hepfm.recipe.schema import Component, Part

MINIMAL = {
    "name": "minimal",
    "data": {"train": "sample:train", "parts": {"charge": {"kind": "toy-image"}}},
    "model": {"backbone": {"name": "toy-mixer"}},
    "objective": {"name": "toy-hide"},
}
ONCE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_named_recipe_is_completed():
    resolved = load_recipe("toy/hide")
    backbone = resolved.recipe.model.backbone
    assert (backbone.name, backbone.options()) == (
        "toy-mixer",
        {"width": 64, "drop_path": 0.1, "size": "tiny"},
    )
    charge = resolved.recipe.data.parts["charge"]
    assert charge.options() == {"cell": 4, "cut": {"min_energy_mev": 0.13}, "grid": [8, 8, 8]}
    assert resolved.recipe.train.steps == 200
    assert resolved.recipe.train.learning_rate == 1e-3
    assert resolved.warnings == ()


def test_origins_say_where_each_value_is_from():
    resolved = load_recipe("toy/hide-more", ["train.steps=300", "data.parts.charge.cut.min_energy_mev=0.2"])
    assert resolved.recipe.objective.options() == {"share": 0.9}
    origins = resolved.origins
    assert origins["train.learning_rate"] == origins["objective.share"] == "toy/hide-more"
    assert origins["train.warmup_steps"].endswith("hide.yaml")
    assert origins["train.steps"] == origins["data.parts.charge.cut.min_energy_mev"] == "--set"
    assert origins["train.betas"] == origins["model.backbone.size"] == origins["deepspeed"] == "default"


def test_overrides_take_yaml_values_and_the_last_one_wins():
    recipe = load_recipe(
        "toy/hide",
        [
            "train.learning_rate=2e-3",
            "train={steps: 50, warmup_steps: 5}",
            "train.steps=60",
            "seed=7",
            "data.val=null",
            "deepspeed.zero_optimization.stage=2",
            "name=20261123",
        ],
    ).recipe
    assert recipe.train.learning_rate == 0.002
    assert (recipe.train.steps, recipe.train.warmup_steps, recipe.seed) == (60, 5, 7)
    assert recipe.data.val is None
    assert recipe.deepspeed == {"zero_optimization": {"stage": 2}}
    assert recipe.name == "20261123"


@ONCE
@given(
    rate=st.floats(1e-12, 1e3),
    steps=st.integers(1000, 10**9),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**63),
)
def test_any_number_on_the_command_line_arrives_as_it_is(rate, steps, share, seed):
    values = {"train.learning_rate": rate, "train.steps": steps, "objective.share": share, "seed": seed}
    overrides = [f"{key}={value!r}" for key, value in values.items()]
    resolved = load_recipe("toy/hide", [*overrides, "train.final_learning_rate=0"])
    assert resolved.recipe.train.learning_rate == rate
    assert (resolved.recipe.train.steps, resolved.recipe.seed) == (steps, seed)
    assert resolved.recipe.objective.options() == {"share": share}
    assert {resolved.origins[key] for key in values} == {"--set"}


@ONCE
@given(
    summary=st.text(st.characters(exclude_categories=["Cs"])),
    name=st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,79}\Z"),
    rate=st.floats(1e-12, 1),
    stage=st.sampled_from([0, 1, 2, 3]),
    val=st.sampled_from([None, "sample:val", ["a b.h5", "*.h5", "#1.h5", "sample:val"]]),
)
def test_a_resolved_recipe_loads_back_to_itself_from_anywhere(tmp_path, summary, name, rate, stage, val):
    first = from_dict(
        MINIMAL
        | {"summary": summary, "name": name, "deepspeed": {"zero_optimization": {"stage": stage}}}
        | {"data": MINIMAL["data"] | {"val": val}}
        | {"train": {"learning_rate": rate, "final_learning_rate": 0}}
    )
    again = load_recipe(write(tmp_path / "recipe.yaml", first.yaml()))
    assert again.recipe == first.recipe
    assert again.hash == first.hash
    assert again.yaml() == first.yaml()
    assert from_dict(json.loads(json.dumps(first.recipe.model_dump(mode="json")))).recipe == first.recipe


def shuffled(tree, random):
    items = list(tree.items())
    random.shuffle(items)
    return {key: shuffled(value, random) if isinstance(value, dict) else value for key, value in items}


@ONCE
@given(st.randoms(use_true_random=False))
def test_the_hash_does_not_depend_on_the_order_of_keys(random):
    tree = load_recipe("toy/hide").recipe.model_dump(mode="json")
    assert from_dict(shuffled(tree, random)).hash == from_dict(tree).hash


def test_the_hash_is_sha256_of_sorted_json_without_what_changes_no_numbers():
    resolved = load_recipe("toy/hide")
    tree = json.loads(resolved.recipe.model_dump_json())
    for name in ("name", "summary", "cluster", "tracking"):
        del tree[name]
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    assert resolved.hash == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "override",
    [
        "name=other",
        "summary=other",
        "cluster.workers=2",
        "cluster.workers={min: 1, max: 4}",
        "cluster.launcher=in-process",
        "tracking.displays=3",
    ],
)
def test_the_hash_leaves_out_where_a_run_computes_and_is_recorded(override):
    assert load_recipe("toy/hide", [override]).hash == load_recipe("toy/hide").hash


@pytest.mark.parametrize(
    "override",
    [
        "seed=2",
        "train.steps=201",
        "train.learning_rate=1.0000000001e-3",
        "train.betas=[0.9, 0.951]",
        "data.batch_cost=65537",
        "data.parts.charge.cut.min_energy_mev=0.14",
        "model.backbone.drop_path=0.11",
        "objective.share=0.61",
        "deepspeed.zero_optimization.stage=2",
        "checkpoint.every=101",
    ],
)
def test_the_hash_changes_with_every_number_that_matters(override):
    assert load_recipe("toy/hide", [override]).hash != load_recipe("toy/hide").hash


def test_a_default_that_is_spelt_out_does_not_change_the_hash():
    assert (
        load_recipe("toy/hide", ["objective.share=0.6", "train.clip_norm=1"]).hash
        == load_recipe("toy/hide").hash
    )


def test_another_component_drops_the_options_that_it_lacks_and_says_so():
    resolved = load_recipe("toy/hide", ["model.backbone.name=toy-scan"])
    assert resolved.recipe.model.backbone.options() == {"width": 64, "state": 4}
    assert "model.backbone.drop_path" not in resolved.origins
    assert resolved.warnings == (
        "model.backbone: 'toy-scan' replaces 'toy-mixer', whose options drop_path are dropped",
    )


def test_options_given_together_with_another_component_are_not_dropped():
    with pytest.raises(RecipeError, match="drop_path is not a setting"):
        load_recipe("toy/hide", ["model.backbone.drop_path=0.2", "model.backbone.name=toy-scan"])


def test_the_default_backbone_need_not_be_named():
    unnamed = {key: value for key, value in MINIMAL.items() if key != "model"}
    with pytest.raises(RecipeError, match=r"model\.backbone\.widht is not a setting") as caught:
        from_dict(unnamed | {"model": {"backbone": {"widht": 3}}})
    assert "known" in caught.value.fix


def test_paths_of_a_file_start_from_its_folder_and_those_of_set_from_here(tmp_path, monkeypatch):
    (tmp_path / "recipes").mkdir()
    base = "data: {train: [../events/*.h5, sample:train, /abs/x.h5], val: v.h5}\n"
    write(tmp_path / "base.yaml", "extends: toy/hide\n" + base)
    write(tmp_path / "recipes" / "mine.yaml", "extends: ../base.yaml\nname: mine\n")
    monkeypatch.chdir(tmp_path / "recipes")
    data = load_recipe("mine.yaml", ["data.val=w.h5"]).recipe.data
    above = tmp_path.parent
    assert data.train == [str(above / "events/*.h5"), "sample:train", "/abs/x.h5"]
    assert data.val == str(tmp_path / "recipes" / "w.h5")
    monkeypatch.chdir(tmp_path)
    assert load_recipe("recipes/mine.yaml").recipe.data.val == str(tmp_path / "v.h5")
    assert load_recipe("toy/hide", ["data.train=~/a.h5"]).recipe.data.train == str(Path.home() / "a.h5")
    assert load_recipe("toy/hide", ["data.train=*.h5"]).recipe.data.train == str(tmp_path / "*.h5")


def test_the_folder_of_a_run_stands_for_its_recipe(tmp_path):
    write(tmp_path / "recipe.yaml", load_recipe("toy/hide").yaml())
    assert load_recipe(str(tmp_path)).recipe == load_recipe("toy/hide").recipe


def test_recipes_that_extend_each_other_are_refused(tmp_path):
    write(tmp_path / "a.yaml", "extends: b.yaml\n")
    write(tmp_path / "b.yaml", "extends: ./a.yaml\n")
    with pytest.raises(RecipeError, match="in a circle") as caught:
        load_recipe(str(tmp_path / "a.yaml"))
    assert caught.value.where.count("a.yaml") == 2


def test_what_is_written_has_no_defaults():
    tree, origins = as_written("toy/hide-more", ["seed=3"])
    assert tree["train"] == {"steps": 200, "warmup_steps": 20, "learning_rate": 0.002}
    assert origins["seed"] == "--set"
    assert "cluster" not in tree


def test_config_of_gives_the_class_and_its_options():
    import hepfm_toy.parts as toy

    part = load_recipe("toy/hide").recipe.data.parts["charge"]
    cls, config = config_of("modality", part)
    assert cls is toy.Image
    assert config == toy.Image.Config(cell=4)
    cls, config = config_of("objective", Component(name="toy-hide", share=0.25))
    assert (cls, config) == (toy.Hide, toy.Hide.Config(share=0.25))
    with pytest.raises(RecipeError, match="shape is not a setting"):
        config_of("objective", Component(name="toy-hide", shape=1))
    with pytest.raises(PluginError, match="toy-imag"):
        config_of("modality", Part(kind="toy-imag"))
    with pytest.raises(PluginError, match="no Config"):
        config_of("backbone", Component(name="toy-bare"))
