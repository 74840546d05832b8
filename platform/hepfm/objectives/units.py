"""A batch's events, each in a variant of its own, cut into units."""

from __future__ import annotations

from collections.abc import Mapping

from hepfm.api import Batch, Modality, Units
from hepfm.random import Draws


def units_of(
    batch: Batch, modalities: Mapping[str, Modality], draws: Draws, *, augment: bool
) -> dict[str, Units]:
    """Part name to its units, of events as they are or, with ``augment``, as their draws vary them."""
    units = {}
    for part, modality in modalities.items():
        tables = batch.parts[part]
        units[part] = modality.units(modality.augment(tables, draws) if augment else tables)
    return units
