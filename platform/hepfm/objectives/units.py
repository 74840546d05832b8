"""A batch's events, each in a variant of its own, and cut into units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from hepfm.api import Batch, Modality, RaggedTable, RaggedTables, Units
from hepfm.data.tensors import to_device
from hepfm.random import Draws


def units_of(
    batch: Batch, modalities: Mapping[str, Modality], draws: Draws | None = None
) -> dict[str, Units]:
    """Part name to its units, of events as their draws vary them or, without, as they are."""
    units = {}
    for part, modality in modalities.items():
        tables = batch.parts[part]
        units[part] = modality.units(tables if draws is None else modality.augment(tables, draws))
    return units


def units_as_they_are(
    batch: Batch, modalities: Mapping[str, Modality], device: torch.device
) -> dict[str, Units]:
    """Part name to the units of a torch batch, on a device; nothing is varied."""
    return units_of(to_device(batch, device), modalities)


def augmented(batch: Batch, modalities: Mapping[str, Modality], draws: Draws) -> Batch:
    """The batch with its events varied as their draws say, inputs and labels alike."""
    parts, labels = dict(batch.parts), dict(batch.labels)
    for part, modality in modalities.items():
        varied = modality.augment(_joined(batch.parts[part], batch.labels.get(part, {})), draws)
        parts[part] = _like(varied, batch.parts[part])
        if part in labels:
            labels[part] = _like(varied, labels[part])
    return replace(batch, parts=parts, labels=labels)


def _joined(inputs: RaggedTables, labels: RaggedTables) -> RaggedTables:
    joined = dict(inputs)
    for name, table in labels.items():
        beside = inputs[name].columns if name in inputs else {}
        joined[name] = RaggedTable({**beside, **table.columns}, table.offsets)
    return joined


def _like(tables: RaggedTables, wanted: RaggedTables) -> RaggedTables:
    """The tables and columns of ``tables`` that ``wanted`` has."""
    return {
        name: RaggedTable(
            {column: tables[name].columns[column] for column in table.columns}, tables[name].offsets
        )
        for name, table in wanted.items()
    }
