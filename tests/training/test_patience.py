"""Runs that end when validations are no better, and the checkpoint of the best one."""

from __future__ import annotations

import json

import pytest

from hepfm.errors import CheckpointError, RecipeError, Stopped
from hepfm.recipe.schema import Recipe
from hepfm.training.checkpoint import MANIFEST, choose_best, retain, write_file
from hepfm.training.loop import score_of
from hepfm.training.request import TrainRequest
from hepfm.training.snapshot import judged_otherwise
from hepfm.training.state import State
from hepfm.training.worker import train

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)
STILL = {
    "train__learning_rate": 1e-30,  # no weight changes, so the first validation stays the best
    "train__final_learning_rate": 1e-30,
    "train__weight_decay": 0.0,
    "train__ema_decay": 0.0,
    "train__warmup_steps": 1,
    "train__steps": 30,
    "train__validate_every": 2,
    "checkpoint__every": 2,
    "checkpoint__keep": 1,
}


def steps_of(run):
    return [int(path.name.removeprefix("step-")) for path in sorted(run.checkpoints.glob("step-*"))]


def test_a_run_ends_out_of_patience_keeps_its_best_and_stays_at_its_end(make_run):
    run, request = make_run(**STILL, train__patience=2)
    train(request)
    told = run.json()
    assert (told["status"], told["reason"], told["steps"], told["best_step"]) == ("done", None, 6, 2)
    assert steps_of(run) == [2, 6]
    train(request)
    assert run.json()["steps"] == 6, "resumed, it has nothing to do"
    recipe = {**request.recipe, "train": {**request.recipe["train"], "patience": 3}}
    train(TrainRequest(recipe=recipe, run_dir=request.run_dir, resume_from="newest"))
    assert run.json()["steps"] == 8, "more patience may be asked for"
    assert choose_best(run.checkpoints).name == "step-00000002"


def test_waiting_is_counted_over_a_stop(make_run):
    often = STILL | {"train__validate_every": 1, "checkpoint__every": 1}
    run, request = make_run(**often, train__patience=2, train__time_limit_minutes=1e-9)
    for _ in range(2):  # each attempt gets one step further
        with pytest.raises(Stopped):
            train(request)
    train(request)
    assert (run.json()["steps"], run.json()["status"]) == (3, "done")


def test_a_figure_may_decide_and_one_that_there_is_not_is_refused_before(make_run):
    assert score_of(None, 0.5, {"macro_f1": 0.7}) == 0.5
    assert score_of("macro_f1", 0.5, {"macro_f1": 0.7}) == -0.7
    assert score_of("-median_mm", 0.5, {"median_mm": 3.0}) == 3.0
    assert score_of("macro_f1", 0.5, {}) is None
    task = {"objective": {"name": "task", "head": {"name": "semantic", "width": 8}}, "train__steps": 1}
    run, request = make_run(**task, train__best_by="macro_f2")
    with pytest.raises(RecipeError, match=r"(?s)no figure 'macro_f2'.*did you mean 'macro_f1'"):
        train(request)
    run, request = make_run(**task, train__best_by="macro_f1", train__validate_every=1)
    train(request)
    best = choose_best(run.checkpoints)
    last = [json.loads(line)["metrics"] for line in run.metrics_path.read_text().splitlines()][-1]
    assert json.loads((best / MANIFEST).read_text())["score"] == pytest.approx(-last["val/macro_f1"])
    with pytest.raises(RecipeError, match="only tasks have figures"):
        train(make_run(train__best_by="macro_f1")[1])


def test_the_best_is_the_first_of_equal_ones_and_what_is_not_known_never():
    state = State()
    for step, score in enumerate([None, 3.0, float("nan"), 2.0, 2.0, 4.0]):
        state.step = step
        state.judge(score)
    assert (state.best_score, state.best_step, state.since_best, state.score) == (2.0, 3, 2, 4.0)
    state.forget_validations()
    assert (state.best_score, state.best_step, state.since_best) == (None, None, 0)


def test_scores_of_other_events_or_of_another_figure_do_not_count(make_run, tmp_path):
    recipe = Recipe.model_validate(make_run()[1].recipe)
    about = {"recipe": recipe.model_dump(mode="json"), "data_digests": {"train": "a", "val": "b"}}
    (tmp_path / "model.json").write_text(json.dumps(about))
    other = recipe.model_copy(update={"train": recipe.train.model_copy(update={"best_by": "macro_f1"})})
    assert not judged_otherwise(tmp_path, recipe, {"train": "c", "val": "b"})
    assert judged_otherwise(tmp_path, recipe, {"train": "a", "val": "c"})
    assert judged_otherwise(tmp_path, other, {"train": "a", "val": "b"})
    other = recipe.model_copy(update={"objective": recipe.objective.model_copy(update={"decoder_layers": 2})})
    assert judged_otherwise(tmp_path, other, {"train": "a", "val": "b"})
    other = recipe.model_copy(update={"train": recipe.train.model_copy(update={"patience": 7})})
    assert not judged_otherwise(tmp_path, other, {"train": "a", "val": "b"})


def write(folder, step, facts, best_by=None, val="v"):
    about = {"recipe": {"train": {"best_by": best_by}}, "data_digests": {"val": val}}
    path = folder / f"step-{step:08d}"
    path.mkdir(parents=True)
    files = {"model.json": write_file(path / "model.json", [json.dumps(about).encode()])}
    manifest = {"format": 1, "step": step, **facts, "files": files}
    (path / MANIFEST).write_text(json.dumps(manifest))


def kept(folder, **how):
    return [int(path.name[-1]) for path in retain(folder, **how)]


def test_checkpoints_are_kept_by_their_score_or_the_loss_that_older_ones_have(tmp_path):
    scores = [{"val_loss": 0.3}, {"score": -0.9, "val_loss": 0.9}, {"score": -0.2, "val_loss": 0.1}, {}]
    for step, facts in enumerate(scores):
        write(tmp_path, step, facts)
    assert kept(tmp_path, keep=1, keep_best=2) == [1, 2, 3]
    (tmp_path / "none").mkdir()
    with pytest.raises(CheckpointError, match="no checkpoint that was validated"):
        choose_best(tmp_path / "none")


def test_scores_that_do_not_compare_are_not_compared(tmp_path):
    """A figure of .9 is 0.9 better than a loss of 0, and other events may be harder."""
    told = [
        (0.2, {}),
        (0.3, {}),
        (-0.9, {"best_by": "f1"}),
        (-0.8, {"best_by": "f1"}),
        (0.7, {}),
        (0.8, {"val": "w"}),
    ]
    for step, (score, how) in enumerate(told):
        write(tmp_path, step, {"score": score}, **how)
    assert choose_best(tmp_path).name[-1] == "5", "the only one of these events"
    assert kept(tmp_path, keep=1, keep_best=1) == [0, 2, 5], "the best of each way to judge"
    write(tmp_path, 6, {"score": None}, val="x")
    with pytest.raises(CheckpointError, match="validated as it is judged now"):
        choose_best(tmp_path)
    write(tmp_path, 7, {"score": 0.5})
    assert choose_best(tmp_path).name[-1] == "0", "judged as at first again"
