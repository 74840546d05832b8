"""``hepfm anomaly``: how unlike ordinary events others are, to a trained model."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hepfm.cli.data.options import ReaderName, ReaderOptions, reader_options
from hepfm.cli.evaluate import (
    AllowSeen,
    AllowTruth,
    Draws,
    Level,
    name_of,
    own_events,
    recorded,
    refuse_truth,
    result_of,
    show,
)
from hepfm.cli.launch import Json, RunsOnly, near
from hepfm.cli.opened import (
    Count,
    Device,
    Events,
    Run,
    Step,
    device_of,
    doing,
    numbers,
    of_which,
    open_run,
    paths_of,
)
from hepfm.cli.predict import filled, in_words
from hepfm.cli.probe import folder_name
from hepfm.cli.shards import Address, Workers, warn
from hepfm.errors import DataError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepfm.data.source import Source
    from hepfm.evaluation.anomaly import Judged
    from hepfm.evaluation.writing import Making
    from hepfm.training.pretrained import Pretrained

_OTHERS = ("reference", "against")


def anomaly(
    run: Run,
    data: Events,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the scores; may hold those of other events, too.")
    ],
    *,
    count: Count = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Events that say what is usual; by default the run's data.train."),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Further ordinary events, to compare with; by default data.val."),
    ] = None,
    most: Annotated[
        int, typer.Option(min=20, help="Reference events at most, and ordinary ones: so many are drawn.")
    ] = 2000,
    masks: Annotated[int, typer.Option(min=1, help="How often each event is masked.")] = 4,
    layers: Annotated[
        str | None, typer.Option(metavar="A,B", help="Layers to read.", show_default="the output")
    ] = None,
    step: Step = None,
    level: Level = 0.68,
    draws: Draws = 1000,
    allow_seen: AllowSeen = False,
    allow_truth: AllowTruth = False,
    name: Annotated[str | None, typer.Option(help="Of the scores; by default of the data.")] = None,
    workers: Workers = None,
    address: Address = None,
    reader: ReaderName = None,
    option: ReaderOptions = None,
    device: Device = None,
    runs: RunsOnly = Path("runs"),
    as_json: Json = False,
) -> None:
    """Score how unlike ordinary events others are, by what is filled in and by where the encoder puts them.

    Of each event OUT/NAME.csv says the scores, and how likely an ordinary event scores as much. One that was
    stopped goes on where it was: run the same command again.
    """
    found, model = open_run(run, runs, step, "cpu", data, reference, against)
    from hepfm.evaluation.anomaly import Seen, Usual, judge
    from hepfm.evaluation.embed import check_read
    from hepfm.evaluation.writing import Making

    doubts = refuse_truth(model, allowed=allow_truth)
    name = folder_name(name or name_of(data[0]) + (f"-first-{count}" if count else ""))
    if name in _OTHERS:
        raise RecipeError(f"Scores cannot be called '{name}'.", where="--name", fix="give another name")
    chosen = tuple(numbers(layers, "--layers")) if layers else ()
    check_read(model, "pooled", "", chosen)
    given = {"reader": reader, "options": reader_options(option)}
    checkpoint = found.checkpoints / model.folder.name
    common = Making(
        checkpoint=str(checkpoint),
        data=[],
        read="scored",
        layers=chosen,
        masks=masks,
        device=device_of(device),
    )
    makings = {
        name: common.model_copy(update={"data": paths_of(data), "events": count, **given}),
        **_others(model, common, {"reference": reference, "against": against}, given, most),
    }
    doing("Reading the events, those of the reference, and ordinary ones")
    sources = {each: making.open(doubts.append)[1] for each, making in makings.items()}
    doubts += _doubted(model, sources, name, allow_seen=allow_seen)
    doubts = list(dict.fromkeys(doubts))
    for doubt in doubts:
        warn(doubt)
    began = time.perf_counter()
    seen = {}
    for each, making in makings.items():
        done = filled(making, out / each, workers=workers, address=address, say=lambda _: None)
        if not as_json:
            typer.echo(in_words(done))
        seen[each] = Seen.read(out / each)
    usual = Usual(seen["reference"])
    for doubt in usual.doubts():
        doubts.append(doubt)
        warn(doubt)
    judged = judge(usual, seen[name], seen["against"], level=level, draws=draws)
    if "error" not in judged.scores:
        doubts.append("there is no score 'error': the run's objective hides nothing of single events")
        warn(doubts[-1])
    result = result_of(model, sources[name], judged.evaluated, level=level, draws=draws, doubts=doubts) | {
        "name": f"anomaly-{name}"[:60],
        "run": found.name,
        "task": "anomaly",
        "seconds": round(time.perf_counter() - began, 3),
        "masks": masks,
        "layers": common.layers,
        **{
            each: {
                "digest": sources[each].digest,
                "events": len(sources[each]),
                "named": _named(makings[each]),
            }
            for each in _OTHERS
        },
    }
    result["data"] |= {"named": of_which(sources[name], count, ", ".join(data)), "paths": makings[name].data}
    table = out / f"{name}.csv"
    _write(table, sources[name], seen[name], judged)
    folder, message = recorded(found, model, result, judged.evaluated)
    if as_json:
        typer.echo(json.dumps(result | {"scores": str(table), "folder": str(folder.path)}))
    else:
        show(result)
        typer.echo(f"Written: {table}, {near(folder.path)}")
    if message:
        warn(message)


def _others(
    model: Pretrained,
    common: Making,
    named: Mapping[str, list[str] | None],
    given: Mapping[str, Any],
    most: int,
) -> dict[str, Making]:
    """What the events are compared with: those of a command line, or else those of the run."""
    makings = {}
    for name, paths in named.items():
        if paths is not None:
            makings[name] = common.model_copy(update={"data": paths_of(paths), "most": most, **given})
            continue
        events = own_events(model, "train" if name == "reference" else "val", f"--{name}")
        makings[name] = common.model_copy(update={"data": events, "most": most})
    return makings


def _doubted(model: Pretrained, sources: Mapping[str, Source], name: str, *, allow_seen: bool) -> list[str]:
    """What flatters, in sentences; `DataError` where the ordinary events were learned from."""
    from hepfm.data.source import check_apart
    from hepfm.evaluation.checks import check_unseen

    try:
        check_apart(sources["reference"], sources["against"])
    except DataError as error:
        raise DataError(
            "Ordinary events are reference events too, so all others would look stranger than they are.",
            where=error.where,
            fix="name others with --against, or with --reference",
        ) from error
    if allow_seen:
        return ["whether the model was trained on these events was not looked at (--allow-seen)"]
    doubts = [
        f"ordinary events: {each}" for each in check_unseen(model, sources["against"], where="--against")
    ]
    for what, source in (("reference", sources["reference"]), ("training", None)):
        try:
            if source is not None:
                check_apart(source, sources[name])
            else:
                doubts += [f"{name}: {each}" for each in check_unseen(model, sources[name], where="--data")]
        except DataError:
            doubts.append(f"some of the events are {what} events: they look more ordinary than they are")
    return doubts


def _named(making: Making) -> str:
    data = making.model_dump(mode="json")["data"]
    return ", ".join(data) if isinstance(data, list) else json.dumps(data)


def _write(path: Path, source: Source, seen: Any, judged: Judged) -> None:
    """A row for each event: id, place, units, and each score with its p-value; empty where there is none."""
    import numpy as np

    names = list(judged.scores)
    columns = [values for name in names for values in (judged.scores[name], judged.p[name])]
    aside = path.with_name(f".{path.name}")
    with aside.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(
            ["event_id", "place", "units", *(f"{end}{name}" for name in names for end in ("", "p_"))]
        )
        for row, event_id in enumerate(seen.event_ids.tolist()):
            values = [f"{each[row]:.6g}" if np.isfinite(each[row]) else "" for each in columns]
            table.writerow([f"{event_id:#018x}", source.place(row), int(seen.units[row]), *values])
    aside.replace(path)
