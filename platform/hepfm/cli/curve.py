"""What the points of a few-shot curve are made with: probes, and trainings that are runs of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hepfm.cli.finetune import task_on
from hepfm.cli.launch import connection, launch, near, new_run
from hepfm.errors import RecipeError, Stopped

if TYPE_CHECKING:
    from hepfm.evaluation.fewshot import Ledger, Point
    from hepfm.evaluation.splits import Opened
    from hepfm.recipe.load import Resolved
    from hepfm.tracking.runs import RunDir
    from hepfm.training.pretrained import Pretrained

PATIENCE = 10
"""Validations that are no better, after which a training has converged, unless the recipe says another."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What makes the points of a curve.

    Attributes:
        parent: The pretrained run.
        model: Of its checkpoint.
        opened: The labelled events.
        test: Files to test on; by default those that pretraining was validated on.
        recipe: Of the trainings, as a command line names it.
        overrides: Of it, but for what a point decides.
        out: Folder of runs.
    """

    parent: RunDir
    model: Pretrained
    opened: Opened
    test: list[str] | None
    recipe: str
    overrides: Sequence[str]
    out: Path

    def resolved(self, point: Point | None, name: str = "x", *, best_by: str | None = None) -> Resolved:
        """The recipe of a point's training; without a point, that of fine-tuning as the recipe has it.

        Args:
            point: Of an arm that is trained.
            name: Of the run.
            best_by: By what the best checkpoint of a training to convergence is told (``train.best_by``).
        """
        own = [f"name={json.dumps(name)}"]
        if point is not None:
            own += [f"data.train_events={point.events}", f"seed={point.seed}", f"train.steps={point.updates}"]
            own += self._convergence(best_by) if point.converged else ["train.patience=null"]
            if point.arm == "scratch":  # how pretrained weights are spared would only hold back drawn ones
                own += ["model.weights=null", "model.adapt.mode=full", "model.adapt.layer_decay=1"]
        return task_on(self.parent, self.model.folder, self.recipe, [*self.overrides, *own])

    def _convergence(self, best_by: str | None) -> list[str]:
        train = self.resolved(None).recipe.train
        own = [f"train.patience={train.patience or PATIENCE}", f"train.best_by={json.dumps(best_by)}"]
        keep = ["checkpoint.keep=1", "checkpoint.keep_best=1"]
        return [*own, *keep, f"checkpoint.every={train.validate_every}"]

    def carry_out(self, point: Point, ledger: Ledger, head: Mapping[str, Any], best_by: str | None) -> None:
        """Trains and tests a point; goes on with a training that was begun.

        From scratch, what another curve has trained with the same events and settings is taken over.
        """
        if point.arm == "probe":
            self._probe(point, ledger, head)
            return
        if point.arm == "scratch" and self._begun(point, ledger) is None:
            from hepfm.plugins import plugins

            if curve := ledger.borrow(point, self.out.resolve(), plugins().versions()):
                typer.echo(f"     taken over from {near(Path(curve))}", err=True)
                return
        from hepfm.evaluation.evaluate import statistics_of
        from hepfm.evaluation.events import open_events
        from hepfm.training.checkpoint import choose, choose_best
        from hepfm.training.pretrained import open_checkpoint

        run = self._train(point, ledger, best_by)
        folder = choose_best(run.checkpoints) if point.converged else choose(run.checkpoints)
        device = self.model.encoder.part_embedding.weight.device
        trained = open_checkpoint(folder, device=device)
        named = self.test if self.test is not None else self.model.recipe.data.val
        assert named is not None  # it was opened before
        source = open_events(trained, named, say=lambda _: None)  # what is doubted was said at the beginning
        facts: dict[str, Any] = {"checkpoint": str(folder), "updates": run.json()["steps"]}
        if point.converged:
            asked = trained.recipe.train
            facts["best_step"] = trained.manifest["step"]
            waited = facts["updates"] - facts["best_step"]
            facts["converged"] = waited >= (asked.patience or 0) * asked.validate_every
        ledger.finish(point, statistics_of(trained, source), **facts)

    def _probe(self, point: Point, ledger: Ledger, head: Mapping[str, Any]) -> None:
        from hepfm.evaluation.frozen import freeze
        from hepfm.evaluation.probe import one_probe

        frozen = freeze(self.model, head, self.opened.train.modalities)
        splits = self.opened.of(point.events, seed=point.seed)
        fitted, statistics = one_probe(frozen, splits, kind="linear", seed=point.seed, absent="miss")
        ledger.finish(point, statistics, chosen=dict(fitted.chosen))

    def _begun(self, point: Point, ledger: Ledger) -> RunDir | None:
        """The run of a point whose training began, unless somebody removed it."""
        from hepfm.tracking.runs import RunDir

        told = ledger.told(point).get("run")
        run = None if told is None else RunDir(self.out.resolve() / told)
        return run if run is not None and (run.path / "run.json").exists() else None

    def _train(self, point: Point, ledger: Ledger, best_by: str | None) -> RunDir:
        from hepfm.plugins import plugins
        from hepfm.training.request import TrainRequest

        resolved = self.resolved(point, f"{ledger.folder.name}-{point.name}"[:80], best_by=best_by)
        begun = self._begun(point, ledger)
        if begun is not None and begun.json()["status"] == "done":
            return begun
        with connection(resolved.recipe):
            run = begun or new_run(resolved, self.out, parent=self.parent.name)
            ledger.note(point, run=run.name)
            request = TrainRequest(
                recipe=resolved.recipe.model_dump(mode="json"),
                run_dir=str(run.path),
                resume_from=None if begun is None else "newest",
                plugins=plugins().versions(),
            )
            late = launch(request, resolved.recipe, as_json=False, reporting=False)
        if late:
            raise Stopped(f"Stopped ({late}) after a training.", fix="the same command goes on from there")
        return run


def data_overrides(
    model: Pretrained,
    train: list[str] | None,
    val: list[str] | None,
    reader: str | None,
    options: Mapping[str, Any],
) -> list[str]:
    """The overrides that name the data of the trainings: by default the run's, without validation.

    Raises:
        RecipeError: Options of a reader, but no name.
    """
    train = model.recipe.data.model_dump(mode="json")["train"] if train is None else train
    named = {"train": train, "val": val, "reader": _reader(model, reader, options)}
    return [f"data.{key}={json.dumps(value)}" for key, value in named.items()]


def _reader(model: Pretrained, name: str | None, options: Mapping[str, Any]) -> Any:
    """The reader as a recipe names it: by default the run's, with these options in place of its own."""
    data = model.recipe.data
    name, options = name or data.reader_name, options if name or options else data.reader_options
    if name is None and options:
        raise RecipeError(
            "Options are of a reader that is named, and the run's was recognised.",
            where="--option",
            fix="name it, too, with --reader (hepfm data inspect says which it is)",
        )
    return {"name": name, **options} if options else name
