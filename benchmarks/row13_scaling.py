"""Row 13: what more ranks bring, from 1 to 2 on this machine's cores; and simulated to 1,024.

``image3d/masked-tiny`` in float32, a core a rank; tokens a second of all ranks. Weak: twice the global
batch on two ranks; strong: the same. The peer is DistributedDataParallel over gloo by hand, on the same
events, whose weak figure stands beside. Efficiency is taken round by round. What the machine itself lets
two of its cores do is the limit: two trainings side by side that exchange nothing.

The simulation takes the balance of `row03_balance` and the time of an allreduce in a hierarchy (8 ranks a
node, ring within, double tree between) of 91 M bf16 gradients that nothing hides; it is calculated from
latencies and bandwidths that are assumed, not measured.
"""

from __future__ import annotations

import math
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.events import lengths
from benchmarks.measure import ROUNDS, Line, Spread
from benchmarks.turns import Group, free_ports, rotated, tokens_per_s

COST = 12_288
BESIDE = "hepfm, 1 rank, beside"
WAYS = {
    "hepfm, 1 rank": ("hepfm", 1, COST),
    BESIDE: ("hepfm", 1, COST),
    "hepfm, 2 ranks, weak": ("hepfm", 2, 2 * COST),
    "hepfm, 2 ranks, strong": ("hepfm", 2, COST),
    "bare, 1 rank": ("bare", 1, COST),
    "bare, 2 ranks, weak": ("bare", 2, 2 * COST),
    "bare, 2 ranks, strong": ("bare", 2, COST),
}


def run(*, quick: bool) -> list[Line]:
    """Starts all trainings, then gives them turns."""
    speeds: dict[str, list[float]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        groups = {}
        for (name, (way, world, cost)), port in zip(WAYS.items(), free_ports(len(WAYS)), strict=True):
            recipe = {"data__batch_cost": cost, "data__micro_batch_cost": cost}
            groups[name] = Group(
                Path(folder, name.replace(", ", "-").replace(" ", "")), way, world, recipe, port
            )
        try:
            for group in groups.values():
                group.start()
                group.results()
            steps = 2 if quick else 4
            for round_ in range(2 if quick else ROUNDS + 1):
                for name in rotated(groups, round_):
                    if name == BESIDE:
                        told = _at_once(groups["hepfm, 1 rank"], groups[BESIDE], steps=steps)
                    else:
                        told = [groups[name].run(steps)]
                    if round_:
                        speeds[name].append(sum(map(tokens_per_s, told)))
        finally:
            for group in groups.values():
                group.end()

    def efficiency(two_ranks: str, one_rank: str) -> Spread:
        pairs = zip(speeds[two_ranks], speeds[one_rank], strict=True)
        return Spread.of([two / (2 * one) for two, one in pairs])

    apart = efficiency(BESIDE, "hepfm, 1 rank").median

    lines = []
    for kind in ("weak", "strong"):
        ours, theirs = (efficiency(f"{way}, 2 ranks, {kind}", f"{way}, 1 rank") for way in ("hepfm", "bare"))
        lines.append(
            Line(
                what=f"scaling from 1 to 2 ranks, {kind}",
                unit="",
                ours=ours,
                peer="DistributedDataParallel over gloo",
                theirs=theirs,
                target=">= 0.95" if kind == "weak" else "",
                met=ours.median >= 0.95 if kind == "weak" else None,
                limit=f"two trainings side by side that exchange nothing, {apart:.3g}",
                note=f"{Spread.of(speeds['hepfm, 1 rank']).median:,.0f} tokens/s on one rank",
            )
        )
    return [*lines, *map(_simulated, (8, 64, 1024))]


def _at_once(*groups: Group, steps: int) -> list[Any]:
    with ThreadPoolExecutor(len(groups)) as threads:
        return list(threads.map(lambda group: group.run(steps), groups))


PARAMETERS, BYTES = 91e6, 2
STEP_FLOP_A_TOKEN = 6 * PARAMETERS
FLOPS = 0.39 * 800e12
TOKENS_A_RANK = 32_768
A1, B1 = 5e-6, 300e9
A2, B2 = 10e-6, 50e9
"""Latency in s and bandwidth in B/s of a rank, within a node of 8 and between nodes.

The bandwidth between nodes is the nominal one of a 400 Gbit/s port for each card; the one within is assumed,
two thirds of the 450 GB/s that NVLink 4 has in each direction. Both latencies are assumed. None is measured.
"""


def _simulated(world: int) -> Line:
    from benchmarks.row03_balance import balances

    q, nodes, n = min(8, world), max(1, world // 8), PARAMETERS * BYTES
    within = (q - 1) * A1 + (q - 1) / q * n / B1
    between = math.ceil(math.log2(nodes)) * A2 + (nodes - 1) / nodes * (n / q) / B2
    compute = STEP_FLOP_A_TOKEN * TOKENS_A_RANK / FLOPS
    balance = Spread.of(balances(lengths().astype("uint32"), world)[0]).median
    efficiency = Spread.exact(compute / (compute / balance + 2 * (within + between)))
    return Line(
        what=f"scaling to {world} ranks, calculated",
        unit="",
        ours=efficiency,
        target=">= 0.93" if world == 1024 else "",
        met=efficiency.median >= 0.93 if world == 1024 else None,
        limit="0.97",
        note="calculated, not measured: 91 M parameters in bf16, 32,768 tokens a rank at 39 % of 800 "
        "TFLOP/s, "
        f"an allreduce of {2e3 * (within + between):.1f} ms that nothing hides, balance {balance:.3f} as "
        f"dealt. Assumed: {A1 * 1e6:.0f} us and {B1 / 1e9:.0f} GB/s within a node (two thirds of NVLink 4), "
        f"{A2 * 1e6:.0f} us and {B2 / 1e9:.0f} GB/s between nodes (a 400 Gbit/s port for each card, nominal)",
    )
