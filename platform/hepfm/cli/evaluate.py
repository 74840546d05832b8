"""``hepfm evaluate``: figures of a trained task on labelled events, with intervals."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hepfm.cli.data.options import ReaderName, ReaderOptions, progress_bar, reader_options
from hepfm.cli.launch import Json, Runs, near
from hepfm.cli.opened import Count, Device, Run, Step, doing, of_which, open_run, paths_of
from hepfm.cli.shards import warn
from hepfm.cli.tables import figure_table, wide
from hepfm.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hepfm.data.source import Source
    from hepfm.display.panels import Panel
    from hepfm.evaluation.evaluate import Evaluated
    from hepfm.recipe.schema import Generated
    from hepfm.tracking.runs import RunDir
    from hepfm.training.pretrained import Pretrained

Level = Annotated[float, typer.Option(min=0.01, max=0.999, help="Probability of the intervals.")]
Draws = Annotated[int, typer.Option(min=10, help="Times that events are drawn again for the intervals.")]
AllowSeen = Annotated[
    bool, typer.Option("--allow-seen", help="Take events that the model was trained on, and say so.")
]
AllowTruth = Annotated[
    bool, typer.Option("--allow-truth", help="Take a model whose inputs held truth, and say so.")
]


def evaluate(
    run: Run,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Events; may be repeated. By default the run's validation events."),
    ] = None,
    *,
    task: Annotated[str | None, typer.Option(help="The head; by default the one that the run has.")] = None,
    count: Count = None,
    step: Step = None,
    reader: ReaderName = None,
    option: ReaderOptions = None,
    candidates: Annotated[
        int | None,
        typer.Option(min=2, help="Events among which one is found, of a run that compares events."),
    ] = None,
    level: Level = 0.68,
    draws: Draws = 1000,
    allow_seen: AllowSeen = False,
    allow_truth: AllowTruth = False,
    name: Annotated[str | None, typer.Option(help="Of the evaluation; by default of task and data.")] = None,
    register: Annotated[
        str | None, typer.Option(metavar="NAME", help="Register the model in MLflow, with its card.")
    ] = None,
    device: Device = None,
    out: Runs = Path("runs"),
    as_json: Json = False,
) -> None:
    """Judge a run by events that it has not seen: figures with intervals by event.

    Of a task they are its own, and the events need labels; of a pretraining, how well it fills in what is
    hidden, or finds one side of an event by the other.

    The checkpoint says how the events are read and prepared. In MLflow the evaluation stands below the run.
    """
    found, model = open_run(run, out, step, device, data)
    from hepfm.evaluation.checks import check_labels, check_unseen, task_of
    from hepfm.evaluation.evaluate import evaluate as judge
    from hepfm.evaluation.events import open_events
    from hepfm.evaluation.judging import judging_of
    from hepfm.evaluation.plots import panels_of

    judging = judging_of(model, task, candidates=candidates)
    doubts = refuse_truth(model, allowed=allow_truth)
    events = paths_of(data) if data else own_events(model, "val", "--data")
    named = ", ".join(data) if data else "the run's data.val"
    doing(f"Reading events of {named}" if count is None else f"Reading the first {count} events of {named}")
    source = open_events(
        model,
        events,
        reader=reader,
        options=reader_options(option),
        events=count,
        seen=True,
        say=doubts.append,
    )
    named = of_which(source, count, named)
    if judging.labels:
        check_labels(task_of(model), model.encoder, source, where=named)
    if allow_seen:
        doubts.append("whether the model was trained on these events was not looked at (--allow-seen)")
    else:
        doing("Comparing them with the events of the training")
        doubts += check_unseen(model, source, where=named)
    for doubt in doubts:
        warn(doubt)
    began = time.perf_counter()
    with progress_bar("evaluate", len(source)) as advance:
        judged = judge(judging, source, level=level, draws=draws, where=named, progress=advance)
    seconds = time.perf_counter() - began
    result = result_of(model, source, judged, level=level, draws=draws, doubts=doubts) | {
        "name": name or f"{judging.name}-{name_of(data[0] if data else 'val')}"[:60].rstrip("-"),
        "run": found.name,
        "task": judging.name,
        "seconds": round(seconds, 3),
        "events_per_s": len(source) / seconds,
    }
    result["data"] |= {"named": named, "paths": events if isinstance(events, list) else []}
    if not as_json:
        show(result)
    panels = panels_of(judged, task_of(model).head if judging.labels else None)
    folder, message = recorded(found, model, result, judged, panels)
    if register is not None:
        from hepfm.cli.register import register_model

        message = register_model(found, model, register) or message
    if as_json:
        typer.echo(json.dumps(result | {"folder": str(folder.path)}))
    else:
        typer.echo(f"Written: {near(folder.path)}")
    if message:
        warn(message)


def refuse_truth(model: Pretrained, *, allowed: bool) -> list[str]:
    """A sentence where a model's inputs held truth; `RecipeError` where that is not allowed."""
    if model.saw != "truth":
        return []
    if not allowed:
        raise RecipeError(
            "The model's inputs held simulated truth, in its training or before, so its figures flatter.",
            where=str(model.folder),
            fix="--allow-truth evaluates it all the same, and marks the figures",
        )
    return ["the model's inputs held simulated truth: the figures say nothing of real data"]


def own_events(model: Pretrained, split: Literal["train", "val"], option: str) -> list[str] | Generated:
    """The run's own events: files, or what a generator makes. `RecipeError` where it had no validation."""
    events = getattr(model.recipe.data, split)
    if events is None:
        raise RecipeError(
            "The run was trained without validation events.",
            where=f"checkpoint {model.folder}",
            fix=f"name events that the model has not seen with {option}",
        )
    if isinstance(events, str | list):
        return paths_of([events] if isinstance(events, str) else events)
    made: Generated = events
    return made


def name_of(data: str) -> str:
    """What an evaluation is called after its data."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(data).stem).strip("-")


def result_of(
    model: Pretrained, source: Source, judged: Evaluated, *, level: float, draws: int, doubts: list[str]
) -> dict[str, Any]:
    """What ``evaluation.json`` says, but for names and times."""
    from hepfm.evaluation.evaluate import told
    from hepfm.tracking.versions import code_version

    return {
        "checkpoint": model.folder.name,
        "step": model.manifest["step"],
        "weights_sha256": model.manifest["weights_sha256"],
        "data": {"digest": source.digest, "events": len(source), "counted": judged.counted},
        "level": level,
        "draws": draws,
        "figures": told(judged),
        "doubts": doubts,
        "pretrain": model.about["pretrain"],
        "plugins": model.about["plugins"],
        "code": code_version(),
    }


def recorded(
    run: RunDir,
    model: Pretrained,
    result: Mapping[str, Any],
    judged: Evaluated,
    panels: Sequence[Panel] = (),
) -> tuple[RunDir, str]:
    """Writes the evaluation's folder, with what is to be plotted, and tells MLflow."""
    from hepfm.display.intervals import write_intervals
    from hepfm.evaluation.plots import write_plots
    from hepfm.tracking.evaluations import REDRAWN, begin, record

    folder = begin(run, result["name"])
    picture = folder.path / "figures.png"
    title = f"{run.name}: {result['task']} on {result['data']['events']} events of {result['data']['named']}"
    write_intervals(result["figures"], picture, title=title, level=result["level"])
    plots = write_plots(folder.path, panels, title=title)
    message = record(
        folder,
        result,
        {"event_id": judged.event_ids, **judged.statistics}
        | {f"{REDRAWN}{name}": values for name, values in judged.redrawn.items()},
        experiment=model.recipe.tracking.experiment,
        artifacts=[picture, *plots],
    )
    return folder, message


def show(result: Mapping[str, Any]) -> None:
    """Tables of the figures: those of the whole, then those of classes (``recall/NAME``) side by side."""
    data, figures = result["data"], result["figures"]
    console = wide(2)
    counted = f", {data['counted']} that count" if data["counted"] < data["events"] else ""
    said = f"Task {result['task']} on {data['events']} events of {data['named']}{counted}"
    console.print(f"{said}; intervals of {result['level']:.0%} by event", style="bold", soft_wrap=True)
    columns: dict[str, dict[str, Any]] = {}
    for name in figures:
        if "/" in name:
            what, _, of = name.partition("/")
            columns.setdefault(what, {})[of] = figures[name]
    whole = {"value": {name: figure for name, figure in figures.items() if "/" not in name}}
    for each in (whole, columns):
        if any(each.values()):
            console.print(figure_table(each))
            console.print()
