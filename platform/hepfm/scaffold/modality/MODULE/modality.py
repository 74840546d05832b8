"""The modality NAME: hits of a sampling calorimeter. A cell that was hit is a unit, and a token.

Legend of shapes: B events, N hits, U cells that were hit, F numbers of a cell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from hepfm.api import PartSchema, RaggedTable, RaggedTables, Target, Units
from hepfm.errors import DataError
from hepfm.nn.ragged import event_index, offsets_of, segment_sum
from hepfm.random import Draws
from MODULE.modules import CONTENT, CellDecoder, CellTokenizer


@dataclass(frozen=True, kw_only=True)
class Cells:
    """What the units carry.

    Attributes:
        content: ``(U, F)`` float32, what is measured of each cell, as `CONTENT` says.
        unit: ``(N,)`` int64, the cell of each hit.
        hits: The hits.
    """

    content: torch.Tensor
    unit: torch.Tensor
    hits: RaggedTable


class CLASS:
    """Says what a part of kind NAME is (`hepfm.api.Modality`).

    Raises:
        DataError: The schema lacks a column or an attribute that is needed.
    """

    class Config(BaseModel):
        """What a recipe may say of the part."""

        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        min_energy_mev: float = Field(default=0.5, ge=0)
        """Hits must hold more than this; the others are dropped on reading."""
        energy_scale: float = Field(default=0.05, ge=0, lt=1)
        """Augment with a factor on an event's energies, even in 1 -+ this."""

    n_positions = 3

    def __init__(self, config: Config, schema: PartSchema) -> None:
        for column in ("cell", "energy_mev"):
            if column not in schema.tables.get("hits", {}):
                raise DataError(
                    f"The kind NAME needs a column '{column}' in the table 'hits'.",
                    where=f"schema of kind {schema.kind}",
                    fix="convert the data with a reader that gives it",
                )
        if len(schema.attributes.get("cells", ())) != 3:
            raise DataError(
                "The kind NAME needs the attribute 'cells': numbers of layers, rows and columns.",
                where=f"schema of kind {schema.kind}",
                fix="give it in the schema of the reader or generator",
            )
        self.config, self.schema = config, schema
        self.cells: tuple[int, ...] = tuple(schema.attributes["cells"])

    def select(self, tables: RaggedTables) -> Mapping[str, Any]:
        """Hits above the energy cut (numpy). Raises `DataError` for one outside of the calorimeter."""
        hits = tables["hits"].columns
        if (hits["cell"] >= np.array(self.cells)).any():
            raise DataError(
                f"A hit lies outside of the {self.cells} cells of the calorimeter.",
                where="table hits, column cell",
                fix="check the attribute 'cells' of the schema",
            )
        return {"hits": hits["energy_mev"] > self.config.min_energy_mev}

    def augment(self, tables: RaggedTables, draws: Draws) -> RaggedTables:
        """Each event mirrored in rows and columns or not, its energies times one factor."""
        hits = tables["hits"]
        event = event_index(hits.offsets)
        cell = hits.columns["cell"].long()
        mirror = draws.per_event("NAME/mirror", 2) < 0.5
        last = torch.tensor(self.cells[1:], device=cell.device) - 1
        mirrored = torch.where(mirror[event], last - cell[:, 1:], cell[:, 1:])
        factor = 1 + self.config.energy_scale * (2 * draws.per_event("NAME/energy", 1)[:, 0] - 1)
        columns = {
            **hits.columns,
            "cell": torch.cat((cell[:, :1], mirrored), 1),
            "energy_mev": hits.columns["energy_mev"] * factor.float()[event],
        }
        return {**tables, "hits": RaggedTable(columns, hits.offsets)}

    def units(self, tables: RaggedTables) -> Units:
        """The cells that were hit, in order of layer, row and column; positions in cells."""
        hits = tables["hits"]
        number = event_index(hits.offsets)
        for axis, length in enumerate(self.cells):
            number = number * length + hits.columns["cell"][:, axis].long()
        found, unit = torch.unique(number, return_inverse=True)
        n_cells = math.prod(self.cells)
        first = n_cells * torch.arange(len(hits) + 1, device=found.device)
        at = torch.unravel_index(found % n_cells, self.cells)
        by_cell, order = offsets_of(torch.bincount(unit, minlength=len(found))), unit.argsort(stable=True)
        energy = segment_sum(hits.columns["energy_mev"][order], by_cell)
        return Units(
            positions=torch.stack(at, 1).float(),
            offsets=torch.searchsorted(found, first),
            payload=Cells(content=torch.stack([energy.log1p()], 1), unit=unit, hits=hits),
        )

    def target(self, units: Units, hidden: torch.Tensor) -> Target:
        """What the hidden cells hold."""
        content = units.payload.content[hidden]
        return Target(counts=dict.fromkeys(CONTENT, len(content)), payload=content)

    def visible_tables(self, units: Units, visible: torch.Tensor) -> RaggedTables:
        """The hits in the cells of a mask."""
        hits, kept = units.payload.hits, visible[units.payload.unit]
        columns = {name: values[kept] for name, values in hits.columns.items()}
        return {"hits": RaggedTable(columns, offsets_of(segment_sum(kept.long(), hits.offsets)))}

    def tokenizer(self, d_model: int) -> CellTokenizer:
        """A cell's content and place to a token."""
        return CellTokenizer(d_model)

    def decoder(self, d_model: int) -> CellDecoder:
        """A decoded token to a cell's content."""
        return CellDecoder(d_model)
