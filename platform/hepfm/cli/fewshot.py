"""``hepfm fewshot``: what pretraining is worth, against the number of labelled events."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hepfm.cli.finetune import task_on
from hepfm.cli.launch import (
    Address,
    InProcess,
    Json,
    Out,
    Set,
    Workers,
    cluster_overrides,
    connection,
    launch,
    new_run,
    warn,
)
from hepfm.cli.opened import Run, Step, device_of, numbers, open_run
from hepfm.cli.probe import (
    AllowTruth,
    Task,
    Test,
    Train,
    Val,
    about_model,
    about_params,
    figure_table,
    folder_name,
)
from hepfm.cli.shards import warn as warn_of
from hepfm.errors import HepfmError, RecipeError

if TYPE_CHECKING:
    from hepfm.evaluation.fewshot import Ledger, Point
    from hepfm.evaluation.splits import Opened
    from hepfm.recipe.load import Resolved
    from hepfm.tracking.runs import RunDir
    from hepfm.training.pretrained import Pretrained


def fewshot(
    run: Run,
    task: Task,
    *,
    events: Annotated[str, typer.Option(help="Numbers of labelled events.")] = "10,30,100,300,1000",
    recipe: Annotated[
        str | None, typer.Option(help="Recipe of the trainings; by default tasks/TASK.", show_default=False)
    ] = None,
    updates: Annotated[
        str | None,
        typer.Option(
            help="Updates of weights: 200, or 200,5000 to show convergence; by default the recipe's."
        ),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Each draws events, weights and order anew.")] = "1,2,3",
    probes: Annotated[
        bool, typer.Option("--probe/--no-probe", help="Whether a linear probe is shown.")
    ] = True,
    figure: Annotated[
        str | None, typer.Option(help="The figure that is drawn; by default macro_f1, or the task's first.")
    ] = None,
    train: Train = None,
    val: Val = None,
    test: Test = None,
    overrides: Set = None,
    workers: Workers = None,
    in_process: InProcess = False,
    address: Address = None,
    step: Step = None,
    allow_truth: AllowTruth = False,
    name: Annotated[str | None, typer.Option(help="Name of the evaluation, by default fewshot-TASK.")] = None,
    out: Out = Path("runs"),
    as_json: Json = False,
) -> None:
    """Draw the curve: fine-tuned on few labelled events, against from scratch on the same, equal updates.

    Each point is a run of its own, below the pretrained one, tested on all test events. The same command goes
    on after it was stopped or killed; points that are done stay. More events or seeds add points.
    """
    from hepfm.evaluation.fewshot import Ledger, points
    from hepfm.evaluation.probe import refuse_told
    from hepfm.evaluation.splits import open_splits
    from hepfm.locks import held
    from hepfm.training.in_process import under_torchrun

    if under_torchrun():
        raise RecipeError("A few-shot curve starts its trainings itself.", fix="run it without torchrun")
    parent, model = open_run(run, out, step, None)
    saw = refuse_told(model, allow=allow_truth)
    opened = open_splits(model, train=train, val=val, test=test)
    for doubt in opened.doubts:
        warn_of(doubt)
    flags = cluster_overrides(workers=workers, in_process=in_process, address=address)
    work = _Work(
        parent=parent,
        model=model,
        opened=opened,
        test=test,
        recipe=recipe or f"tasks/{task}",
        overrides=[*_data(model, train, val), *(overrides or []), *flags],
        out=out,
    )
    first = work.resolved("pretrained", 1, 1, None)
    warn(first)
    head = first.recipe.objective.options()["head"]
    if head["name"] != task:
        raise RecipeError(
            f"The recipe '{work.recipe}' learns the task '{head['name']}', not '{task}'.", where="--recipe"
        )
    counts = numbers(events, "--events")
    _refuse_too_many(opened, counts, fewest=2 if probes and val is None else 1)
    opened.refuse_shared()
    steps = numbers(updates, "--updates") if updates else [first.recipe.train.steps]
    asked = points(sorted(counts), numbers(seeds, "--seeds"), steps, probes=probes)
    folder = parent.evaluations / folder_name(name or f"fewshot-{task}")
    ledger = Ledger(folder, _settings(model, first, opened))
    with held(folder / "lock", _taken):
        for at, point in enumerate(asked, 1):
            if not ledger.told(point).get("done"):
                typer.echo(f"{at}/{len(asked)}  {point.name}", err=True)
                work.carry_out(point, ledger, head)
        result = {"kind": "fewshot", "name": folder.name, "run": parent.name, "task": head}
        result |= {**about_model(model), "saw": saw, "data": opened.told, "doubts": opened.doubts}
        _report(result, ledger, asked, work, figure, as_json=as_json)


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What the points of a curve are made with."""

    parent: RunDir
    model: Pretrained
    opened: Opened
    test: list[str] | None
    recipe: str
    overrides: Sequence[str]
    out: Path

    def resolved(self, arm: str, events: int, seed: int, updates: int | None, name: str = "x") -> Resolved:
        """The recipe of a training."""
        own = [f"name={json.dumps(name)}", f"data.train_events={events}", f"seed={seed}"]
        own += [f"train.steps={updates}"] if updates is not None else []
        if arm == "scratch":  # how pretrained weights are spared would only hold back drawn ones
            own += ["model.weights=null", "model.adapt.mode=full", "model.adapt.layer_decay=1"]
        return task_on(self.parent, self.model.folder, self.recipe, [*self.overrides, *own])

    def carry_out(self, point: Point, ledger: Ledger, head: Mapping[str, Any]) -> None:
        """Trains and tests; goes on with a training that was begun."""
        if point.arm == "probe":
            self._probe(point, ledger, head)
            return
        from hepfm.evaluation.evaluate import statistics_of
        from hepfm.evaluation.events import open_events
        from hepfm.training.checkpoint import choose
        from hepfm.training.pretrained import open_checkpoint

        run = self._train(point, ledger)
        trained = open_checkpoint(choose(run.checkpoints), device=device_of(None))
        named = self.test if self.test is not None else self.model.recipe.data.val
        assert named is not None  # it was opened before
        source = open_events(trained, named, say=lambda _: None)  # what is doubted was said at the beginning
        ledger.finish(point, statistics_of(trained, source), checkpoint=str(trained.folder))

    def _probe(self, point: Point, ledger: Ledger, head: Mapping[str, Any]) -> None:
        from hepfm.evaluation.frozen import freeze
        from hepfm.evaluation.probe import one_probe

        frozen = freeze(self.model, head, self.opened.train.modalities)
        splits = self.opened.of(point.events, seed=point.seed)
        fitted, statistics = one_probe(frozen, splits, kind="linear", seed=point.seed, absent="miss")
        ledger.finish(point, statistics, chosen=dict(fitted.chosen))

    def _train(self, point: Point, ledger: Ledger) -> RunDir:
        from hepfm.plugins import plugins
        from hepfm.tracking.runs import RunDir
        from hepfm.training.request import TrainRequest

        title = f"{ledger.folder.name}-{point.name}"[:80]
        resolved = self.resolved(point.arm, point.events, point.seed, point.updates, title)
        told = ledger.told(point).get("run")
        begun = None if told is None else RunDir(self.out.resolve() / told)
        if begun is not None and not (begun.path / "run.json").exists():
            begun = None  # somebody removed it
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
            launch(request, resolved.recipe, as_json=False, reporting=False)
        return run


def _data(model: Pretrained, train: list[str] | None, val: list[str] | None) -> list[str]:
    """The overrides that name the data of the trainings: by default the run's, without validation."""
    data = model.recipe.data.model_dump(mode="json")
    named = {"train": data["train"] if train is None else train, "val": val, "reader": data["reader"]}
    return [f"data.{key}={json.dumps(value)}" for key, value in named.items()]


def _refuse_too_many(opened: Opened, counts: Sequence[int], *, fewest: int) -> None:
    from hepfm.data.generated import GeneratorSource
    from hepfm.errors import DataError

    if isinstance(opened.train, GeneratorSource):
        raise RecipeError(
            "Few of many events are drawn from files, and the run's training events are a generator's.",
            where="data.train",
            fix="write labelled events with hepfm simulate, and name them with --train",
        )
    if min(counts) < fewest or max(counts) > len(opened.train):
        raise DataError(
            f"There are {len(opened.train)} labelled events to train on, and {max(counts)} were asked for."
            if max(counts) > len(opened.train)
            else "Nothing is learned from 0 events."
            if min(counts) == 0
            else "One labelled event cannot be shared between a probe's fitting and choosing.",
            where=opened.told["train"],
            fix="ask for others with --events, or name more with --train"
            + (", or some to choose on with --val" if fewest > 1 else ""),
        )


def _settings(model: Pretrained, first: Resolved, opened: Opened) -> dict[str, Any]:
    """What the points of a curve have in common."""
    recipe = first.recipe.model_dump(mode="json")
    for key in ("name", "summary", "seed", "cluster", "tracking"):
        del recipe[key]
    for key in ("train", "val", "train_events"):  # where data lies; what it holds is told by digest
        del recipe["data"][key]
    del recipe["train"]["steps"], recipe["model"]["weights"]
    digests = {"train": opened.train.digest, "test": opened.test.digest}
    digests |= {"val": opened.val.digest} if opened.val is not None else {}
    return {"weights_sha256": model.manifest["weights_sha256"], "recipe": recipe, "data": digests}


def _taken(holder: str) -> HepfmError:

    return RecipeError("The curve is being made already.", where=holder, fix="wait, or give another --name")


def _report(
    result: dict[str, Any],
    ledger: Ledger,
    asked: Sequence[Point],
    work: _Work,
    figure: str | None,
    *,
    as_json: bool,
) -> None:
    from rich.console import Console

    from hepfm.display.html import write_html
    from hepfm.display.png import write_png
    from hepfm.errors import did_you_mean
    from hepfm.evaluation.fewshot import curve_title, curves, panel
    from hepfm.evaluation.frozen import task_on
    from hepfm.evaluation.results import write

    head = task_on(work.model.encoder, result["task"], work.opened.train.modalities).head
    result |= curves(ledger, asked, head.figures)
    result["runs"] = {point.name: ledger.told(point).get("run") for point in asked}
    path = write(ledger.folder, result, {})
    known = {name for of_curve in result["curves"].values() for each in of_curve for name in each["figures"]}
    figure = figure or ("macro_f1" if "macro_f1" in known else min(known))
    if figure not in known:
        raise RecipeError(
            f"The task has no figure '{figure}'.", where="--figure", fix=did_you_mean(figure, known)
        )
    title = f"{result['run']}: {result['task']['name']}"
    drawn = panel(result, figure, title=f"{title}, bands of {result['level']:.0%}")
    write_png([drawn], ledger.folder / "curve.png")
    write_html([drawn], ledger.folder / "curve.html", title=title)
    if message := _tell(result, ledger.folder, work):
        warn_of(message)
    if as_json:
        typer.echo(json.dumps(json.loads(path.read_text(encoding="utf-8"))))
        return
    columns = {curve_title(name): _of(each, figure) for name, each in result["curves"].items()}
    for count, each in result["gain"].items():
        columns[f"gain, {count} updates"] = _of(each, figure)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(console.width, 24 + 30 * len(columns)))
    typer.echo(f"{title}, {figure} against labelled events")
    if result["saw"]:
        typer.echo(f"Marked: the run was shown {result['saw']} in training.")
    console.print(figure_table(columns))
    typer.echo(f"Bands of {result['level']:.0%}, events and seeds drawn again. Written: {ledger.folder}")


def _tell(result: Mapping[str, Any], folder: Path, work: _Work) -> str:
    """Sends the curves to MLflow: of each figure a metric, whose step is the number of labelled events."""
    from hepfm.tracking.evaluations import metrics, tell

    at: dict[int, dict[str, float]] = {}
    named = {**result["curves"], **{f"gain-{updates}": each for updates, each in result["gain"].items()}}
    for name, curve in named.items():
        for point in curve:
            figures = {f"{name}/{key}": figure for key, figure in point["figures"].items()}
            at.setdefault(point["events"], {}).update(metrics(figures))
    return tell(
        work.parent,
        folder,
        about=work.model.about,
        params={
            **about_params(result),
            "recipe": work.recipe,
            "level": result["level"],
            "saw": result["saw"],
        },
        tags={"hepfm.kind": "fewshot", "hepfm.task": result["task"]["name"]},
        dataset={"digest": work.opened.test.digest, "source": work.opened.told["test"]},
        metrics=dict(sorted(at.items())),
        files=["figures.json", "settings.json", "curve.png", "curve.html"],
    )


def _of(curve: Sequence[Mapping[str, Any]], figure: str) -> dict[str, Any]:
    return {f"{point['events']}": point["figures"][figure] for point in curve if figure in point["figures"]}
