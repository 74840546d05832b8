"""``hepfm data convert``: events of any format to the event store, or to a format that can be written."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hepfm.cli.data.options import ReaderName, ReaderOptions, Sources, progress_bar, reader_options
from hepfm.errors import DataError, HepfmError

if TYPE_CHECKING:
    from hepfm.readers.convert import Settings, Unit


def convert(
    sources: Sources,
    target: Annotated[Path, typer.Argument(help="A folder of shards, or one file by its ending .h5.")],
    *,
    to: Annotated[str, typer.Option(help="store, or a reader that can write (pilarnet).")] = "store",
    reader: ReaderName = None,
    option: ReaderOptions = None,
    compression: Annotated[Literal["none", "zstd"], typer.Option(help="Of an event store.")] = "none",
    shard_events: Annotated[int, typer.Option(min=1, help="Events of a file, in a folder.")] = 16_384,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Worker processes of Ray; 0 for none. Default: one a core for many files."),
    ] = None,
) -> None:
    """Convert events. A conversion that was stopped goes on where it was: run the same command again."""
    from hepfm.data.ray_address import refuse_silent
    from hepfm.readers.convert import Settings
    from hepfm.readers.plan import CONVERSION, claimed
    from hepfm.readers.sniff import SUFFIXES, resolve_paths

    settings = Settings(
        reader=reader,
        options=reader_options(option),
        to=to,
        compression=compression,
        shard_events=shard_events,
    )
    paths = resolve_paths(sources)
    if workers != 0 and (workers or len(paths) > 1):  # what will use Ray
        refuse_silent(None, named="--address")
    with nullcontext() if target.suffix in SUFFIXES else claimed(target, CONVERSION):
        _convert(paths, target, settings, workers)


def _convert(paths: list[Path], target: Path, settings: Settings, workers: int | None) -> None:
    """Converts, and says what became of it."""
    from hepfm.readers.convert import convert as convert_unit
    from hepfm.readers.convert import left_out, plan

    units = plan(paths, target, settings)
    if names := left_out(paths[0], settings):
        sentence = f"{settings.to} has no place for these columns, an event store has: {', '.join(names)}"
        typer.echo(sentence, err=True)
    events = sum(unit.events for unit in units)
    if workers is None:
        workers = min(len(units), os.cpu_count() or 1) if len(units) > 1 else 0
    failed: list[HepfmError] = []

    def here(unit: Unit) -> None:
        try:
            convert_unit(unit, advance)
        except HepfmError as error:
            failed.append(error)

    with progress_bar("convert", events) as advance:
        if workers and units:
            from hepfm.data.ray_jobs import each_unit

            for unit, result in each_unit(convert_unit, units, workers=workers):
                if isinstance(result, HepfmError):
                    failed.append(result)
                else:
                    advance(unit.events)
        else:
            for unit in units:
                here(unit)
    if failed:
        others = "".join(f"\n{error}" for error in failed[1:])
        what = f"{len(failed)} of {len(units)} files were not written. {failed[0]}{others}"
        fix = "mend or leave out what is named, and run the same command again: finished files are kept"
        raise DataError(what, where=str(target), fix=fix)
    typer.echo(f"{target}: {events} events written" if units else f"{target}: complete, nothing to do")
