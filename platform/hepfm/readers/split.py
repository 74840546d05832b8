"""Splits of events into training, validation and test sets that never change: by event id, or by index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hepfm.api import Reader
from hepfm.errors import DataError, RecipeError
from hepfm.random import Draws
from hepfm.readers.batches import batches
from hepfm.readers.checks import refuse_twins
from hepfm.readers.hilbert import order_rows
from hepfm.readers.layout import PARTIAL
from hepfm.readers.writer import Compression, StoreWriter, schema_differences

Rows = dict[str, np.ndarray[Any, Any]]
"""Split to a bool mask of the events that are in it, ``(N,)``."""


def by_fractions(event_ids: np.ndarray[Any, Any], fractions: Mapping[str, float], *, seed: int) -> Rows:
    """Deals events by a counter-based draw of their id: an event's split depends on nothing else.

    Args:
        event_ids: ``(N,)`` uint64.
        fractions: Split to its share; they add up to 1 or less, the rest is left out.
        seed: Another seed deals otherwise.

    Raises:
        RecipeError: The fractions make no sense.
    """
    shares = np.array(list(fractions.values()), np.float64)
    if not len(shares) or not (shares > 0).all() or not shares.sum() <= 1 + 1e-9:  # NaN is neither
        what = f"fractions must be above 0 and add up to at most 1, not to {shares.sum():g}"
        raise RecipeError(what, where="--fractions", fix="for example train=.8,val=.1,test=.1")
    draw = Draws(seed=seed, epoch="split", event_ids=event_ids.view(np.int64)).per_event("split", 1)[:, 0]
    # The last edge of a whole is above every draw, whatever the rounding of the sum.
    edges = np.cumsum(shares)
    edges[-1] = 1.0 if edges[-1] > 1 - 1e-9 else edges[-1]
    split = np.searchsorted(edges, draw, side="right")
    return {name: split == k for k, name in enumerate(fractions)}


def by_ranges(n: int, ranges: Mapping[str, tuple[int, int]]) -> Rows:
    """Cuts events by their index: split to ``(start, stop)``.

    Raises:
        RecipeError: A range is empty, beyond the events, or overlaps another.
    """
    masks: Rows = {}
    for name, (start, stop) in ranges.items():
        if not 0 <= start < stop <= n:
            what = f"the range {start}:{stop} does not lie within the {n} events"
            raise RecipeError(what, where=f"--rule {name}")
        masks[name] = np.zeros(n, bool)
        masks[name][start:stop] = True
    if masks and (np.sum(list(masks.values()), axis=0) > 1).any():
        raise RecipeError("the ranges overlap", where="--rule", fix="give each event to one split")
    return masks


def write_splits(
    readers: Sequence[Reader],
    splits: Rows,
    out: Path,
    *,
    provenance: Mapping[str, Any],
    compression: Compression = "none",
    shard_events: int = 16_384,
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, int]:
    """Writes each split as an event store, a folder of shards below ``out``; returns their numbers of events.

    Raises:
        DataError: A split's folder exists, the sources' schemas differ, or a source cannot be read.
    """
    for reader in readers[1:]:
        if differences := schema_differences(readers[0].parts, reader.parts):
            raise DataError(
                "the sources have different schemas: " + "; ".join(differences[:3]), where=str(reader.path)
            )
    refuse_twins({reader.path: reader.digest() for reader in readers if len(reader)})
    ids = np.concatenate([np.empty(0, np.uint64), *(reader.event_ids() for reader in readers)])
    if len(np.unique(ids)) < len(ids):
        where = ", ".join(str(reader.path) for reader in readers)
        raise DataError("the same events stand in several sources", where=where, fix="name each of them once")
    for name in splits:
        for there in (out / name, out / (name + PARTIAL)):
            if there.exists():
                what, fix = (
                    "the split exists already, or was not finished",
                    "remove it, or give another --out",
                )
                raise DataError(what, where=str(there), fix=fix)
    counts = {}
    ends = np.cumsum([0, *map(len, readers)])
    for name, mask in splits.items():
        said = {**readers[0].provenance, **provenance, "split": name}
        aside = out / (name + PARTIAL)
        with StoreWriter(
            aside, readers[0].parts, said, compression=compression, shard_events=shard_events
        ) as writer:
            for reader, first, last in zip(readers, ends[:-1], ends[1:], strict=True):
                rows = np.flatnonzero(mask[first:last]).tolist()
                for batch in batches(reader, rows):
                    writer.write(order_rows(batch, reader.parts))
                    progress(len(batch))
        aside.replace(out / name)
        counts[name] = int(mask.sum())
    return counts
