"""The modality ``image3d``: sparse 3D charge images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from hepfm.api import PartSchema, Pieces, RaggedTable, RaggedTables, Target, Units
from hepfm.errors import DataError
from hepfm.nn.ragged import event_index, segment_sum
from hepfm.random import Draws
from hepfm_image3d import augment
from hepfm_image3d.cells import group
from hepfm_image3d.decoder import CellDecoder, hidden_voxels
from hepfm_image3d.energy import EnergyMap
from hepfm_image3d.frame import axes_of, places_of
from hepfm_image3d.shape import SHAPE_WIDTH, shapes
from hepfm_image3d.tokenizer import CellTokenizer, Image
from hepfm_image3d.vectors import vectors


class Image3DConfig(BaseModel):
    """What a recipe may say of an image."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    min_energy_mev: float = Field(default=0.13, ge=0)
    """Voxels must hold more than this; the others are dropped on reading."""
    energy_floor_mev: float = Field(default=0.13, gt=0)
    """Below it the energy map is linear, above it logarithmic."""
    max_energy_mev: float = Field(default=20.0, gt=0)
    """Energy that maps to 1."""
    cell_voxels: int = Field(default=6, ge=2, le=32)
    """Voxels along the side of a cell: a cell is a token."""
    voxel_width: int = Field(default=32, gt=0)
    """Width of the layers over touching voxels."""
    voxel_layers: int = Field(default=2, ge=0)
    """Layers over touching voxels: each sees one voxel further."""
    pool_width: int = Field(default=64, gt=0)
    """Width of the point-wise network that is reduced over a cell."""
    point_width: int = Field(default=128, gt=0)
    """Width of a voxel's features in the light of its event, which tasks read beside the tokens."""
    point_layers: int = Field(default=2, gt=0)
    """Layers over touching voxels that these features go through."""
    shared_axes: bool = True
    """Where the data tells the detector's axes (attribute ``frame``), units lie along them beside those of
    other parts that do; false keeps this part apart."""
    shape_scales: tuple[Annotated[int, Field(gt=0)], ...] = Field(default=(1, 2, 4), min_length=1)
    """Lengths, in sides of a cell, over which a voxel is told how the charge around it lies."""
    rotations: bool = True
    """Augment with the rotations of the grid onto itself."""
    reflections: bool = True
    """Augment with its reflections."""
    shift_cells: bool = True
    """Augment with shifts by 0 to ``cell_voxels - 1`` voxels an axis, which cut tracks elsewhere."""
    energy_scale: float = Field(default=0.05, ge=0, lt=1)
    """Augment with a factor on an event's energies, even in 1 -+ this."""
    occupancy_weight: float = Field(default=10.0, ge=0)
    """Weight of the loss on which voxels of a hidden cell are occupied."""
    energy_weight: float = Field(default=30.0, ge=0)
    """Weight of the loss on the energies of occupied voxels. With these weights, what learning nothing gets
    is about one for either term: 0.10 for occupancy, 0.035 for energy on the map."""


class Image3D:
    """Voxels with energy, grouped into cubic cells; a cell is a unit that can be hidden, and a token.

    Raises:
        DataError: The schema lacks a column or attribute that an image needs, or has it of another type.
    """

    Config: ClassVar[type[BaseModel]] = Image3DConfig
    n_positions: int = 3

    def __init__(self, config: Image3DConfig, schema: PartSchema) -> None:
        _check(schema)
        self.config = config
        self.schema = schema
        if "voxel_mm" in schema.attributes:
            unit_mm = schema.attributes["voxel_mm"] * config.cell_voxels
            self.schema = replace(schema, attributes={**schema.attributes, "unit_mm": unit_mm})
        self.grid: tuple[int, int, int] = tuple(int(n) for n in schema.attributes["grid"])  # type: ignore[assignment]
        self.axes = axes_of(schema) if config.shared_axes else ()
        self.piece_width = config.point_width
        self.point_width = config.point_width
        self.surroundings_width = SHAPE_WIDTH * len(config.shape_scales)
        self._vectors = vectors(schema)
        self.energy = EnergyMap(floor_mev=config.energy_floor_mev, max_mev=config.max_energy_mev)

    def select(self, tables: RaggedTables) -> Mapping[str, Any]:
        """Voxels above the energy cut (numpy). Raises `DataError` for a voxel outside of the grid."""
        voxels = tables["voxels"].columns
        # One maximum over all axes costs a fiftieth of a comparison row by row.
        suspect = len(voxels["voxel"]) and voxels["voxel"].max() >= min(self.grid)
        if suspect and (outside := (voxels["voxel"] >= np.array(self.grid)).any(-1)).any():
            row = int(outside.argmax())
            event = int(np.searchsorted(tables["voxels"].offsets, row, side="right")) - 1
            raise DataError(
                f"Voxel {voxels['voxel'][row].tolist()} lies outside of the grid {list(self.grid)}.",
                where=f"event {event} of the batch read, column voxel",
                fix="Set the grid that the file was made with, or run 'hepfm data check' on it.",
            )
        return {"voxels": voxels["energy_mev"] > self.config.min_energy_mev}

    def augment(self, tables: RaggedTables, draws: Draws) -> RaggedTables:
        """One symmetry of the grid, one shift and one energy factor for each event.

        Places and directions, in whatever table, go with the voxels.
        """
        table, config = tables["voxels"], self.config
        event = event_index(table.offsets)
        voxel = table.columns["voxel"].long()
        group_ = augment.symmetries(self.grid, rotations=config.rotations, reflections=config.reflections)
        choice = augment.choose(draws, len(group_))
        shift = augment.shift(draws, config.cell_voxels) if config.shift_cells else None
        voxel = augment.transform(voxel, event, choice, self.grid, group_)
        if shift is not None:
            voxel = voxel + shift[event]
        factor = augment.energy_factor(draws, config.energy_scale)
        energy = table.columns["energy_mev"] * factor[event]
        columns = {**table.columns, "voxel": voxel, "energy_mev": energy}
        moved = {**tables, "voxels": RaggedTable(columns, table.offsets)}
        for vector in self._vectors:
            if vector.table in moved and vector.column in moved[vector.table].columns:
                there = moved[vector.table]
                turned = vector.moved(there[vector.column], choice, group_, shift)
                moved[vector.table] = RaggedTable({**there.columns, vector.column: turned}, there.offsets)
        return moved

    def units(self, tables: RaggedTables) -> Units:
        """The occupied cells of each event, in order of x, y, z; positions in cells from the corner."""
        table, side = tables["voxels"], self.config.cell_voxels
        cells, offsets, row = group(
            table.columns["voxel"].long(),
            table.columns["energy_mev"],
            table.offsets,
            grid=tuple(length + side - 1 for length in self.grid),  # type: ignore[arg-type] # room for shifts
            side=side,
        )
        corner, attributes = cells.coordinates(), self.schema.attributes
        return Units(
            positions=corner.float(),
            offsets=offsets,
            places=places_of(corner * side, side, attributes) if self.axes else {},
            payload=Image(cells=cells, row=row, row_offsets=table.offsets),
        )

    def pieces(self, units: Units, visible: torch.Tensor, features: torch.Tensor) -> Pieces:
        """The voxels of the visible cells."""
        cells = units.payload.cells.keep(visible)
        places = places_of(cells.voxels(), 1, self.schema.attributes)
        return Pieces(features=features, unit=cells.cell, places=places)

    def target(self, units: Units, hidden: torch.Tensor) -> Target:
        """Occupancy and energies of the hidden cells' voxels."""
        return hidden_voxels(units.payload.cells, hidden, self.energy)

    def surroundings(self, units: Units, visible: torch.Tensor) -> torch.Tensor:
        """How the charge lies around each voxel of the visible cells: see `hepfm_image3d.shape`."""
        cells = units.payload.cells
        found = shapes(cells, self.energy.centred(cells.energy_mev), self.config.shape_scales)
        return found[visible[cells.cell]]

    def amount(self, units: Units) -> torch.Tensor:
        """``(B,)`` energy of all voxels in MeV."""
        cells = units.payload.cells
        of_cell = torch.zeros(len(cells), dtype=torch.float64, device=cells.cell.device)
        of_cell.index_add_(0, cells.cell, cells.energy_mev.double())
        return segment_sum(of_cell, units.offsets)

    def visible_tables(self, units: Units, visible: torch.Tensor) -> RaggedTables:
        """The voxels of the cells of a mask, one row each."""
        cells = units.payload.cells
        kept = cells.keep(visible)
        first = torch.nn.functional.pad(visible.cumsum(0), (1, 0))[units.offsets]
        return {
            "voxels": RaggedTable(
                columns={"voxel": kept.voxels(), "energy_mev": kept.energy_mev}, offsets=kept.offsets[first]
            )
        }

    def tokenizer(self, d_model: int) -> CellTokenizer:
        """Voxel layers, point-wise network, reduction over cells."""
        return CellTokenizer(
            d_model,
            side=self.config.cell_voxels,
            energy=self.energy,
            voxel_width=self.config.voxel_width,
            voxel_layers=self.config.voxel_layers,
            pool_width=self.config.pool_width,
            point_width=self.config.point_width,
            point_layers=self.config.point_layers,
            shape_scales=self.config.shape_scales,
        )

    def decoder(self, d_model: int) -> CellDecoder:
        """Occupancy and energy of each voxel of a hidden cell."""
        return CellDecoder(
            d_model,
            side=self.config.cell_voxels,
            point_width=self.config.point_width,
            energy=self.energy,
            terms={"occupancy": self.config.occupancy_weight, "energy": self.config.energy_weight},
        )


def _check(schema: PartSchema) -> None:
    columns = schema.tables.get("voxels", {})
    for name, kind, shape in (("voxel", "u", (3,)), ("energy_mev", "f", ())):
        column = columns.get(name)
        if column is None or np.dtype(column.dtype).kind != kind or column.shape != shape:
            found = "it is missing" if column is None else f"found {column.dtype} {list(column.shape)}"
            wanted = "unsigned integers [3]" if kind == "u" else "floating-point numbers []"
            raise DataError(
                f"An image needs a column '{name}' of {wanted} in its table 'voxels'; {found}.",
                where=f"schema of kind {schema.kind}, table voxels",
                fix="Convert the data with a reader that gives these columns.",
            )
    grid = schema.attributes.get("grid")
    if (
        not isinstance(grid, list | tuple)
        or len(grid) != 3
        or not all(isinstance(n, int) and n > 0 for n in grid)
    ):
        raise DataError(
            f"An image needs the attribute 'grid', three numbers of voxels; found {grid!r}.",
            where=f"schema of kind {schema.kind}, attributes",
            fix="Give the grid in the reader's options, or convert the data again.",
        )
