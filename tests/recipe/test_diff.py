"""What differs between recipes."""

from __future__ import annotations

from hepfm.recipe.diff import ABSENT, Change, deciding, diff, render
from hepfm.recipe.load import load_recipe


def test_a_recipe_does_not_differ_from_itself():
    assert diff(load_recipe("toy/hide").recipe, load_recipe("toy/hide").recipe) == []


def test_changes_name_the_key_and_both_values():
    a = load_recipe("toy/hide").recipe
    b = load_recipe(
        "toy/hide", ["train.steps=300", "train.betas=[0.9, 0.99]", "model.backbone.name=toy-scan"]
    ).recipe
    changes = diff(a, b)
    assert changes == [
        Change("model.backbone.name", "toy-mixer", "toy-scan"),
        Change("model.backbone.drop_path", 0.1, ABSENT),
        Change("model.backbone.size", "tiny", ABSENT),
        Change("train.steps", 200, 300),
        Change("train.betas", [0.9, 0.95], [0.9, 0.99]),
        Change("model.backbone.state", ABSENT, 4),
    ]
    assert diff(b, a) == [
        Change(c.key, c.b, c.a) for c in changes[:1] + changes[5:] + changes[3:5] + changes[1:3]
    ]
    assert render(changes).splitlines()[3:5] == [
        "train.steps: 200 -> 300",
        "train.betas: [0.9, 0.95] -> [0.9, 0.99]",
    ]
    assert "drop_path: 0.1 -> (absent)" in render(changes)


def test_a_run_that_goes_on_may_wait_longer_but_not_be_judged_by_another_figure():
    one = load_recipe("toy/hide").recipe
    longer = load_recipe("toy/hide", ["train.patience=7"]).recipe
    other = load_recipe("toy/hide", ["train.best_by=macro_f1"]).recipe
    assert deciding(one, longer) == []
    assert deciding(one, other) == [Change("train.best_by", None, "macro_f1")]
