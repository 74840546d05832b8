"""Events to packed batches and back: joining, cutting and gathering ragged tables without padding (numpy)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hepfm.api import Batch, PartSchema, RaggedTable, Sample, Tables
from hepfm.errors import DataError

Parts = dict[str, dict[str, RaggedTable]]


def columns_of(schema: PartSchema, *, label: bool) -> dict[str, list[str]]:
    """Table name to its input (or label) columns; tables without any are left out."""
    named = {
        table: [name for name, column in columns.items() if column.label == label]
        for table, columns in schema.tables.items()
    }
    return {table: names for table, names in named.items() if names}


def pack(samples: Iterable[Sample], parts: Mapping[str, PartSchema], *, labels: bool = True) -> Batch:
    """Events end to end, with the dtypes of the schemas.

    Args:
        samples: Events; one that lacks a part or table gets no rows there.
        parts: Part name to schema.
        labels: Whether the label columns are packed too.

    Raises:
        DataError: A column is missing, has another shape than the schema says, or differs in length from the
            other columns of its table, labels included.
    """
    samples = list(samples)
    inputs = {p: _pack_part(samples, p, schema, label=False) for p, schema in parts.items()}
    truth = {p: _pack_part(samples, p, schema, label=True) for p, schema in parts.items() if labels}
    for p, tables in truth.items():
        for table in tables.keys() & inputs[p].keys():
            if not np.array_equal(tables[table].offsets, inputs[p][table].offsets):
                raise DataError("labels and inputs differ in length", where=f"part {p}, table {table}")
    cost = np.zeros(len(samples), np.int64)
    for p, schema in parts.items():
        cost += (inputs[p] if schema.primary in inputs[p] else truth[p])[schema.primary].lengths
    ids = np.array([s.event_id for s in samples], np.uint64).view(np.int64)
    return Batch(event_ids=ids, cost=cost, parts=inputs, labels={p: t for p, t in truth.items() if t})


def _pack_part(
    samples: Sequence[Sample], part: str, schema: PartSchema, *, label: bool
) -> dict[str, RaggedTable]:
    packed = {}
    for table, names in columns_of(schema, label=label).items():
        rows: list[Mapping[str, Any]] = []
        for sample in samples:
            tables: Tables = (sample.labels if label else sample.parts).get(part, {})
            rows.append(tables.get(table) or dict.fromkeys(names, ()))
        columns, offsets = {}, None
        for name in names:
            where = f"part {part}, table {table}, column {name}"
            column = schema.tables[table][name]
            if missing := [s.event_id for s, r in zip(samples, rows, strict=True) if name not in r]:
                raise DataError("a column is missing", where=f"event {missing[0]:#018x}, {where}")
            arrays = [np.asarray(r[name], column.dtype) for r in rows]
            for sample, array in zip(samples, arrays, strict=True):
                if array.size and array.shape[1:] != column.shape:
                    what = f"wanted rows of shape {column.shape}, found an array of shape {array.shape}"
                    raise DataError(what, where=f"event {sample.event_id:#018x}, {where}")
            arrays = [array.reshape(-1, *column.shape) for array in arrays]
            ends = offsets_of([len(a) for a in arrays])
            if offsets is not None and not np.array_equal(ends, offsets):
                raise DataError("the columns of a table differ in length", where=where)
            offsets = ends
            columns[name] = np.concatenate([np.empty((0, *column.shape), column.dtype), *arrays])
        packed[table] = RaggedTable(columns, offsets)
    return packed


def offsets_of(lengths: Any) -> np.ndarray[Any, Any]:
    """``(B+1,)`` int64 offsets of rows with these lengths ``(B,)``."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def concat(batches: Sequence[Batch]) -> Batch:
    """The events of several numpy batches of one schema, end to end."""
    if len(batches) == 1:
        return batches[0]
    return Batch(
        event_ids=np.concatenate([b.event_ids for b in batches]),
        cost=np.concatenate([b.cost for b in batches]),
        parts=_concat_parts([b.parts for b in batches]),
        labels=_concat_parts([b.labels for b in batches]),
    )


def _concat_parts(many: Sequence[Mapping[str, Mapping[str, RaggedTable]]]) -> Parts:
    joined: Parts = {}
    for part, tables in many[0].items():
        joined[part] = {}
        for name, first in tables.items():
            others = [parts[part][name] for parts in many]
            columns = {c: np.concatenate([t.columns[c] for t in others]) for c in first.columns}
            joined[part][name] = RaggedTable(columns, offsets_of(np.concatenate([t.lengths for t in others])))
    return joined


def take(batch: Batch, rows: Any) -> Batch:
    """The events at these rows ``(K,)`` of a numpy batch (indices or a bool mask), in this order, copied."""
    rows = np.arange(len(batch))[np.asarray(rows)] if len(rows) else np.empty(0, np.int64)

    def gather(parts: Mapping[str, Mapping[str, RaggedTable]]) -> Parts:
        return {p: {n: take_table(t, rows) for n, t in tables.items()} for p, tables in parts.items()}

    return Batch(
        event_ids=batch.event_ids[rows],
        cost=batch.cost[rows],
        parts=gather(batch.parts),
        labels=gather(batch.labels),
        group=None if batch.group is None else batch.group[rows],
    )


def take_table(table: RaggedTable, rows: np.ndarray[Any, Any]) -> RaggedTable:
    """The events at these rows ``(K,)`` int64 of one table."""
    lengths = table.lengths[rows]
    offsets = offsets_of(lengths)
    source = np.repeat(table.offsets[:-1][rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
    return RaggedTable({name: values[source] for name, values in table.columns.items()}, offsets)


def nbytes(batch: Batch) -> int:
    """Bytes of a numpy batch's columns."""
    return sum(
        values.nbytes
        for half in (batch.parts, batch.labels)
        for tables in half.values()
        for table in tables.values()
        for values in table.columns.values()
    )


def permute_rows(table: RaggedTable, order: np.ndarray[Any, Any]) -> RaggedTable:
    """The table with its rows in another order ``(N,)`` that keeps each row within its event."""
    return RaggedTable({name: values[order] for name, values in table.columns.items()}, table.offsets)
