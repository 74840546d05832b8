"""``hepfm recipe``: what it prints, and that listing needs no heavy import."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from hepfm.cli.recipe import app
from hepfm.errors import RecipeError
from hepfm.plugins import plugins
from hepfm.recipe.load import load_recipe

TOY = Path(__file__).parent.parent / "recipe" / "toy"


@pytest.fixture(autouse=True)
def toy_plugin(monkeypatch):
    monkeypatch.syspath_prepend(TOY)
    plugins.cache_clear()
    yield
    plugins.cache_clear()


def run(*args: str, code: int = 0):
    result = CliRunner().invoke(app, list(args))
    assert result.exit_code == code, result.output
    return result


def test_list_names_every_recipe_with_its_plugin():
    recipes = {recipe["name"]: recipe for recipe in json.loads(run("list", "--json").stdout)}
    assert recipes["toy/hide"] == {
        "name": "toy/hide",
        "summary": "Hides a share.",
        "plugin": "toy",
        "distribution": "hepfm-toy",
    }
    assert "image3d/masked-tiny" in recipes
    assert "toy/hide-more" in run("list").stdout


def test_show_prints_a_recipe_that_is_the_same_when_saved(tmp_path):
    (tmp_path / "r.yaml").write_text(run("show", "toy/hide", "--set", "seed=5").stdout)
    assert load_recipe(str(tmp_path / "r.yaml")).hash == load_recipe("toy/hide", ["seed=5"]).hash


def test_show_origins_are_comments_behind_the_values():
    text = run("show", "toy/hide-more", "--origins", "--set", "train.steps=300").stdout
    lines = {line.split("#")[0].strip(): line.split("# ")[1] for line in text.splitlines() if "#" in line}
    assert lines["steps: 300"] == "--set"
    assert lines["share: 0.9"] == "toy/hide-more"
    assert lines["betas: [0.9, 0.95]"] == "default"
    assert yaml.safe_load(text) == yaml.safe_load(
        run("show", "toy/hide-more", "--set", "train.steps=300").stdout
    )


def test_show_json_has_recipe_origins_and_hash():
    shown = json.loads(run("show", "toy/hide", "--json").stdout)
    resolved = load_recipe("toy/hide")
    assert shown == {
        "recipe": resolved.recipe.model_dump(mode="json"),
        "origins": resolved.origins,
        "hash": resolved.hash,
    }


def test_a_recipe_without_data_is_shown_and_says_so():
    result = run("show", "waveform/microboone-noise", "--origins")
    assert "data.train is missing" in result.stderr
    shown = yaml.safe_load(result.stdout)
    assert shown["data"]["parts"]["charge"]["kind"] == "waveform"
    assert "train: YOUR-FILES" in result.stdout
    refused = run("show", "waveform/microboone-noise", "--set", "train.stepz=1", code=1).exception
    assert "train.stepz is not a setting" in str(refused)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("whole.lihgt=0.2", "objective.whole.lihgt: There is no part 'lihgt'(.|\n)*did you mean 'light'"),
        ("weights.lite=2", "objective.weights.lite: There is no part 'lite'"),
        ("name=contrastive", ""),
        ("parts.charge.by=chanel", "no groups 'chanel'(.|\n)*did you mean 'channel'"),
    ],
)
def test_options_of_parts_are_checked_before_a_run(tmp_path, change, sentence):
    adc = np.random.default_rng(0).normal(0, 3, (2, 3, 40)).astype("f4")
    np.savez(tmp_path / "a.npz", adc=adc, sample_ns=16.0)
    parts = {"charge": {"kind": "waveform"}, "light": {"kind": "waveform"}}
    data = {"train": "a.npz", "val": "none.npz", "parts": parts}
    tree = {"name": "two", "data": data, "objective": {"name": "masked"}}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(tree))
    result = run(
        "validate", str(tmp_path / "two.yaml"), "--set", f"objective.{change}", code=int(bool(sentence))
    )
    if sentence:
        assert re.search(sentence, str(result.exception))
    else:
        assert "none.npz): checked without it" in result.stderr
    if "by" in change:  # nothing of the recipe says what a kind of part offers: the first event does
        load_recipe(str(tmp_path / "two.yaml"), [f"objective.{change}"])


def test_validate_refuses_a_kind_that_the_files_are_not(tmp_path):
    data = {"train": "sample:train", "parts": {"image3d": {"kind": "waveform"}}}
    (tmp_path / "r.yaml").write_text(
        yaml.safe_dump({"name": "x", "data": data, "objective": {"name": "masked"}})
    )
    refused = run("validate", str(tmp_path / "r.yaml"), code=1).exception
    assert "Waveforms need a column" in refused.what
    assert "data.parts.image3d" in refused.where


def test_budgets_of_a_named_recipe_are_no_mistake_of_who_names_files():
    files = ["data.train=a.npz", "data.val=b.npz"]
    assert load_recipe("waveform/masked-tiny", files).warnings == ()
    told = load_recipe("waveform/masked-tiny", [*files, "data.batch_events=9"]).warnings
    assert [sentence.partition(":")[0] for sentence in told] == ["data.batch_events"]


def test_show_written_leaves_defaults_out():
    assert "max_event_cost" not in run("show", "toy/hide-more", "--written").stdout
    assert "max_event_cost" in run("show", "toy/hide-more").stdout


def test_validate_warns_on_standard_error_and_refuses_with_an_error():
    result = run("validate", "toy/hide", "--set", "train.steps=10")
    assert "is a valid recipe" in result.stdout
    assert "never reached" in result.stderr
    assert isinstance(run("validate", "toy/hide", "--set", "train.stepz=10", code=1).exception, RecipeError)


def test_diff_of_two_recipes():
    assert "objective.share: 0.6 -> 0.9" in run("diff", "toy/hide", "toy/hide-more").stdout
    changes = json.loads(run("diff", "toy/hide", "toy/hide-more", "--json").stdout)
    assert {"key": "train.learning_rate", "a": 0.001, "b": 0.002} in changes
    assert run("diff", "toy/hide", "toy/hide").stdout == "They are the same.\n"


def test_schema_is_written_to_a_file(tmp_path):
    run("schema", "--out", str(tmp_path / "schema.json"))
    assert json.loads((tmp_path / "schema.json").read_text()) == json.loads(run("schema").stdout)
    with pytest.raises(RecipeError, match="cannot be written"):
        raise run("schema", "--out", str(tmp_path / "no" / "schema.json"), code=1).exception


def test_a_mistake_ends_the_command_with_code_2_and_no_traceback():
    command = [sys.executable, "-m", "hepfm", "recipe", "validate", "toy/hide", "--set", "train.stepz=1"]
    environment = os.environ | {"PYTHONPATH": str(TOY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "did you mean 'steps'?" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["list"], ["show", "toy/hide-more", "--written"]])
def test_what_needs_no_components_imports_nothing_heavy(command):
    code = (
        "import sys; from hepfm.cli.recipe import app\n"
        f"app({command!r}, standalone_mode=False)\n"
        "print(sorted({'torch', 'ray', 'deepspeed', 'mlflow', 'hepfm_toy.parts'} & set(sys.modules)), file=sys.stderr)"
    )
    environment = os.environ | {"PYTHONPATH": str(TOY)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
