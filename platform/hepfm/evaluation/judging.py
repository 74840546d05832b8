"""How a run is judged: a task by its head's figures, a pretraining by what it was taught to find."""

from __future__ import annotations

from functools import partial

from hepfm.errors import RecipeError
from hepfm.evaluation import losses, matching
from hepfm.evaluation.checks import task_of
from hepfm.evaluation.evaluate import UNLABELLED, Judging, statistics_of
from hepfm.objectives.contrastive import Contrastive
from hepfm.objectives.task import Task
from hepfm.training.pretrained import Pretrained


def judging_of(model: Pretrained, task: str | None = None, *, candidates: int | None = None) -> Judging:
    """How a model is judged.

    Args:
        model: Of a checkpoint.
        task: The head's or objective's name, where one is wanted.
        candidates: Among how many events one is to be found; by default as in training.

    Raises:
        RecipeError: It was trained for something else, or for nothing that events show.
    """
    objective, name = model.module.objective, model.recipe.objective.name
    if candidates is not None and not isinstance(objective, Contrastive):
        raise RecipeError(
            "This run finds no event among others.",
            where="--candidates",
            fix="leave it out, or name a run of the objective contrastive",
        )
    if isinstance(objective, Task) or task not in (None, name):
        head = task_of(model, task).head
        return Judging(
            name=task_of(model).config.head.name,
            labels=True,
            statistics=partial(statistics_of, model),
            figures=head.figures,
            nothing=UNLABELLED,
        )
    if isinstance(objective, Contrastive):
        return Judging(
            name=name,
            statistics=partial(matching.found_of, model, candidates=candidates or objective.group_events),
            figures=partial(matching.figures, matching.names_of(objective)),
            nothing=(
                "No two events of a group have both sides, so there is nothing to find.",
                "name events that have " + " and ".join("/".join(side) for side in objective.sides),
            ),
        )
    if not losses.by_event(model):
        raise RecipeError(
            f"The objective '{name}' compares events in a way of its own: no event has a figure by itself.",
            where=str(model.folder),
            fix="look at the figures of the run's validations, with hepfm compare",
        )
    return Judging(
        name=name,
        statistics=partial(losses.losses_of, model),
        figures=losses.figures_of(model),
        nothing=("Nothing of the events is hidden, so there is nothing to fill in.", "name other events"),
    )
