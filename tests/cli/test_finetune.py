"""What recipe a task is learned with on a pretrained run."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from hepfm.cli.finetune import task_on
from hepfm.errors import RecipeError
from hepfm.recipe.load import load_recipe


@pytest.fixture
def pretrained(tmp_path):
    """A checkpoint's description, of two parts and a backbone that is not the default."""
    parts = {"image3d": {"kind": "image3d", "cell_voxels": 8}, "second": {"kind": "image3d"}}
    recipe = {"data": {"parts": parts}, "model": {"backbone": {"name": "ssm", "size": "tiny"}}}
    (tmp_path / "model.json").write_text(json.dumps({"recipe": recipe}))
    return tmp_path


def resolved(pretrained, *overrides, recipe="tasks/semantic"):
    return task_on(SimpleNamespace(name="run-1"), pretrained, recipe, list(overrides)).recipe


def test_parts_and_backbone_are_the_runs_and_the_rest_is_the_recipes(pretrained):
    recipe, alone = resolved(pretrained), load_recipe("tasks/semantic").recipe
    assert recipe.model.weights == str(pretrained)
    assert recipe.model.backbone.name == "ssm"
    assert list(recipe.data.parts) == ["image3d"]  # the recipe names one of the two
    assert recipe.data.parts["image3d"].options()["cell_voxels"] == 8
    assert recipe.train == alone.train
    assert recipe.objective == alone.objective


def test_options_that_are_given_win_over_the_runs(pretrained):
    recipe = resolved(pretrained, "data.parts.image3d.rotations=false", "data.parts.image3d.cell_voxels=4")
    assert recipe.data.parts["image3d"].options()["rotations"] is False
    assert recipe.data.parts["image3d"].options()["cell_voxels"] == 4


def test_a_recipe_without_parts_takes_all_of_the_run(pretrained, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\ndata: {train: sample:train}\n"
        "objective: {name: task, head: {name: semantic, part: image3d}}\n"
    )
    assert list(resolved(pretrained, recipe=str(path)).data.parts) == ["image3d", "second"]


def test_a_recipe_that_learns_no_task_is_refused(pretrained):
    with pytest.raises(RecipeError, match="learns no task: its objective is 'masked'"):
        resolved(pretrained, recipe="image3d/masked-tiny")
