"""Packed events of voxels that touch, overlap cells and grid faces, repeat and go missing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from hepfm.api import RaggedTable
from hepfm_image3d.modality import Image3D, Image3DConfig
from hepfm_image3d.schema import image3d_schema

GRID = (24, 24, 24)

Tables = dict[str, RaggedTable]


@pytest.fixture(scope="session")
def make_modality() -> Callable[..., Image3D]:
    """Small images, by default on a grid of 24 voxels a side."""
    return _make_modality


@pytest.fixture(scope="session")
def make_tables() -> Callable[..., Tables]:
    """Events of random walks, by default of 60, 0, 1 and 35 rows: neighbours, gaps and repeated voxels."""
    return _make_tables


@pytest.fixture(scope="session")
def one_event() -> Callable[[Tables, int], Tables]:
    """One event of a batch, alone."""
    return _one_event


@pytest.fixture(scope="session")
def shuffled() -> Callable[[Tables], tuple[Tables, torch.Tensor]]:
    """The rows of each event in another order, and that order."""
    return _shuffled


def _make_modality(grid: tuple[int, int, int] = GRID, **options: object) -> Image3D:
    config = Image3DConfig(voxel_width=8, point_width=16, **options)
    return Image3D(config, image3d_schema(voxels=("voxel", "energy_mev"), grid=grid))


def _make_tables(
    lengths: tuple[int, ...] = (60, 0, 1, 35), *, seed: int = 0, grid: tuple[int, int, int] = GRID
) -> Tables:
    rng = np.random.default_rng(seed)
    walks = [
        (rng.integers(grid, size=(1, 3)) + rng.integers(-1, 2, size=(n, 3)).cumsum(0)).clip(
            0, np.array(grid) - 1
        )
        for n in lengths
    ]
    voxel = np.concatenate(walks).astype(np.uint16) if walks else np.zeros((0, 3), np.uint16)
    energy = rng.exponential(0.7, size=len(voxel)).astype(np.float32) + 0.13
    offsets = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int64)
    columns = {"voxel": torch.from_numpy(voxel), "energy_mev": torch.from_numpy(energy)}
    return {"voxels": RaggedTable(columns, offsets)}


def take_rows(tables: Tables, rows: torch.Tensor, offsets: torch.Tensor) -> Tables:
    table = tables["voxels"]
    columns = {name: torch.from_numpy(column.numpy()[rows.numpy()]) for name, column in table.columns.items()}
    return {"voxels": RaggedTable(columns, offsets)}


def _one_event(tables: Tables, event: int) -> Tables:
    start, stop = tables["voxels"].offsets[event : event + 2].tolist()
    return take_rows(tables, torch.arange(start, stop), torch.tensor([0, stop - start]))


def _shuffled(tables: Tables, seed: int = 1) -> tuple[Tables, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    offsets = tables["voxels"].offsets
    rows = torch.cat(
        [
            start + torch.randperm(stop - start, generator=generator)
            for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        ]
    )
    return take_rows(tables, rows, offsets), rows
