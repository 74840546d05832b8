"""A model's card, in Markdown: what it is, what it was trained on, its figures, and what it is not good for.

After Mitchell et al., "Model cards for model reporting", FAT* 2019 (arXiv:1810.03993).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hepfm.recipe.document import dump
from hepfm.tracking.evaluations import SideBySide
from hepfm.tracking.probes import probe_tables
from hepfm.training.pretrained import Pretrained
from hepfm.training.snapshot import trained_on


def card(
    model: Pretrained,
    name: str,
    *,
    run: str,
    results: Sequence[Mapping[str, Any]],
    probes: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The card.

    Args:
        model: Of the checkpoint.
        name: Of the registered model.
        run: The run's.
        results: What ``evaluation.json`` says of the evaluations; those of other checkpoints are left out,
            and of those of the same events with the same figures all but the last.
        probes: The same of probes and few-shot curves (`hepfm.tracking.probes.probes_of`).
    """
    sha = model.manifest["weights_sha256"]
    results, probes = (
        [each for each in found if each["weights_sha256"] == sha] for found in (results, probes)
    )
    results = list(
        {
            json.dumps([each["task"], each["data"]["digest"], each["level"], each["figures"]]): each
            for each in results
        }.values()
    )
    lines = [
        f"# {name}",
        "",
        *_what(model, run),
        "",
        "## Data",
        "",
        *_data(model),
        "",
        "## Figures",
        "",
        *_figures(results, probe_tables([probes])),
        "",
        "## Limits",
        "",
        *(f"- {sentence}" for sentence in _limits(model, results)),
        "",
        "## Use",
        "",
        "```",
        *_use(model, run),
        "```",
        "",
        "## Recipe",
        "",
        "```yaml",
        dump(model.recipe.model_dump(mode="json")).rstrip(),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _what(model: Pretrained, run: str) -> Iterator[str]:
    recipe, about = model.recipe, model.about
    head = recipe.objective.options().get("head")
    parameters = sum(each.numel() for each in model.module.parameters())
    parts = ", ".join(f"{part} ({schema.kind})" for part, schema in model.parts.items())
    task = f"task `{head['name']}`" if isinstance(head, Mapping) else f"pretrained, `{recipe.objective.name}`"
    yield f"| | |\n|---|---|\n| What | {task} |"
    yield f"| Reads | {parts} |"
    yield f"| Backbone | {recipe.model.backbone.name}, {parameters:,} parameters in all |"
    yield f"| Run | {run}, {model.folder.name} of {recipe.train.steps} steps |"
    yield f"| Weights | sha256 {model.manifest['weights_sha256']} |"
    used = ", ".join(f"{name} {told['version']}" for name, told in about["plugins"].items())
    yield f"| Made with | hepfm {about['hepfm']}; plugins {used} |"


def _data(model: Pretrained) -> Iterator[str]:
    own, *before = trained_on(model.about)
    yield f"- trained on {_named(own['data'])}, digest {own['digest']}"
    for each in before:
        named = _named(each["data"])
        yield f"- weights from a model that was trained on {named}, digest {each['digest']}"
    for part, schema in model.parts.items():
        said = {key: value for key, value in schema.attributes.items() if not isinstance(value, Mapping)}
        columns = [
            f"{table}.{name}" + (f" [{column.unit}]" if column.unit else "")
            for table, names in schema.tables.items()
            for name, column in names.items()
            if not column.label
        ]
        yield f"- {part}: {', '.join(columns)}"
        if said:
            yield f"  ({', '.join(f'{key} {value}' for key, value in said.items())})"


def _named(data: Mapping[str, Any]) -> str:
    train = data["train"]
    if isinstance(train, Mapping):
        return f"{train['events']} events of the generator {train['generator']}, seed {train['seed']}"
    few, named = data.get("train_events"), train if isinstance(train, str) else ", ".join(train)
    return named if few is None else f"{few} events of {named}"


def _figures(results: Sequence[Mapping[str, Any]], probes: Sequence[SideBySide]) -> Iterator[str]:
    if not results and not probes:
        yield "Not evaluated yet: `hepfm evaluate` does it."
    for each in results:
        data = each["data"]
        yield (
            f"Task `{each['task']}` on {data['events']} events of {data['named']} "
            f"(digest {data['digest'][:12]}), intervals of {each['level']:.0%} by event:"
        )
        yield ""
        yield "| | value | interval |\n|---|---|---|"
        for name, figure in each["figures"].items():
            ends = f"{figure['low']:.4g} to {figure['high']:.4g}" if "low" in figure else ""
            yield f"| {name} | {figure['value']:.4g} | {ends} |"
        yield ""
    for table in probes:
        yield f"{table.title}:\n\n| | |\n|---|---|"
        for name, (text,) in table.rows:
            yield f"| {name} | {text} |"
        yield ""


def _limits(model: Pretrained, results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "The figures hold for events like those that they were measured on, and for no others."
    if model.saw == "truth":
        yield "Its inputs held simulated truth, which no detector gives: figures say nothing of real data."
    limit = model.recipe.data.max_event_cost
    yield f"Events with more than {limit:,} stored rows are refused (`data.max_event_cost`)."
    for each in results:
        for doubt in each["doubts"]:
            yield f"{each['data']['named']}: {doubt}."
        if left := each["data"]["events"] - each["data"]["counted"]:
            yield f"{each['data']['named']}: {left} events have no target that counts."


def _use(model: Pretrained, run: str) -> Iterator[str]:
    if isinstance(model.recipe.objective.options().get("head"), Mapping):
        yield f"hepfm evaluate {run} --data LABELLED_EVENTS"
        yield f"hepfm predict {run} --data EVENTS --out FOLDER"
    else:
        yield f"hepfm finetune {run} --recipe RECIPE"
    yield f"hepfm embed {run} --data EVENTS --out FOLDER"
