"""``hepfm predict``: a trained task's predictions for events, as an event store."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hepfm.cli.data.options import ReaderName, ReaderOptions, events_per_s, progress_bar, reader_options
from hepfm.cli.launch import RunsOnly
from hepfm.cli.opened import Count, Device, Events, Run, Step, device_of, doing, open_run, paths_of
from hepfm.cli.shards import Address, Workers, check_ray, going_on, warn, write_all

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hepfm.evaluation.writing import Making

Target = Annotated[Path, typer.Option("--out", help="Folder that gets the shards of the event store.")]
Carry = Annotated[
    Literal["nothing", "inputs", "labels"],
    typer.Option(help="What of the events is written beside it; with labels the inputs, too."),
]
Compression = Annotated[Literal["none", "zstd"], typer.Option(help="Of the event store.")]
ShardEvents = Annotated[
    int | None,
    typer.Option(min=1, help="Events of a shard.", show_default="64 shards, 16 to 1024 events each"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def predict(
    run: Run,
    data: Events,
    out: Target,
    *,
    task: Annotated[str | None, typer.Option(help="The head; by default the one that the run has.")] = None,
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
    """Write what a run predicts for events, labelled or not, as an event store.

    A prediction that was stopped goes on where it was: run the same command again.
    """
    found, model = open_run(run, runs, step, "cpu", data)
    from hepfm.evaluation.checks import task_of
    from hepfm.evaluation.writing import Making

    task_of(model, task)
    making = Making(
        checkpoint=str(found.checkpoints / model.folder.name),
        data=paths_of(data),
        events=count,
        reader=reader,
        options=reader_options(option),
        carry=carry,
        compression=compression,
        device=device_of(device),
    )
    fill(making, out, workers=workers, address=address, shard_events=shard_events, as_json=as_json)


def fill(
    making: Making,
    out: Path,
    *,
    workers: int | None,
    address: str | None,
    shard_events: int | None,
    as_json: bool,
) -> None:
    """Writes a store, and says what became of it."""
    found = filled(making, out, workers=workers, address=address, shard_events=shard_events)
    typer.echo(json.dumps(found) if as_json else in_words(found))


def filled(
    making: Making,
    out: Path,
    *,
    workers: int | None,
    address: str | None,
    shard_events: int | None = None,
    say: Callable[[str], None] = warn,
) -> dict[str, Any]:
    """Writes a store; what became of it, as JSON. ``say`` is told of what is not as in training."""
    from hepfm.evaluation.writing import plan, write
    from hepfm.readers.plan import claimed

    check_ray(workers=workers, address=address, many=False)
    if isinstance(making.data, list):
        named = making.data[0] if len(making.data) == 1 else f"{len(making.data)} files"
    else:
        named = f"the generator {making.data.generator}"
    which = "events" if making.events is None else f"the first {making.events} events"
    doing(f"Reading {which} of {named}")
    model, source = making.model_copy(update={"device": "cpu"}).open(say)
    schemas = making.schemas(model, source)
    out = out.absolute()
    with claimed(out, making.work), going_on():
        units = plan(making, model, source, out, shard_events=shard_events, say=warn)
        check_ray(workers=workers, address=address, many=len(units) > 1)
        missing = sum(unit.events for unit in units)
        began = time.perf_counter()
        with progress_bar(
            making.work.command.split()[-1], len(source), done=len(source) - missing
        ) as advance:
            gpu = making.device.startswith("cuda")
            write_all(write, units, advance, workers=workers, address=address, gpu=gpu)
        seconds = time.perf_counter() - began
    return {
        "out": str(out),
        "events": len(source),
        "written": missing,
        "seconds": round(seconds, 3),
        "parts": list(schemas),
        "weights_sha256": model.manifest["weights_sha256"],
        "data_digest": source.digest,
    }


def in_words(found: Mapping[str, Any]) -> str:
    """What became of a store, as one line."""
    if not found["written"]:
        return f"{found['out']}: complete, nothing to do"
    rate = events_per_s(found["written"], found["seconds"])
    return (
        f"{found['out']}: {found['written']} events written in {found['seconds']:.1f} s ({rate}): "
        f"{', '.join(found['parts'])}"
    )
