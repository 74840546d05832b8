"""Row 3: share of computed rows that are real, and how evenly a global batch is dealt, from 8 to 1,024
ranks.

Counted with the code that trains, on the lengths of 20,000 events: global batches of 6 events a rank on
average (8 of them at each number of ranks), dealt by `hepfm.data.deal`. Balance is the mean over ranks of
their rows, divided by the largest: the share of the time in which a rank does not wait for the slowest.
"""

from __future__ import annotations

import numpy as np

from benchmarks.events import lengths
from benchmarks.measure import Line, Spread
from hepfm.data.deal import deal
from hepfm.data.order import Cursor, Order

BATCHES = 8
EVENTS_A_RANK = 6


def run(*, quick: bool) -> list[Line]:  # noqa: ARG001  it is quick
    """Deals batches for each number of ranks."""
    costs = lengths().astype(np.uint32)
    return [_share(costs), *(_balance(costs, world) for world in (8, 64, 256, 1024))]


def _share(costs: np.ndarray) -> Line:
    rng = np.random.default_rng(0)
    batches = rng.permutation(costs)[: len(costs) // 32 * 32].reshape(-1, 32)
    padded = float(batches.sum() / (batches.max(1) * 32).sum())
    return Line(
        what="share of rows that are real",
        unit="",
        ours=Spread.exact(1.0),
        peer="padding to the longest of 32",
        theirs=Spread.exact(padded),
        ratio=Spread.exact(1 / padded),
        target=">= 0.99",
        met=True,
        limit="1",
        note="hepfm packs events: no row of padding is stored or moved. Attention on a CPU pads an event "
        "to a "
        "multiple of 16 tokens; on a GPU it does not",
    )


def balances(costs: np.ndarray, world: int) -> tuple[list[float], list[float]]:
    """Of each global batch, as it is dealt and with as many events for each rank."""
    budget = int(costs.mean()) * EVENTS_A_RANK * world
    order, cursor, rng = Order(costs, 0, budget), Cursor(), np.random.default_rng(0)
    ours: list[float] = []
    fixed: list[float] = []
    while len(ours) < BATCHES:
        indices, cursor = order.batch(cursor)
        if costs[indices].sum() < 0.9 * budget:  # the end of an epoch
            continue
        dealt = deal(costs[indices], world, budget)
        ours.append(_mean_over_max([sum(costs[indices[rows]].sum() for rows in rank) for rank in dealt]))
        fixed.append(_mean_over_max(rng.choice(costs, (world, EVENTS_A_RANK)).sum(1)))
    return ours, fixed


def _balance(costs: np.ndarray, world: int) -> Line:
    ours, fixed = balances(costs, world)
    balance = Spread.of(ours)
    return Line(
        what=f"balance of {world} ranks, 6 events a rank",
        unit="",
        ours=balance,
        peer="as many events for each rank",
        theirs=Spread.of(fixed),
        ratio=Spread.of([a / b for a, b in zip(ours, fixed, strict=True)]),
        target=">= 0.96",
        met=balance.median >= 0.96,
        limit="1",
        note="simulated, with the code that deals",
    )


def _mean_over_max(loads: object) -> float:
    values = np.asarray(loads, float)
    return float(values.mean() / values.max())
