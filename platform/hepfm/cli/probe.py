"""``hepfm probe``: how much of a task simple models read off a frozen encoder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hepfm.cli.data.options import ReaderName, ReaderOptions, reader_options
from hepfm.cli.launch import Json, Runs
from hepfm.cli.opened import Device, Run, Step, doing, numbers, open_run
from hepfm.cli.shards import warn
from hepfm.cli.tables import figure_table, wide

if TYPE_CHECKING:
    from hepfm.evaluation.probe import Protocol
    from hepfm.evaluation.splits import Splits
    from hepfm.training.pretrained import Pretrained

Task = Annotated[str, typer.Option(help="The head whose targets are read (hepfm plugin list).")]
Train = Annotated[
    list[str] | None,
    typer.Option(metavar="PATH", help="Labelled events to fit to; by default those of the pretraining."),
]
Val = Annotated[
    list[str] | None,
    typer.Option(metavar="PATH", help="Events to choose on; by default a fifth of those to fit to."),
]
Test = Annotated[
    list[str] | None,
    typer.Option(metavar="PATH", help="Events for the figures; by default the run's validation events."),
]
HeadSet = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="An option of the head; may be repeated."),
]
AllowTruth = Annotated[
    bool, typer.Option("--allow-truth", help="Also a run that was shown truth or labels; figures are marked.")
]


def probe(
    run: Run,
    task: Task,
    *,
    kind: Annotated[str | None, typer.Option(help="linear, knn, mlp or svm; by default linear.")] = None,
    protocol: Annotated[
        str | None, typer.Option(help="Somebody else's way: polar-mae-svm, bnl-svm or bnl-mlp.")
    ] = None,
    train: Train = None,
    val: Val = None,
    test: Test = None,
    events: Annotated[
        int | None, typer.Option(min=2, help="So many labelled events, drawn; by default all.")
    ] = None,
    layers: Annotated[
        str | None, typer.Option(help="Layers that are read side by side: 2,4,5; by default three.")
    ] = None,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="Also the same model with initial weights.")
    ] = False,
    overrides: HeadSet = None,
    seeds: Annotated[str, typer.Option(help="Seeds: 1 or 1,2,3. Each draws events and rows anew.")] = "1",
    rows: Annotated[
        int | None, typer.Option(min=10, help="Most rows to fit to; by default the kind's own bound.")
    ] = None,
    step: Step = None,
    reader: ReaderName = None,
    option: ReaderOptions = None,
    device: Device = None,
    allow_truth: AllowTruth = False,
    name: Annotated[
        str | None, typer.Option(help="Name of the evaluation, which replaces one of it.")
    ] = None,
    out: Runs = Path("runs"),
    as_json: Json = False,
) -> None:
    """Probe a pretrained model: fit a simple model to its frozen features, and test it.

    Strengths are chosen on validation events, figures are of test events, with intervals by event; no event
    is in two of the three. What came of it is in RUN/evaluations/NAME.
    """
    doing(f"Probing {run}")
    from hepfm.evaluation.probe import probe as run_probe
    from hepfm.evaluation.probe import refuse_told
    from hepfm.evaluation.results import LEVEL, difference, summary, write
    from hepfm.evaluation.splits import open_splits
    from hepfm.tracking.evaluations import metrics, tell

    way = _way(kind, protocol, rows)
    which, read = numbers(seeds, "--seeds"), numbers(layers, "--layers") if layers else ()
    head = head_of(task, overrides)
    asked = protocol or kind or "linear"
    name = folder_name(name or f"probe-{task}-{asked}")
    parent, model = open_run(run, out, step, device, train, val, test)
    saw = refuse_told(model, allow=allow_truth)
    doing("Reading labelled events")
    opened = open_splits(
        model, train=train, val=val, test=test, reader=reader, options=reader_options(option)
    )
    for doubt in opened.doubts:
        warn(doubt)
    made = run_probe(
        model, head, opened, way, events=events, layers=read, seeds=which, untrained=untrained, say=_say
    )
    result = {
        "kind": "probe",
        "name": name,
        "run": parent.name,
        "task": head,
        "probe": asked,
        **about_model(model),
        "saw": saw,
        "doubts": opened.doubts,
        "seeds": which,
        "layers": made.layers,
        "data": [_data(splits) for splits in made.splits],
        "fits": made.fits,
        "level": LEVEL,
        "figures": {arm: summary(runs, made.figures) for arm, runs in made.statistics.items()},
    }
    if untrained:
        result["gain"] = difference(made.statistics["pretrained"], made.statistics["untrained"], made.figures)
    path = write(parent.evaluations / name, result, made.statistics)
    told = {key: result[key] for key in ("probe", "seeds", "layers", "saw")}
    figures = metrics(result["figures"]["pretrained"])
    for arm in ("untrained", "gain"):
        of = result["figures"].get(arm) if arm == "untrained" else result.get(arm)
        figures |= metrics({f"{arm}/{key}": figure for key, figure in (of or {}).items()})
    message = tell(
        parent,
        path.parent,
        about=model.about,
        params={**about_params(result), **told, "events": result["data"][0]["train"]["events"]},
        tags={"hepfm.kind": "probe", "hepfm.task": task},
        dataset={"digest": opened.test.digest, "source": opened.told["test"]},
        metrics={result["step"]: figures},
        files=["figures.json", "statistics.npz"],
    )
    if as_json:
        typer.echo(json.dumps(json.loads(path.read_text(encoding="utf-8"))))
    else:
        _show(result, path)
    if message:
        warn(message)


def _way(kind: Any, protocol: str | None, rows: int | None) -> Protocol:
    from hepfm.errors import RecipeError, did_you_mean
    from hepfm.evaluation.fit import MOST_ROWS
    from hepfm.evaluation.probe import plain
    from hepfm.evaluation.protocols import PROTOCOLS

    if protocol is not None and (kind is not None or rows is not None):
        raise RecipeError(
            "A protocol says itself what is fitted, and to how many rows.",
            where="--kind" if kind is not None else "--rows",
            fix="leave it out, or leave --protocol out",
        )
    kind = kind or "linear"
    if kind not in MOST_ROWS:
        raise RecipeError(f"There is no probe '{kind}'.", where="--kind", fix=did_you_mean(kind, MOST_ROWS))
    if protocol is None:
        return plain(kind, rows)
    if protocol not in PROTOCOLS:
        raise RecipeError(
            f"There is no protocol '{protocol}'.", where="--protocol", fix=did_you_mean(protocol, PROTOCOLS)
        )
    return PROTOCOLS[protocol]


def head_of(task: str, overrides: list[str] | None) -> dict[str, Any]:
    """Name of a head, and its options as a command line gives them."""
    from hepfm.recipe.layers import set_values

    return {"name": task, **set_values(overrides or [], example="part=image3d").tree}


def folder_name(name: str) -> str:
    """A name that can be a folder's. `RecipeError` for others."""
    import re

    from hepfm.errors import RecipeError
    from hepfm.recipe.schema import PATTERNS

    pattern, words = next(iter(PATTERNS.items()))
    if not re.fullmatch(pattern, name):
        raise RecipeError(f"'{name}' cannot be an evaluation's name.", where="--name", fix=words)
    return name


def about_model(model: Pretrained) -> dict[str, Any]:
    """What a record says of the model."""
    from hepfm import __version__

    return {
        "checkpoint": str(model.folder),
        "step": model.manifest["step"],
        "weights_sha256": model.manifest.get("weights_sha256"),
        "hepfm": __version__,
    }


def about_params(result: Mapping[str, Any]) -> dict[str, Any]:
    """What MLflow is told of whatever evaluation of a model."""
    return {key: result[key] for key in ("task", "checkpoint", "weights_sha256")}


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _data(splits: Splits) -> dict[str, Any]:
    from hepfm.evaluation.results import about_split

    named = {"train": splits.train, "val": splits.val, "test": splits.test}
    return {name: about_split(split, splits.told[name]) for name, split in named.items()}


def _show(result: Mapping[str, Any], path: Path) -> None:
    from hepfm.evaluation.results import LEVEL

    data = result["data"][0]
    typer.echo(
        f"Probe of {result['run']}, step {result['step']}: {result['task']['name']}, {result['probe']}"
    )
    typer.echo(
        ", ".join(f"{data[name]['events']} events to {verb} ({data[name]['named']})" for name, verb in _VERBS)
    )
    if result["saw"]:
        typer.echo(f"Marked: the run was shown {result['saw']} in training.")
    columns = dict(result["figures"])
    if "gain" in result:
        columns["gain"] = result["gain"]
    wide(len(columns)).print(figure_table(columns))
    typer.echo(f"Intervals of {LEVEL:.0%}, events drawn again. Written: {path}")


_VERBS = (("train", "fit to"), ("val", "choose on"), ("test", "test on"))
