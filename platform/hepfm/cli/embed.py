"""``hepfm embed``: what a run's encoder makes of events, as an event store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hepfm.cli.data.options import ReaderName, ReaderOptions, reader_options
from hepfm.cli.launch import RunsOnly
from hepfm.cli.opened import Count, Device, Events, Run, Step, device_of, numbers, open_run, paths_of
from hepfm.cli.predict import AsJson, Carry, Compression, ShardEvents, Target, fill
from hepfm.cli.shards import Address, Workers


def embed(
    run: Run,
    data: Events,
    out: Target,
    *,
    read: Annotated[
        Literal["pooled", "tokens", "points"],
        typer.Option(help="Features of each event, of each token, or of each point."),
    ] = "pooled",
    part: Annotated[
        str,
        typer.Option(help="Whose tokens or points, of several parts.", show_default="all, or the only one"),
    ] = "",
    layers: Annotated[
        str | None, typer.Option(metavar="A,B", help="Layers to read.", show_default="the output")
    ] = None,
    count: Count = None,
    step: Step = None,
    carry: Carry = "nothing",
    workers: Workers = None,
    address: Address = None,
    shard_events: ShardEvents = None,
    compression: Compression = "none",
    reader: ReaderName = None,
    option: ReaderOptions = None,
    device: Device = None,
    runs: RunsOnly = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Write what a run's encoder makes of events, pretrained or fine-tuned, as an event store.

    One that was stopped goes on where it was: run the same command again.
    """
    found, model = open_run(run, runs, step, "cpu", data)
    from hepfm.evaluation.embed import check_read
    from hepfm.evaluation.writing import Making

    chosen = tuple(numbers(layers, "--layers")) if layers else ()
    making = Making(
        checkpoint=str(found.checkpoints / model.folder.name),
        data=paths_of(data),
        events=count,
        reader=reader,
        options=reader_options(option),
        read=read,
        part=check_read(model, read, part, chosen),
        layers=chosen,
        carry=carry,
        compression=compression,
        device=device_of(device),
    )
    fill(making, out, workers=workers, address=address, shard_events=shard_events, as_json=as_json)
