"""``hepfm display``: what a run makes of one event, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hepfm.cli.data.options import ReaderName, ReaderOptions, reader_options
from hepfm.cli.launch import RunsOnly, near
from hepfm.cli.opened import Device, Run, Step, open_run, paths_of
from hepfm.cli.shards import warn
from hepfm.errors import DataError, RecipeError

if TYPE_CHECKING:
    from hepfm.data.source import Source
    from hepfm.display.panels import Panel
    from hepfm.training.pretrained import Pretrained

Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help="File, folder or glob of events; may be repeated.",
        show_default="the run's validation events",
    ),
]


def display(
    run: Run,
    *,
    event: Annotated[int, typer.Option(min=0, help="Index of the event, from 0.")] = 0,
    data: Data = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The picture: .html or .png.", show_default="RUN-event-N.html, here"),
    ] = None,
    step: Step = None,
    reader: ReaderName = None,
    option: ReaderOptions = None,
    device: Device = None,
    runs: RunsOnly = Path("runs"),
) -> None:
    """Draw what a run makes of an event: hidden and predicted, or of a task truth beside prediction.

    Points in space are turned with the mouse, all panels together. Of events without labels, the prediction
    is drawn alone.
    """
    from hepfm.display.html import write_html
    from hepfm.display.png import write_png
    from hepfm.evaluation.events import open_events
    from hepfm.training.displays import IN_A_ROW

    if out is not None and out.suffix not in {".html", ".png"}:
        raise RecipeError("A picture is .html or .png.", where=f"--out {out}", fix="for example event.html")
    found, model = open_run(run, runs, step, device, data)
    named = paths_of(data) if data else model.recipe.data.val
    if named is None:
        raise RecipeError(
            "The run has no validation events.", where=str(found.path), fix="name events with --data"
        )
    source = open_events(model, named, reader=reader, options=reader_options(option), seen=True, say=warn)
    told = ", ".join(data) if data else "the run's validation events"
    if event >= len(source):
        raise DataError(
            f"There is no event {event}: there are {len(source)}.",
            where=told,
            fix="give a smaller --event; they count from 0",
        )
    panels, event_id = _panels(model, source, event, where=told)
    target = out or Path(f"{found.name}-event-{event}.html")
    target.parent.mkdir(parents=True, exist_ok=True)
    title = f"{found.name}, {model.folder.name}: event {event} of {told} ({event_id:016x})"
    (write_png if target.suffix == ".png" else write_html)(panels, target, title, in_a_row=IN_A_ROW)
    typer.echo(str(near(target.absolute())))


def _panels(model: Pretrained, source: Source, event: int, *, where: str) -> tuple[list[Panel], int]:
    """The panels of an event, and its id."""
    import torch

    from hepfm.data.tensors import to_numpy, to_torch
    from hepfm.display.event import sample_panels
    from hepfm.evaluation.checks import check_labels, task_of
    from hepfm.objectives.task import Task
    from hepfm.training.displays import seen

    labels = isinstance(model.module.objective, Task)
    if labels:
        try:
            check_labels(task_of(model), model.encoder, source, where=where)
        except DataError as error:
            warn(f"the prediction is drawn alone: {error.what}")
            labels = False
    batch = to_torch(source.read([event], labels=labels))
    sample = to_numpy(batch).event(0)
    with torch.inference_mode():
        picture = seen(
            model.module,
            batch,
            source.parts,
            seed=model.recipe.seed,
            device=next(model.module.parameters()).device,
        )
        if picture is not None:
            return picture(0), sample.event_id
    warn(f"the objective '{model.recipe.objective.name}' hides nothing: the event is drawn as it is")
    return sample_panels(sample, source.parts), sample.event_id
