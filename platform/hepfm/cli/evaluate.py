"""``hepfm evaluate``: figures of a trained task on labelled events, with intervals."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hepfm.cli.data.options import ReaderName, ReaderOptions, progress_bar, reader_options
from hepfm.cli.launch import Json, Out, near
from hepfm.cli.opened import Device, Events, Run, Step, open_run, paths_of
from hepfm.cli.shards import warn
from hepfm.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepfm.data.source import Source
    from hepfm.evaluation.evaluate import Evaluated
    from hepfm.tracking.runs import RunDir
    from hepfm.training.pretrained import Pretrained


def evaluate(
    run: Run,
    data: Events,
    *,
    task: Annotated[str | None, typer.Option(help="The head; by default the one that the run has.")] = None,
    step: Step = None,
    reader: ReaderName = None,
    option: ReaderOptions = None,
    level: Annotated[float, typer.Option(min=0.01, max=0.999, help="Probability of the intervals.")] = 0.68,
    draws: Annotated[
        int, typer.Option(min=10, help="Times that events are drawn again for the intervals.")
    ] = 1000,
    allow_seen: Annotated[
        bool, typer.Option("--allow-seen", help="Take events that the model was trained on, and say so.")
    ] = False,
    allow_truth: Annotated[
        bool, typer.Option("--allow-truth", help="Take a model whose inputs held truth, and say so.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Of the evaluation; by default of task and data.")] = None,
    register: Annotated[
        str | None, typer.Option(metavar="NAME", help="Register the model in MLflow, with its card.")
    ] = None,
    device: Device = None,
    out: Out = Path("runs"),
    as_json: Json = False,
) -> None:
    """Judge a run by labelled events that it has not seen: its task's figures, with intervals by event.

    The checkpoint says how the events are read and prepared. In MLflow the evaluation stands below the run.
    """
    from hepfm.evaluation.checks import check_labels, check_unseen, task_of
    from hepfm.evaluation.evaluate import evaluate as judge
    from hepfm.evaluation.events import open_events

    found, model = open_run(run, out, step, device)
    head = task_of(model, task).config.head.name
    doubts = _truth(model, allowed=allow_truth)
    named, paths = ", ".join(data), paths_of(data)
    source = open_events(
        model, paths, reader=reader, options=reader_options(option), seen=True, say=doubts.append
    )
    check_labels(model, source, where=named)
    if allow_seen:
        doubts.append("whether the model was trained on these events was not looked at (--allow-seen)")
    else:
        doubts += check_unseen(model, source, where=named)
    for doubt in doubts:
        warn(doubt)
    began = time.perf_counter()
    with progress_bar("evaluate", len(source)) as advance:
        judged = judge(model, source, level=level, draws=draws, where=named, progress=advance)
    seconds = time.perf_counter() - began
    result = _result(model, source, judged, level=level, draws=draws, doubts=doubts) | {
        "name": name or _name(head, data[0]),
        "run": found.name,
        "task": head,
        "seconds": round(seconds, 3),
        "events_per_s": len(source) / seconds,
    }
    result["data"] |= {"named": named, "paths": paths}
    if not as_json:
        show(result)
    folder, message = _record(found, model, result, judged)
    if register is not None:
        from hepfm.cli.register import register_model

        message = register_model(found, model, register) or message
    if as_json:
        typer.echo(json.dumps(result | {"folder": str(folder.path)}))
    else:
        typer.echo(f"Written: {near(folder.path)}")
    if message:
        warn(message)


def _truth(model: Pretrained, *, allowed: bool) -> list[str]:
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


def _name(head: str, data: str) -> str:
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(data).stem).strip("-")
    return f"{head}-{stem}"[:60].rstrip("-")


def _result(
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


def _record(
    run: RunDir, model: Pretrained, result: Mapping[str, Any], judged: Evaluated
) -> tuple[RunDir, str]:
    """Writes the evaluation's folder and tells MLflow."""
    from hepfm.display.intervals import write_intervals
    from hepfm.evaluation.plots import write_plots
    from hepfm.tracking.evaluations import REDRAWN, begin, record

    folder = begin(run, result["name"])
    picture = folder.path / "figures.png"
    title = f"{run.name}: {result['task']} on {result['data']['events']} events of {result['data']['named']}"
    write_intervals(result["figures"], picture, title=title, level=result["level"])
    plots = write_plots(folder.path, model, judged, title=title)
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
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from hepfm.tracking.evaluations import in_words

    data, figures = result["data"], result["figures"]
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(console.width, 120))
    counted = f", {data['counted']} with labels that count" if data["counted"] < data["events"] else ""
    said = f"Task {result['task']} on {data['events']} events{counted}"
    console.print(f"{said}; intervals of {result['level']:.0%} by event", style="bold", soft_wrap=True)
    whole = {name: figure for name, figure in figures.items() if "/" not in name}
    groups: dict[str, dict[str, Any]] = {}
    for name in figures:
        if "/" in name:
            what, _, of = name.partition("/")
            groups.setdefault(of, {})[what] = figures[name]
    kinds = list(dict.fromkeys(what for each in groups.values() for what in each))
    for columns, rows in (
        (["value"], {name: {"value": each} for name, each in whole.items()}),
        (kinds, groups),
    ):
        if not rows:
            continue
        table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column("")
        for column in columns:
            table.add_column(column, no_wrap=True)
        for row, values in rows.items():
            table.add_row(row, *(in_words(values.get(column)) for column in columns))
        console.print(table)
        console.print()
