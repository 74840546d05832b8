"""``hepfm fewshot``: what pretraining is worth, against the number of labelled events."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hepfm.cli.curve import Work, data_overrides
from hepfm.cli.data.options import ReaderName, ReaderOptions, reader_options
from hepfm.cli.finetune import task_on as recipe_on
from hepfm.cli.launch import Address, InProcess, Json, Runs, Set, Workers, cluster_overrides, warn
from hepfm.cli.opened import Device, Run, Step, doing, numbers, open_run
from hepfm.cli.probe import AllowTruth, Task, Test, Train, Val, about_model, about_params, folder_name
from hepfm.cli.shards import warn as warn_of
from hepfm.cli.tables import figure_table, wide
from hepfm.errors import HepfmError, RecipeError, did_you_mean

if TYPE_CHECKING:
    from hepfm.evaluation.splits import Opened
    from hepfm.objectives.task import Task as Learned
    from hepfm.recipe.load import Resolved
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
    converge: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Besides, trainings until --val shows nothing better, after N updates at the latest.",
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
    reader: ReaderName = None,
    option: ReaderOptions = None,
    device: Device = None,
    allow_truth: AllowTruth = False,
    name: Annotated[str | None, typer.Option(help="Name of the evaluation, by default fewshot-TASK.")] = None,
    out: Runs = Path("runs"),
    as_json: Json = False,
) -> None:
    """Draw the curve: fine-tuned on few labelled events, against from scratch on the same.

    Both with equal updates and, on demand (--converge), until they become no better. Each point is a run of
    its own, tested on all test events; those from scratch may be those of another pretrained run's curve. The
    same command goes on after it was stopped or killed; points that are done stay. More events or seeds add
    points.
    """
    doing(f"Drawing few-shot curves of {run}")
    from hepfm.evaluation.fewshot import Ledger, curves, doubts_of, points, refuse_others
    from hepfm.evaluation.frozen import task_on
    from hepfm.evaluation.probe import refuse_told
    from hepfm.locks import held
    from hepfm.training.in_process import under_torchrun

    if under_torchrun():
        raise RecipeError("A few-shot curve starts its trainings itself.", fix="run it without torchrun")
    if converge is not None and val is None:
        raise RecipeError(
            "When a training has converged is seen on events of their own, and none are named.",
            where="--converge",
            fix="name labelled events that are neither trained nor tested on with --val",
        )
    read = reader_options(option)
    if (reader or read) and (train is None or test is None):
        raise RecipeError(
            "One reader reads all events of a curve, and the run's own have theirs.",
            where="--reader" if reader else "--option",
            fix="name the events, too: --train and --test",
        )
    parent, model = open_run(run, out, step, device, train, val, test)
    saw = refuse_told(model, allow=allow_truth)
    counts = numbers(events, "--events")
    given = [*data_overrides(model, train, val, reader, read), *(overrides or [])]
    given += cluster_overrides(workers=workers, in_process=in_process, address=address)
    first = recipe_on(parent, model.folder, recipe := recipe or f"tasks/{task}", given)
    warn(first)
    steps = numbers(updates, "--updates") if updates else [first.recipe.train.steps]
    asked = points(sorted(counts), numbers(seeds, "--seeds"), steps, probes=probes, converge=converge)
    head = first.recipe.objective.options()["head"]
    if head["name"] != task:
        raise RecipeError(
            f"The recipe '{recipe}' learns the task '{head['name']}', not '{task}'.", where="--recipe"
        )
    folder = parent.evaluations / folder_name(name or f"fewshot-{task}")
    settings = _settings(model, first)
    refuse_others(folder, settings)  # what is known before events are read, which may take minutes
    opened = _opened(model, train=train, val=val, test=test, reader=reader, options=read)
    settings["data"] = {named: source.digest for named, source in opened.sources.items()}
    refuse_others(folder, settings)
    work = Work(parent=parent, model=model, opened=opened, test=test, recipe=recipe, overrides=given, out=out)
    learned = task_on(model.encoder, head, opened.train.modalities)
    figure = _figure(figure, learned.figure_names())
    best_by = first.recipe.train.best_by or ("macro_f1" if "macro_f1" in learned.figure_names() else None)
    _refuse_too_many(opened, counts, fewest=2 if probes and val is None else 1)
    _refuse_unfit(opened, learned, model)
    ledger = Ledger(folder, settings)
    with held(folder / "lock", _taken):
        for at, point in enumerate(asked, 1):
            if not ledger.told(point).get("done"):
                typer.echo(f"{at}/{len(asked)}  {point.name}", err=True)
                work.carry_out(point, ledger, head, best_by)
        doubts = [*opened.doubts, *doubts_of(ledger, asked, out.resolve())]
        result = {"kind": "fewshot", "name": folder.name, "run": parent.name, "task": head}
        result |= {**about_model(model), "saw": saw, "data": opened.told, "doubts": doubts}
        result |= {} if converge is None else {"chosen_by": best_by or "loss"}
        result |= curves(ledger, asked, learned.head.figures)
        result["trainings"] = {point.name: ledger.told(point) for point in asked if point.arm != "probe"}
        _report(result, ledger.folder, work, figure, as_json=as_json)


def _figure(asked: str | None, known: Sequence[str]) -> str:
    """The figure that is drawn, told before anything is trained."""
    if asked is None:
        return "macro_f1" if "macro_f1" in known else known[0]
    if asked not in known:
        raise RecipeError(
            f"The task has no figure '{asked}'.", where="--figure", fix=did_you_mean(asked, known)
        )
    return asked


def _opened(model: Pretrained, **named: Any) -> Opened:
    """The labelled events; says what is not as in training, or flatters."""
    from hepfm.evaluation.splits import open_splits

    doing("Reading labelled events")
    opened = open_splits(model, **named)
    for doubt in opened.doubts:
        warn_of(doubt)
    return opened


def _refuse_unfit(opened: Opened, learned: Learned, model: Pretrained) -> None:
    """`DataError` where an event is in two of the sources, or no event of one has a label."""
    from hepfm.evaluation.checks import check_labels
    from hepfm.training.labels import refuse_unlabelled

    doing("Comparing events, and looking for labels")
    opened.refuse_shared()
    for named, source in opened.sources.items():
        check_labels(learned, model.encoder, source, where=opened.told[named])
        refuse_unlabelled(learned.head, source, where=opened.told[named])


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


def _settings(model: Pretrained, first: Resolved) -> dict[str, Any]:
    """What the points of a curve have in common, but for the data."""
    recipe = first.recipe.model_dump(mode="json")
    for key in ("name", "summary", "seed", "cluster", "tracking"):
        del recipe[key]
    for key in ("train", "val", "train_events"):  # where data lies; what it holds is told by digest
        del recipe["data"][key]
    del recipe["train"]["steps"], recipe["model"]["weights"]
    return {"weights_sha256": model.manifest["weights_sha256"], "recipe": recipe}


def _taken(holder: str) -> HepfmError:
    return RecipeError("The curve is being made already.", where=holder, fix="wait, or give another --name")


def _report(result: dict[str, Any], folder: Path, work: Work, figure: str, *, as_json: bool) -> None:
    from hepfm.display.html import write_html
    from hepfm.display.png import write_png
    from hepfm.evaluation.fewshot import panel
    from hepfm.evaluation.results import write
    from hepfm.tracking.probes import curve_title, length_title

    result["figure"] = figure
    path = write(folder, result, {})
    for doubt in result["doubts"][len(work.opened.doubts) :]:
        warn_of(doubt)
    rows = {curve_title(name): each for name, each in result["curves"].items()}
    rows |= {f"gain, {length_title(count)}": each for count, each in result["gain"].items()}
    columns = _by_events(rows, figure)
    if not columns:
        raise RecipeError(
            f"The figure '{figure}' is not defined for these test events.",
            where=str(path),
            fix="draw another one with --figure: what was trained stays",
        )
    title = f"{result['run']}: {result['task']['name']}"
    drawn = panel(result, figure, title=f"{title}, bands of {result['level']:.0%}")
    write_png([drawn], folder / "curve.png")
    write_html([drawn], folder / "curve.html", title=title)
    if message := _tell(result, folder, work):
        warn_of(message)
    if as_json:
        typer.echo(json.dumps(json.loads(path.read_text(encoding="utf-8"))))
        return
    typer.echo(f"{title}, {figure} against labelled events")
    if result["saw"]:
        typer.echo(f"Marked: the run was shown {result['saw']} in training.")
    wide(len(columns)).print(figure_table(columns))
    if "chosen_by" in result:
        chosen = f"best {result['chosen_by']} on {result['data']['val']}"
        typer.echo(f"Trainings to convergence are tested as they were at their {chosen}.")
    several = any(len(point["seeds"]) > 1 for curve in result["curves"].values() for point in curve)
    again = "events and seeds" if several else "events"
    typer.echo(f"Bands of {result['level']:.0%}, {again} drawn again. Written: {folder}")


def _tell(result: Mapping[str, Any], folder: Path, work: Work) -> str:
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
            **({"chosen_by": result["chosen_by"]} if "chosen_by" in result else {}),
        },
        tags={"hepfm.kind": "fewshot", "hepfm.task": result["task"]["name"]},
        dataset={"digest": work.opened.test.digest, "source": work.opened.told["test"]},
        metrics=dict(sorted(at.items())),
        files=["figures.json", "settings.json", "curve.png", "curve.html"],
    )


def _by_events(
    curves: Mapping[str, Sequence[Mapping[str, Any]]], figure: str
) -> dict[str, dict[str, Mapping[str, float]]]:
    """Number of events to curve to the figure there."""
    found: dict[int, dict[str, Mapping[str, float]]] = {}
    for name, curve in curves.items():
        for point in curve:
            if figure in point["figures"]:
                found.setdefault(point["events"], {})[name] = point["figures"][figure]
    return {f"{events} events": found[events] for events in sorted(found)}
