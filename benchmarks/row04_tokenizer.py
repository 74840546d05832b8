"""Row 4: milliseconds an event to group its points into tokens, on one core.

hepfm's way is `hepfm_image3d.cells.group`: one sort by coarse cell, which also joins the rows of a voxel
and sums their energies; a batch of 32 events at once, as in training. The peer's is that of point networks:
as many farthest points as there are cells (fpsample's bucketed algorithm), and for each the points within 5
voxels (scipy's cKDTree), event by event.
"""

from __future__ import annotations

from itertools import islice

import numpy as np
import torch

from benchmarks.events import PARTS, SIDE, events
from benchmarks.measure import Line, Spread, in_turn, one_core, ratios, seconds
from hepfm.readers.pack import offsets_of
from hepfm_image3d.cells import group

CELL = 6
RADIUS = 5.0
N = 32


def run(*, quick: bool) -> list[Line]:
    """Times both, after a look at what they give."""
    import fpsample
    from scipy.spatial import cKDTree

    one_core()
    some = list(islice(events(), N))
    voxel = torch.from_numpy(np.concatenate([voxel for voxel, _ in some])).long()
    energy = torch.from_numpy(np.concatenate([energy for _, energy in some]))
    offsets = torch.from_numpy(offsets_of([len(energy) for _, energy in some]))
    grid = tuple(PARTS["image3d"].attributes["grid"])

    def cells() -> torch.Tensor:
        return group(voxel, energy, offsets, grid=grid, side=CELL)[1]

    tokens = cells().diff().tolist()
    points = [voxel.astype(np.float32) for voxel, _ in some]

    def farthest_points() -> list[int]:
        found = []
        for event, n in zip(points, tokens, strict=True):
            centres = fpsample.bucket_fps_kdline_sampling(event, n, h=5)
            groups = cKDTree(event).query_ball_point(event[centres], RADIUS)
            found.append(len(groups))
        return found

    brute = [len(np.unique(voxel // CELL @ [SIDE * SIDE, SIDE, 1])) for voxel, _ in some]
    assert tokens == farthest_points() == brute  # equal numbers of tokens, event by event
    ways = {
        "hepfm": lambda: 1e3 * seconds(cells) / N,
        "peer": lambda: 1e3 * seconds(farthest_points) / N,
    }
    times = in_turn(ways, quick=quick)
    ratio = ratios(times["hepfm"], times["peer"], higher_is_better=False)
    order = torch.randint(1 << 40, (len(voxel),))
    limit = 1e3 * min(seconds(order.sort) for _ in range(7)) / N
    return [
        Line(
            what=f"grouping {len(voxel) / N:,.0f} points into {sum(tokens) / N:,.0f} tokens, one core",
            unit="ms/event",
            ours=Spread.of(times["hepfm"]),
            peer="bucketed farthest points + cKDTree",
            theirs=Spread.of(times["peer"]),
            ratio=ratio,
            target=">= 20 times",
            met=ratio.median >= 20,
            limit=f"one sort, {limit:.2f} ms",
            note="equal numbers of tokens; the groups are others: cells part the points, balls overlap and "
            "leave points out",
        )
    ]
