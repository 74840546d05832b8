"""What happens to rows on reading: cuts, the same for inputs and labels, and checks of values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hepfm.api import Batch, Modality, PartSchema, RaggedTable
from hepfm.errors import DataError
from hepfm.readers.pack import take

Cut = Mapping[str, np.ndarray[Any, Any]]
"""Table name to the rows of it that stay, ``(N,)`` bool."""


def apply_cut(batch: Batch, part: str, cut: Cut, schema: PartSchema) -> Batch:
    """The batch without the rows that the cut drops from a part's tables, inputs and labels alike.

    Columns of lengths that run over a cut table are made to fit.
    """
    if all(keep.all() for keep in cut.values()):
        return batch
    kept = {table: np.flatnonzero(keep) for table, keep in cut.items()}

    def column(values: np.ndarray[Any, Any], table: str, name: str) -> np.ndarray[Any, Any]:
        if (nested := schema.tables[table][name].lengths_of) in kept:
            ends = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
            values = np.diff(np.searchsorted(kept[nested], ends)).astype(values.dtype)
        return np.take(values, kept[table], axis=0) if table in kept else values

    def tables(have: Mapping[str, RaggedTable]) -> dict[str, RaggedTable]:
        return {
            table: RaggedTable(
                {name: column(values, table, name) for name, values in rows.columns.items()},
                np.searchsorted(kept[table], rows.offsets) if table in kept else rows.offsets,
            )
            for table, rows in have.items()
        }

    parts = {**batch.parts, part: tables(batch.parts[part])}
    labels = {**batch.labels, part: tables(batch.labels[part])} if part in batch.labels else batch.labels
    return replace(batch, parts=parts, labels=labels)


def cut_rows(
    batch: Batch,
    modalities: Mapping[str, Modality],
    schemas: Mapping[str, PartSchema],
    place: Callable[[int], str],
) -> Batch:
    """The batch without the rows that the modalities of its parts do not select.

    Args:
        batch: A numpy batch.
        modalities: Part name to its modality.
        schemas: Part name to its schema.
        place: Where the event of a row of the batch is from, for messages.

    Raises:
        DataError: A modality refuses an event; names it.
    """

    def cut(batch: Batch) -> Batch:
        for part, modality in modalities.items():
            batch = apply_cut(batch, part, modality.select(batch.parts[part]), schemas[part])
        return batch

    try:
        return cut(batch)
    except DataError:
        for row in range(len(batch)):  # the event that is refused says where it is
            try:
                cut(take(batch, [row]))
            except DataError as error:
                raise DataError(error.what, where=f"{place(row)}, {error.where}", fix=error.fix) from error
        raise


def bad_value(batch: Batch, schemas: Mapping[str, PartSchema]) -> tuple[int, str] | None:
    """The first event row with an input that is NaN or infinite, and the field; None where there is none.

    In parts whose schema says ``nan: missing``, NaN is what is not known, and good.
    """
    for part, tables in batch.parts.items():
        good = _not_infinite if schemas[part].attributes.get("nan") == "missing" else np.isfinite
        for table, rows in tables.items():
            for name, values in rows.columns.items():
                # A sum sees every NaN and infinity at a third of the price; it may overflow, so look again.
                if values.dtype.kind != "f" or not values.size or np.isfinite(_quiet_sum(values)):
                    continue
                bad = np.flatnonzero(~good(values).reshape(len(values), -1).all(1))
                if len(bad):
                    event = int(np.searchsorted(rows.offsets, bad[0], side="right")) - 1
                    return event, f"{part}/{table}/{name}"
    return None


def _not_infinite(values: np.ndarray[Any, Any]) -> Any:
    return ~np.isinf(values)


def _quiet_sum(values: np.ndarray[Any, Any]) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(values.sum())
