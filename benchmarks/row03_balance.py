"""Row 3: share of computed rows that are real, and how evenly a global batch is dealt, from 8 to 1,024
ranks.

Shares are counted as the model of ``image3d/masked-tiny`` computes masked pretraining on 8 batches of about
32 events from the loader that trains: a row is real if the tokeniser made it for an event. Counted are the
rows that each linear layer of the transformer is given, and the queries of its attention as they are grouped
and padded on a CPU. The peer pads the same tokens to the longest event of the batch.

Balance is counted with the code that trains, on the lengths of 20,000 events: global batches of 6 events a
rank on average (8 of them at each number of ranks), dealt by `hepfm.data.deal`. It is the mean over ranks of
their rows, divided by the largest: the share of the time in which a rank does not wait for the slowest.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.events import lengths, store
from benchmarks.measure import Line, Spread
from benchmarks.session import resolved
from hepfm.data.deal import deal
from hepfm.data.loader import Loader
from hepfm.data.order import Cursor, Order
from hepfm.data.source import open_source
from hepfm.nn.layout import PackedLayout
from hepfm.nn.transformer import Attention, Transformer
from hepfm.random import Draws
from hepfm.training.model import build

BATCHES = 8
EVENTS_A_RANK = 6


def run(*, quick: bool) -> list[Line]:
    """Deals batches for each number of ranks."""
    costs = lengths().astype(np.uint32)
    return [*_shares(2 if quick else BATCHES), *(_balance(costs, world) for world in (8, 64, 256, 1024))]


@dataclass
class Rows:
    """Of one batch: in each layer, how many rows are real, and how many were computed.

    Attributes:
        lengths: ``(B,)`` tokens of each event, as the tokeniser made them.
        linear: Rows that each linear layer was given.
        queries: Queries that each attention computed, with those that pad a group.
    """

    lengths: torch.Tensor
    linear: list[int]
    queries: list[int]

    def share(self, computed: list[int]) -> float:
        """Of the rows that some layers have computed, those that are real."""
        return int(self.lengths.sum()) * len(computed) / sum(computed)

    def share_padded(self) -> float:
        """The same, were each event padded to the longest."""
        return float(self.lengths.sum() / (self.lengths.max() * len(self.lengths)))


def count(transformer: Transformer) -> list[Rows]:
    """A list that grows with each batch that the transformer computes."""
    seen: list[Rows] = []

    def begins(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        seen.append(Rows(arguments[0].offsets.diff(), [], []))

    def linear(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        seen[-1].linear.append(arguments[0].shape[:-1].numel())

    def attention(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        layout: PackedLayout = arguments[1]
        seen[-1].queries.append(sum(len(group.events) * group.padded[0] for group in layout.groups))

    transformer.register_forward_pre_hook(begins)
    for module in transformer.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(linear)
        elif isinstance(module, Attention):
            module.register_forward_pre_hook(attention)
    return seen


def _shares(batches: int) -> list[Line]:
    recipe = resolved("image3d/masked-tiny", data__train=store(2000), data__val="null").recipe
    source = open_source(recipe.data.train, parts=recipe.data.parts)
    module = build(recipe, source.modalities, "fp32")
    rows = count(module.encoder.backbone)
    cost = int(source.costs.mean() * 32)
    steps = islice(Loader(source, seed=0, batch_cost=cost, micro_batch_cost=2 * cost), batches)
    for [batch] in (step.micro_batches for step in steps):
        draws = Draws(seed=0, epoch=0, event_ids=batch.event_ids)
        with torch.no_grad():
            module(
                module.objective.plan(batch, draws, augment=False),
                dict.fromkeys(module.objective.weights, 1.0),
            )

    def line(what: str, ours: list[float], note: str) -> Line:
        padded = [batch.share_padded() for batch in rows]
        share = Spread.of(ours)
        return Line(
            what=f"share of rows that are real, {what}",
            unit="",
            ours=share,
            peer="padding to the longest of 32",
            theirs=Spread.of(padded),
            ratio=Spread.of([a / b for a, b in zip(ours, padded, strict=True)]),
            target=">= 0.99",
            met=share.median >= 0.99,
            limit="1",
            note=note,
        )

    tokens = sum(int(batch.lengths.sum()) for batch in rows) / sum(len(batch.lengths) for batch in rows)
    return [
        line(
            "linear layers",
            [batch.share(batch.linear) for batch in rows],
            f"counted in the transformer of masked-tiny, which sees {tokens:.0f} tokens of an event on "
            "average",
        ),
        line(
            "attention on a CPU",
            [batch.share(batch.queries) for batch in rows],
            "counted as above; an event is padded to a multiple of 16 tokens, whatever its batch. On a GPU "
            "it is not padded",
        ),
    ]


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
