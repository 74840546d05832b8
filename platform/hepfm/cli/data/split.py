"""``hepfm data split``: training, validation and test sets as event stores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hepfm.cli.data.options import (
    ReaderName,
    ReaderOptions,
    Sources,
    pairs_of,
    progress_bar,
    reader_options,
)
from hepfm.errors import RecipeError

_FRACTIONS = "train=.8,val=.1,test=.1"
_RULE = "train=0:800,val=800:900"


def split(
    sources: Sources,
    *,
    out: Annotated[Path, typer.Option(help="Folder that gets one event store a split.")],
    fractions: Annotated[str | None, typer.Option(help=f"Shares, dealt by event id: {_FRACTIONS}")] = None,
    rule: Annotated[str | None, typer.Option(help=f"Ranges of event indices: {_RULE}")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Deals otherwise by event id.")] = 0,
    reader: ReaderName = None,
    option: ReaderOptions = None,
    compression: Annotated[Literal["none", "zstd"], typer.Option(help="Of the event stores.")] = "none",
    shard_events: Annotated[int, typer.Option(min=1, help="Events of a file.")] = 16_384,
) -> None:
    """Split events. By fractions, an event's split depends on its id and the seed alone."""
    import numpy as np

    from hepfm.readers.sniff import open_reader, resolve_paths
    from hepfm.readers.split import by_fractions, by_ranges, write_splits

    if (fractions is None) == (rule is None):
        raise RecipeError("give either --fractions or --rule", fix=f"--fractions {_FRACTIONS}")
    options = reader_options(option)
    readers = [open_reader(path, reader, options) for path in resolve_paths(sources)]
    if fractions is not None:
        ids = np.concatenate([r.event_ids() for r in readers])
        masks = by_fractions(ids, _numbers(fractions), seed=seed)
        said = {"fractions": fractions, "split_seed": seed}
    else:
        assert rule is not None
        masks = by_ranges(sum(map(len, readers)), _ranges(rule))
        said = {"rule": rule}
    total, dealt = sum(map(len, readers)), sum(int(mask.sum()) for mask in masks.values())
    with progress_bar("split", dealt) as advance:
        counts = write_splits(
            readers,
            masks,
            out,
            provenance=said,
            compression=compression,
            shard_events=shard_events,
            progress=advance,
        )
    for name, n in counts.items():
        typer.echo(f"{out / name}: {n} events")
    if total > dealt:
        typer.echo(f"{total - dealt} of {total} events are in no split")


def _numbers(text: str) -> dict[str, float]:
    pairs = pairs_of(text, where="--fractions", example=_FRACTIONS)
    try:
        return {name: float(value) for name, value in pairs.items()}
    except ValueError as error:
        raise RecipeError(str(error), where="--fractions", fix=f"for example {_FRACTIONS}") from error


def _ranges(text: str) -> dict[str, tuple[int, int]]:
    ranges = {}
    for name, value in pairs_of(text, where="--rule", example=_RULE).items():
        start, colon, stop = value.partition(":")
        if not (colon and start.isdigit() and stop.isdigit()):
            raise RecipeError(f"'{value}' is not START:STOP", where="--rule", fix=f"for example {_RULE}")
        ranges[name] = (int(start), int(stop))
    return ranges
