"""What a user gets wrong in a recipe is said in sentences: key, found, wanted, where, and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import deepspeed
import pytest

from hepfm.errors import PluginError, RecipeError
from hepfm.recipe.engine_section import OWN, PASSED, ZERO
from hepfm.recipe.load import load_recipe


@pytest.mark.parametrize(
    ("override", "what", "fix"),
    [
        ("train.stepz=3", "train.stepz is not a setting.", "did you mean 'steps'?"),
        ("steps=3", "steps is not a setting.", "did you mean 'train.steps'?"),
        ("trian.steps=3", "trian is not a setting.", "did you mean 'train'?"),
        ("train.steps=many", 'train.steps is "many"; wanted: a whole number.', ""),
        ("train.steps=2.5", "train.steps is 2.5; wanted: a whole number.", ""),
        ("train.steps=-1", "train.steps is -1; wanted: 0 or more.", ""),
        ("train.learning_rate=0", "train.learning_rate is 0; wanted: more than 0.", ""),
        ("train.learning_rate=.inf", "train.learning_rate is Infinity; wanted: a finite number.", ""),
        ("train.betas=[0.9, 1]", "train.betas.1 is 1; wanted: less than 1.", ""),
        (
            "train.schedule=cosin",
            "train.schedule is \"cosin\"; wanted: one of 'cosine', 'linear', 'constant'.",
            "did you mean 'cosine'?",
        ),
        ("train=5", "train is 5; wanted: a section of key: value lines.", ""),
        (
            "cluster.workers=two",
            'cluster.workers is "two"; wanted: a whole number or a section of key: value lines.',
            "",
        ),
        ("cluster.workers={min: 1}", "cluster.workers.max is missing.", "add cluster.workers.max"),
        ("cluster.workers={min: 0, max: 2}", "cluster.workers.min is 0; wanted: more than 0.", ""),
        ("cluster.workers={mix: 1, max: 2}", "cluster.workers.mix is not a setting.", "did you mean 'min'?"),
        (
            "cluster.workers={min: 4, max: 2}",
            "cluster.workers.min is 4, more than cluster.workers.max, which is 2.",
            "lower it",
        ),
        ("data.augment=maybe", 'data.augment is "maybe"; wanted: true or false.', ""),
        (
            "data.train=3",
            "data.train is 3; wanted: text (in quotes where it looks like a number or a truth value) or a list.",
            "",
        ),
        ("data.train=[]", "data.train is []; wanted: ", ""),
        (
            "data.train=sample:trian",
            "data.train is 'sample:trian', which hepfm has not.",
            "did you mean 'sample:train'?",
        ),
        (
            "data.parts={a.b: {kind: toy-image}}",
            "data.parts.a.b is \"a.b\"; wanted: a letter, then letters, digits, '_' and '-'.",
            "",
        ),
        (
            'name="my run"',
            "name is \"my run\"; wanted: a letter or digit, then letters, digits, '.', '_' and '-', at most 80",
            "",
        ),
        ("data.parts.light={}", "data.parts.light.kind is missing.", "add data.parts.light.kind"),
        (
            "data.reader=pilarnt",
            "data.reader: No plugin offers 'pilarnt' among the readers.",
            "did you mean 'pilarnet'?",
        ),
        (
            "data.parts.charge.kind=toy-imag",
            "data.parts.charge.kind: No plugin offers 'toy-imag' among the modalities.",
            "did you mean 'toy-image'?",
        ),
        ("data.parts.charge.cel=4", "data.parts.charge.cel is not a setting.", "did you mean 'cell'?"),
        (
            "data.parts.charge.cut.min_energy=1",
            "data.parts.charge.cut.min_energy is not a setting.",
            "did you mean 'min_energy_mev'?",
        ),
        ("model.backbone.drop_path=2", "model.backbone.drop_path is 2; wanted: less than 1.", ""),
        ("model.backbone={name: toy-scan, width: 3}", "model.backbone: width must be even.", ""),
        (
            "deepspeed.zero_optimisation={}",
            "deepspeed.zero_optimisation is not a setting",
            "'zero_optimization'?",
        ),
        (
            "deepspeed.zero_optimization.stag=1",
            "deepspeed.zero_optimization.stag is not",
            "did you mean 'stage'?",
        ),
        ("deepspeed.zero_optimization.stage=4", "stage is 4; wanted: one of 0, 1, 2, 3.", ""),
        ("deepspeed.zero_optimization.stage=true", "stage is True; wanted: one of 0, 1, 2, 3.", ""),
        ("deepspeed.zero_optimization=2", "wanted: a section.", "{stage: 1}"),
        # Without the norm, DeepSpeed does not see a NaN.
        ("deepspeed.zero_optimization.compute_grad_norm=false", "compute_grad_norm is not a setting.", ""),
        ("data.val=[]", "data.val is []; wanted: at least one.", ""),
        ("tracking.uri=https://me:secret@host", "tracking.uri holds a password", "MLFLOW_TRACKING_URI"),
        (
            "train.warmup_steps=201",
            "train.warmup_steps is 201, more than train.steps, which is 200.",
            "tenth",
        ),
        (
            "train.final_learning_rate=1",
            "train.final_learning_rate is 1, more than",
            "train.schedule=constant",
        ),
        ("name=../x", 'name is "../x"; wanted: ', ""),
    ],
)
def test_each_mistake_names_key_found_and_wanted(override, what, fix):
    with pytest.raises(RecipeError) as caught:
        load_recipe("toy/hide", [override])
    assert what in caught.value.what
    assert caught.value.where == f"--set {override}"
    assert fix in caught.value.fix
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", sorted(OWN))
def test_what_hepfm_sets_in_deepspeed_is_refused_with_the_recipes_own_field(name):
    with pytest.raises(RecipeError, match=f"deepspeed.{name} is set by hepfm") as caught:
        load_recipe("toy/hide", [f"deepspeed.{name}=1"])
    assert caught.value.fix == OWN[name]


@pytest.mark.parametrize(
    "override", ["train.steps", "=3", "train..steps=3", ".steps=3", "train.steps=[1", 'name="x']
)
def test_what_is_no_override_is_refused(override):
    with pytest.raises(RecipeError) as caught:
        load_recipe("toy/hide", [override])
    assert "--set" in caught.value.where


def test_mistakes_of_a_file_name_the_line(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("extends: toy/hide\ntrain:\n  steps: 10\n  learning_rate: fast\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="learning_rate") as caught:
        load_recipe(str(path))
    assert caught.value.where == f"{path}:4"


def test_all_mistakes_are_listed_at_once(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("extends: toy/hide\nobjective: {shar: 1}\ntrain:\n  steps: x\n", encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(path), ["seed=-1"])
    what = caught.value.what
    assert what.startswith("3 things are wrong")
    assert f"objective.shar is not a setting. ({path}:2)" in what
    assert f'train.steps is "x"; wanted: a whole number. ({path}:4)' in what
    assert "seed is -1; wanted: 0 or more. (--set seed=-1)" in what
    assert "did you mean 'share'?" in what


def test_missing_settings_are_named(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ndata:\n  train: a.h5\n", encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(path), ["model.backbone.name=toy-mixer"])
    assert f"data.parts is missing. ({path}:2)" in caught.value.what
    assert f"objective is missing. ({path})" in caught.value.what


@pytest.mark.parametrize(
    ("source", "what", "fix"),
    [
        ("toy/hid", "There is no recipe 'toy/hid'", "did you mean 'toy/hide'?"),
        ("nowhere.yaml", "There is no such recipe file", "path"),
    ],
)
def test_recipes_that_are_not_there(source, what, fix):
    with pytest.raises(RecipeError, match=what) as caught:
        load_recipe(source)
    assert fix in caught.value.fix


def test_a_registered_recipe_without_its_file_is_the_plugins_fault():
    with pytest.raises(PluginError, match="its file is not there") as caught:
        load_recipe("toy/lost")
    assert "hepfm-toy" in caught.value.fix


def test_mistakes_of_the_recipe_are_said_before_those_of_a_plugin():
    with pytest.raises(PluginError, match="no Config"):
        load_recipe("toy/hide", ["model.backbone.name=toy-bare"])
    with pytest.raises(RecipeError, match="seed is -1"):
        load_recipe("toy/hide", ["model.backbone.name=toy-bare", "seed=-1"])


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"- a\n- b\n", "mapping"),
        (b"", "mapping"),
        (b"\x89HDF\r\n\x1a\n\xff\xfe", "cannot be read"),
        (b"#" * 1_000_001, "too large"),
        (b"extends: [a, b]\n", "one recipe"),
        (b"extends: toy/hid\n", "recipe to extend is missing"),
    ],
)
def test_files_that_are_no_recipes(tmp_path, content, what):
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=what) as caught:
        load_recipe(str(path))
    assert str(path) in caught.value.where


@pytest.mark.parametrize(
    ("overrides", "warning"),
    [
        (["train.steps=10"], "train.learning_rate is never reached"),
        (["train.schedule=constant", "train.final_learning_rate=1e-4"], "final_learning_rate has no effect"),
        (["data.batch_cost=100", "data.micro_batch_cost=200"], "each rank computes its whole share"),
        (
            ["data.val=null", "train.validate_events=5", "tracking.displays=2"],
            "train.validate_events, tracking.displays",
        ),
        (["data.val=sample:train"], "tells nothing about new events"),
        (["cluster.launcher=torchrun", "cluster.address=auto"], "cluster.address: no effect"),
        (
            ["deepspeed.zero_optimization={stage3_max_live_parameters: 5, reduce_scatter: true}"],
            "stage3_max_live_parameters: no effect",
        ),
        (["deepspeed.zero_optimization={stage: 0, reduce_scatter: true}"], "reduce_scatter: no effect"),
        (["cluster.launcher=in-process", "cluster.workers=2"], "cluster.workers = 2: no effect"),
        (
            ["cluster.launcher=torchrun", "cluster.workers={min: 1, max: 2}"],
            "cluster.workers: a range has no effect",
        ),
        (["cluster.launcher=torchrun", "cluster.max_restarts=5"], "cluster.max_restarts: no effect"),
    ],
)
def test_settings_without_effect_warn(overrides, warning):
    (found,) = load_recipe("toy/hide", overrides).warnings
    assert warning in found


def test_spelt_out_defaults_do_not_warn(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        load_recipe("toy/hide", ["data.val=null", "train.schedule=constant"]).yaml(), encoding="utf-8"
    )
    assert load_recipe(str(path)).warnings == ()


def test_deepspeed_knows_the_keys_that_are_passed_on():
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    fields = DeepSpeedZeroConfig.model_fields
    assert set(fields) | {field.alias for field in fields.values()} >= ZERO
    sources = [*Path(deepspeed.__file__).parent.rglob("c*.py")]
    text = "".join(path.read_text() for path in sources if path.name in ("config.py", "constants.py"))
    assert {name for name in PASSED | set(OWN) if not re.search(rf"[\"']{name}[\"']", text)} <= set()
