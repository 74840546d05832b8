"""The axes along which units of several parts lie: shared ones where there are such, or each part's own.

Legend of shapes: U units of a part, P axes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import pad

from hepfm.api import Located, Modality, Units

APART = 300.0
"""By how much the positions of a part without shared axes are moved from those of the part before it."""


class Frame:
    """Where tokens of all parts lie, as attention sees it.

    The third cell along x and the third tick of a trace have nothing to do with one another. So that they are
    not taken for neighbours, part i is moved by i times `APART` along every axis: further than events reach,
    and than the longest wavelength of `hepfm.nn.rotary`. Parts that name axes alike lie in one frame instead,
    and others are moved from it (by one time more), see docs/adr/0012-parts-share-axes.md.

    Attributes:
        axes: Names of the axes of all parts that have such; none if no two parts share one.
        n_positions: Number of axes, P.
        placed: Parts that lie along them.

    Args:
        modalities: Part name to its modality, in the order of parts.
    """

    def __init__(self, modalities: Mapping[str, Modality]) -> None:
        named = {part: m.axes for part, m in modalities.items() if isinstance(m, Located)}
        times = Counter(axis for axes in named.values() for axis in axes)
        shared = max(times.values(), default=0) > 1
        self.axes = tuple(times) if shared else ()
        self.parts = tuple(modalities)
        self.placed = frozenset(part for part, axes in named.items() if axes and shared)
        own = [m.n_positions for part, m in modalities.items() if part not in self.placed]
        self.n_positions = max([len(self.axes), *own])

    def __call__(self, part: str, units: Units, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """Positions and reach ``(U, P)`` of the units of a mask; no reach where no parts share an axis."""
        if part not in self.placed:
            positions = units.positions[mask]
            positions = pad(positions, (0, self.n_positions - positions.shape[1]))
            index = self.parts.index(part) + bool(self.axes)  # the first one, too, from what has axes
            positions = positions + index * APART if index else positions
            return positions, torch.zeros_like(positions) if self.axes else None
        return self.stack({axis: place[mask] for axis, place in units.places.items()})

    def stack(self, places: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Positions and reach ``(N, P)`` of places ``(N, 2)`` along some of the axes."""
        like = next(iter(places.values()))
        unknown = like.new_tensor([0.0, torch.inf]).expand(len(like), 2)
        stacked = [places.get(axis, unknown) for axis in self.axes]
        stacked += [unknown] * (self.n_positions - len(stacked))
        positions, reach = torch.stack(stacked, 1).unbind(2)
        return positions.where(reach.isfinite(), 0.0), reach
