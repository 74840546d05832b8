"""Random variants of an event: symmetries of the grid, shifts, and the energy scale.

Legend: B events, N voxels or other rows, G symmetries.
"""

from __future__ import annotations

import itertools
from functools import cache

import torch

from hepfm.random import Draws

Symmetry = tuple[tuple[int, int, int], tuple[bool, bool, bool]]
"""Source axis of each axis, and whether the axis is then reversed."""


@cache
def symmetries(grid: tuple[int, int, int], *, rotations: bool, reflections: bool) -> tuple[Symmetry, ...]:
    """Signed permutations of the axes that map a grid onto itself, the identity first.

    With both kinds, the 48 symmetries of a cube; with rotations alone, the 24 of determinant +1; with
    reflections alone, the 8 that keep each axis. A grid of unequal sides keeps fewer.
    """
    found: list[Symmetry] = []
    for axes in itertools.permutations(range(3)):
        inversions = sum(axes[i] > axes[j] for i in range(3) for j in range(i + 1, 3))
        for reverse in itertools.product((False, True), repeat=3):
            proper = (inversions + sum(reverse)) % 2 == 0
            kept_axes = axes == (0, 1, 2)
            allowed = (
                (rotations and reflections)
                or (rotations and proper)
                or (reflections and kept_axes)
                or (kept_axes and not any(reverse))
            )
            if allowed and all(grid[a] == grid[i] for i, a in enumerate(axes)):
                found.append((axes, reverse))  # type: ignore[arg-type]  # three of each
    return tuple(found)


def transform(
    voxel: torch.Tensor,
    event: torch.Tensor,
    choice: torch.Tensor,
    grid: tuple[int, int, int],
    group: tuple[Symmetry, ...],
) -> torch.Tensor:
    """Applies to each event one symmetry of the grid about its centre, exactly.

    Args:
        voxel: ``(N, 3)`` int64 voxel indices.
        event: ``(N,)`` event of each voxel.
        choice: ``(B,)`` index into the group.
        grid: Voxels along each axis.
        group: From `symmetries`.

    Returns:
        ``(N, 3)`` int64.
    """
    return turn(voxel, event, choice, group, mirror=torch.tensor(grid, device=voxel.device) - 1)


def turn(
    vector: torch.Tensor,
    event: torch.Tensor,
    choice: torch.Tensor,
    group: tuple[Symmetry, ...],
    *,
    mirror: torch.Tensor | float,
) -> torch.Tensor:
    """Vectors ``(N, 3)`` under one symmetry for each event; a reversed axis has ``mirror - x`` for x.

    Args:
        vector: Voxel indices; or places, or directions.
        event: ``(N,)`` event of each.
        choice: ``(B,)`` index into the group.
        group: From `symmetries`.
        mirror: Sum of both ends along each axis ``(3,)``: one less than the grid for indices, the grid for
            places in voxels, 0 for directions.
    """
    axes = torch.tensor([a for a, _ in group], device=vector.device)[choice]
    reverse = torch.tensor([r for _, r in group], device=vector.device)[choice]
    moved = vector.gather(1, axes[event])
    return torch.where(reverse[event], mirror - moved, moved)


def choose(draws: Draws, count: int) -> torch.Tensor:
    """``(B,)`` int64: one of ``count`` symmetries for each event, evenly."""
    uniform: torch.Tensor = draws.per_event("image3d/symmetry", 1)[:, 0]
    return (uniform * count).long()


def shift(draws: Draws, span: int) -> torch.Tensor:
    """``(B, 3)`` int64: 0 to ``span - 1`` voxels along each axis, evenly."""
    uniform: torch.Tensor = draws.per_event("image3d/shift", 3)
    return (uniform * span).long()


def energy_factor(draws: Draws, spread: float) -> torch.Tensor:
    """``(B,)`` float32, evenly in ``1 - spread`` to ``1 + spread``: an energy calibration's uncertainty."""
    uniform: torch.Tensor = draws.per_event("image3d/energy", 1)[:, 0]
    return (1.0 + spread * (2.0 * uniform - 1.0)).float()
