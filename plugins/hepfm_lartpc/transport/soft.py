"""Loss of energy along a step by collisions below the cut, with its fluctuations.

Sums over pieces of a path are distributed as that over the whole of it: collisions that take more than
`SOFT_MEV` come one by one at exponential distances and are drawn from ``1 / W**2``, those below have their
mean and variance. With the collisions above the cut, this gives Landau's and Vavilov's shapes.
"""

from __future__ import annotations

import math

from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.streams import Stream, exponential, uniform
from hepfm_lartpc.transport.tables import SOFT_MEV


@compiled
def smooth_loss(s: Stream, mean: float, variance: float) -> float:
    """The loss in MeV by the many collisions below `SOFT_MEV`.

    It is drawn evenly: beside the rest it is narrow, and a loss must not be negative.
    """
    return mean + min(mean, math.sqrt(3.0 * variance)) * (2.0 * uniform(s) - 1.0)


@compiled
def soft_loss(s: Stream, until: float, least: float) -> tuple[float, float]:
    """The loss in MeV by collisions from `SOFT_MEV` to the cut, and mean free paths left to the next one.

    Args:
        s: Random numbers.
        until: Mean free paths from the end of the step to the next collision; negative if it is within.
        least: One over the largest loss.
    """
    lost = 0.0
    while until < 0.0:
        lost += 1.0 / (1.0 / SOFT_MEV - uniform(s) * (1.0 / SOFT_MEV - least))
        until += exponential(s)
    return lost, until
