"""``hepfm export``: a run's model in a form that other programs read."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hepfm.cli.launch import Json, RunsOnly
from hepfm.cli.opened import Run, Step, open_run
from hepfm.cli.tables import console, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepfm.evaluation.export import Compared


def export(
    run: Run,
    *,
    to: Annotated[
        Literal["safetensors", "torch-export", "onnx"],
        typer.Option("--to", help="Weights; or backbone and head as graphs beside them."),
    ] = "safetensors",
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder to write, which is not there yet.")
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Events to compare with; by default those of the run."),
    ] = None,
    events: Annotated[int, typer.Option(min=2, help="How many of them.")] = 8,
    step: Step = None,
    runs: RunsOnly = Path("runs"),
    as_json: Json = False,
) -> None:
    """Export a run's model, and compare its outputs with those of the model on real events.

    Writes model.safetensors, model.json and load.py, an example that reads them without Ray, DeepSpeed or
    MLflow. With torch-export or onnx, backbone and head are written as graphs, too: they begin at tokens.
    """
    from hepfm.data.batches import batches
    from hepfm.errors import DataError
    from hepfm.evaluation.events import open_events
    from hepfm.evaluation.export import export as write

    found, model = open_run(run, runs, step, "cpu")
    given = model.recipe.data
    source = open_events(model, data or given.val or given.train, seen=True)
    if len(source) < 2:
        raise DataError("There are fewer than two events to compare with.", fix="name others with --data")
    n = min(events, len(source))
    chosen = [range(n), range(1), range(n // 2, n)] if n > 2 else [range(2)]
    # A graph compares all pairs of a batch's tokens, so of large events fewer go into one.
    taken = [next(batches(source, indices=list(each), labels=False)) for each in chosen]
    compared = write(model, taken, to, out)
    if as_json:
        content = {
            "out": str(out.resolve()),
            "step": model.about["step"],
            "compared": [*map(asdict, compared)],
        }
        typer.echo(json.dumps(content, indent=2))
        return
    typer.echo(f"{out}: the model of {found.name} after {model.about['step']} steps, as {to}")
    _show(compared, max(map(len, taken)))


def _show(compared: Sequence[Compared], events: int) -> None:
    made = table("output", "rows", "largest", "difference")
    for each in compared:
        made.add_row(each.output, str(each.rows), f"{each.largest:.5g}", f"{each.difference:.2g}")
    console().print(made)
    typer.echo(f"Largest differences from the model on {events} events, in float32.")
