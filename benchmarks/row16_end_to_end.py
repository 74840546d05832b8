"""Row 16: training from files, events a second on one core, and the share of a step that waits for data.

The peer's own net does not run here, so both train the model of ``image3d/masked-tiny`` from the same
weights. hepfm reads its store and packs events. The other way reads PILArNet-style variable-length rows
through h5py, and its transformer pads each event to the longest of the batch, through attention with a mask
and all linear layers. Tokeniser, decoder, objective and optimiser are hepfm's on both sides. 200 steps of
each in all, 25 in a turn. On one batch, both must give the same loss.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.events import N, pilarnet, store
from benchmarks.loops import Work
from benchmarks.measure import Line, Spread, in_turn, one_core, ratios
from benchmarks.session import resolved
from hepfm.api import Batch, RaggedTable, Tokens
from hepfm.data.loader import Loader
from hepfm.data.source import open_source
from hepfm.nn import transformer
from hepfm.nn.ragged import offsets_of
from hepfm.random import Draws
from hepfm.training.engine import decay_groups
from hepfm.training.model import build, resolve_precision

EVENTS = 6
"""Of a batch, on average."""


def run(*, quick: bool) -> list[Line]:
    """Compares the losses, then times both in turn."""
    one_core()
    n = 2000 if quick else N
    recipe = resolved("image3d/masked-tiny", data__train=store(n), data__val="null").recipe
    source = open_source(recipe.data.train, parts=recipe.data.parts)
    precision = resolve_precision("auto", torch.device("cpu"))
    ours, theirs = (_work(recipe, source, precision) for _ in range(2))
    _pad(theirs.module.encoder.backbone)
    packed = _packed_batches(source)
    first = next(packed)
    losses = [float(_loss(work, first, train=False).detach()) for work in (ours, theirs)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.01 if precision == "bf16" else 1e-4)
    steps = 3 if quick else 25
    waits: dict[str, list[float]] = {"hepfm": [], "padded": []}
    ways = {
        "hepfm": partial(_turn, ours, packed, steps, waits["hepfm"]),
        "padded": partial(_turn, theirs, _variable_length_batches(n), steps, waits["padded"]),
    }
    speeds = in_turn(ways, quick=quick, rounds=8)
    ratio = ratios(speeds["hepfm"], speeds["padded"], higher_is_better=True)
    # The first turn warms up.
    waited = {name: Spread.of([100 * wait for wait in values[1:]]) for name, values in waits.items()}
    common = {"peer": "padded transformer of equal size, PILArNet-style reading"}
    return [
        Line(
            what="masked pretraining from files, one core",
            unit="events/s",
            ours=Spread.of(speeds["hepfm"]),
            theirs=Spread.of(speeds["padded"]),
            ratio=ratio,
            target=">= 3 times",
            met=ratio.median >= 3,
            note="the model of masked-tiny, 4,400 voxels an event; tokeniser and decoder, the greater "
            "part of a step "
            "at this size, are hepfm's on both sides, so the ratio is that of the transformer and "
            "reading alone",
            **common,
        ),
        Line(
            what="share of a step that waits for data, read in the foreground",
            unit="%",
            ours=waited["hepfm"],
            theirs=waited["padded"],
            target="<= 1 %",
            met=waited["hepfm"].median <= 1,
            limit="0",
            **common,
        ),
    ]


def _work(recipe: Any, source: Any, precision: Any) -> Work:
    module = build(recipe, source.modalities, precision)
    train = recipe.train
    optimizer = torch.optim.AdamW(
        decay_groups(module, train.weight_decay), lr=train.learning_rate, betas=train.betas, fused=True
    )
    return Work(recipe, source, module, optimizer)


def _turn(work: Work, batches: Iterator[Batch], steps: int, waits: list[float]) -> float:
    """Events a second over some steps; notes the share of them that reading took."""
    began, waited, events = time.perf_counter(), 0.0, 0
    for _ in range(steps):
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        work.optimizer.zero_grad()
        _loss(work, batch, train=True).backward()
        torch.nn.utils.clip_grad_norm_(work.module.parameters(), work.recipe.train.clip_norm)
        work.optimizer.step()
        events += len(batch.event_ids)
    taken = time.perf_counter() - began
    waits.append(waited / taken)
    return events / taken


def _loss(work: Work, batch: Batch, *, train: bool) -> Tensor:
    objective = work.module.objective
    plan = objective.plan(batch, Draws(seed=1, epoch=0, event_ids=batch.event_ids), augment=train)
    scales = {term: weight / max(1, plan.counts.get(term, 0)) for term, weight in objective.weights.items()}
    loss: Tensor = work.module(plan, scales)[0]
    return loss


def _packed_batches(source: Any) -> Iterator[Batch]:
    cost = int(source.costs.mean() * EVENTS)
    for step in Loader(source, seed=0, batch_cost=cost, micro_batch_cost=2 * cost):
        yield from step.micro_batches


def _variable_length_batches(n: int) -> Iterator[Batch]:
    """Rows of h5py, cut by energy and joined, in an order drawn for each epoch."""
    points = h5py.File(pilarnet(n), "r", libver="latest")["point"]
    rng = np.random.default_rng(0)
    while True:
        for chosen in np.split(rng.permutation(n)[: n // EVENTS * EVENTS], n // EVENTS):
            some = [points[event].reshape(-1, 4) for event in chosen]
            cost = torch.tensor([len(rows) for rows in some])
            some = [rows[rows[:, 3] > 0.13] for rows in some]
            rows = torch.from_numpy(np.concatenate(some))
            columns = {"voxel": rows[:, :3].long(), "energy_mev": rows[:, 3].contiguous()}
            table = RaggedTable(columns, offsets_of(torch.tensor([len(rows) for rows in some])))
            ids = torch.from_numpy(chosen)
            yield Batch(event_ids=ids, cost=cost, parts={"image3d": {"voxels": table}}, labels={})


def _pad(backbone: transformer.Transformer) -> None:
    """Makes a transformer compute on events padded to the longest of the batch."""
    packed = backbone.forward

    def forward(tokens: Tokens, **options: Any) -> Tokens:
        lengths = tokens.offsets.diff()
        n_events, longest = len(lengths), int(lengths.max())
        real = torch.arange(longest) < lengths[:, None]
        x = tokens.x.new_zeros(n_events, longest, tokens.x.shape[1]).masked_scatter(real[..., None], tokens.x)
        positions = tokens.positions.new_zeros(n_events, longest, 3)
        positions[real] = tokens.positions
        part = torch.zeros(n_events * longest, dtype=torch.int64)
        even = torch.arange(n_events + 1) * longest
        padded = Tokens(x=x.flatten(0, 1), positions=positions.flatten(0, 1), offsets=even, part=part)
        with _masked_attention(real):
            encoded = packed(padded, **options)
        return Tokens(
            x=encoded.x[real.flatten()], positions=tokens.positions, offsets=tokens.offsets, part=tokens.part
        )

    nn.Module.__setattr__(backbone, "forward", forward)


@contextmanager
def _masked_attention(real: Tensor) -> Iterator[None]:
    """Within, a transformer's attention is torch's own, over padded events with a mask."""
    packed = transformer.packed_attention

    def masked(q: Tensor, k: Tensor, v: Tensor, _: Any) -> Tensor:
        shape = (*real.shape, *q.shape[1:])
        q, k, v = (x.reshape(shape).transpose(1, 2) for x in (q, k, v))
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else q.dtype
        out = scaled_dot_product_attention(
            q.to(dtype), k.to(dtype), v.to(dtype), attn_mask=real[:, None, None, :]
        )
        return out.transpose(1, 2).flatten(0, 1)

    transformer.packed_attention = masked
    try:
        yield
    finally:
        transformer.packed_attention = packed
