"""The walls of the argon: what passes them has escaped."""

from __future__ import annotations

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Floats


@compiled
def share_inside(box: Floats, x: float, y: float, z: float, a: float, b: float, c: float) -> float:
    """The share of the way from (x, y, z) to (a, b, c) that lies in the box of corners ``(2, 3)``."""
    share = 1.0
    if a < box[0, 0]:
        share = min(share, (box[0, 0] - x) / (a - x))
    elif a > box[1, 0]:
        share = min(share, (box[1, 0] - x) / (a - x))
    if b < box[0, 1]:
        share = min(share, (box[0, 1] - y) / (b - y))
    elif b > box[1, 1]:
        share = min(share, (box[1, 1] - y) / (b - y))
    if c < box[0, 2]:
        share = min(share, (box[0, 2] - z) / (c - z))
    elif c > box[1, 2]:
        share = min(share, (box[1, 2] - z) / (c - z))
    return share
