"""Row 7: jets a second of a training step, on two threads, at the sizes of OmniLearned's small model.

8 jets of 128 particles with four numbers each; width 128, 8 layers, 8 heads. Forward, backward, clipping and
AdamW, from a batch of tables in memory. The peer's figure is quoted (6.8 jets/s on two cores, from the
design's measurement): it is not run here. Its layers are half as wide inside as ours, but it has pairwise
features and a local attention that ours has not, and two more layers in each of its heads.

``autoregressive`` encodes all particles, as the peer does. ``masked`` encodes the visible 40 %.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.measure import Line, Spread, in_turn, seconds
from hepfm.api import Batch, RaggedTable
from hepfm.nn.encoder import Encoder
from hepfm.nn.transformer import Transformer, TransformerConfig
from hepfm.objectives.autoregressive import Autoregressive, AutoregressiveConfig
from hepfm.objectives.masked import Masked, MaskedConfig
from hepfm.random import Draws
from hepfm.training.engine import decay_groups
from hepfm.training.model import PretrainModule, resolve_precision
from hepfm_structured.config import StructuredConfig
from hepfm_structured.modality import Structured
from hepfm_structured.schema import field, part_schema

JETS, PARTICLES, THREADS = 8, 128, 2
SIZE = TransformerConfig(d_model=128, n_layers=8, n_heads=8)
PEER_JETS_S = 6.8
WAYS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "autoregressive": (Autoregressive, AutoregressiveConfig(), {"place": []}),
    "masked": (Masked, MaskedConfig(), {}),
}
"""Objective, its configuration, and that of the part."""


def run(*, quick: bool) -> list[Line]:
    """Times a step of each objective in turn."""
    torch.set_num_threads(THREADS)
    steps = 2 if quick else 10
    calls = {name: _step(*way) for name, way in WAYS.items()}
    speeds = in_turn({name: partial(_speed, call, steps) for name, call in calls.items()}, quick=quick)
    limit = _limit()

    def line(name: str) -> Line:
        ratio = Spread.of([speed / PEER_JETS_S for speed in speeds[name]])
        first = name == "autoregressive"
        return Line(
            what=f"training step, {name}, 8 jets of 128 particles, two threads",
            unit="jets/s",
            ours=Spread.of(speeds[name]),
            peer="OmniLearned small, its figure quoted",
            theirs=Spread.exact(PEER_JETS_S),
            ratio=ratio,
            target=">= 3 times" if first else "",
            met=ratio.median >= 3 if first else None,
            limit=f"its linear layers' products in bf16, {limit:.0f} jets/s" if first else "",
            note="the peer's figure is of another day, not run in turn; equal width, layers and heads, "
            "not equal architecture",
        )

    return [line(name) for name in WAYS]


def _batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    n = JETS * PARTICLES
    columns = {
        "pt": torch.randn(n, generator=generator).exp() * 5,
        "deta": torch.randn(n, generator=generator) * 0.2,
        "dphi": torch.randn(n, generator=generator) * 0.2,
        "charge": torch.randint(-1, 2, (n,), generator=generator),
    }
    table = RaggedTable(columns, torch.arange(0, n + 1, PARTICLES))
    cost = torch.full((JETS,), PARTICLES)
    return Batch(event_ids=torch.arange(JETS), cost=cost, parts={"jet": {"particles": table}})


def _step(objective: Any, config: Any, options: dict[str, Any]) -> Callable[[], None]:
    schema = part_schema(
        {
            "pt": field("float32", "positive", unit="GeV"),
            "deta": field("float32", "continuous"),
            "dphi": field("float32", "continuous", unit="rad"),
            "charge": field("int64", "categorical", vocabulary="charge"),
        },
        order="pt",
    )
    modalities = {"jet": Structured(StructuredConfig(**options), schema)}
    torch.manual_seed(0)
    backbone = Transformer(SIZE, n_positions=modalities["jet"].n_positions)
    encoder = Encoder(modalities, backbone, causal=objective is Autoregressive)
    module = PretrainModule(
        encoder,
        objective(config, modalities=modalities, d_model=backbone.d_model),
        resolve_precision("auto", torch.device("cpu")),
    )
    optimizer = torch.optim.AdamW(decay_groups(module, 0.05), lr=1e-4, fused=True)
    batch, draws = _batch(), Draws(seed=1, epoch=0, event_ids=torch.arange(JETS))

    def step() -> None:
        plan = module.objective.plan(batch, draws)
        scales = {term: w / max(1, plan.counts[term]) for term, w in module.objective.weights.items()}
        optimizer.zero_grad()
        module(plan, scales)[0].backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()

    return step


def _speed(step: Callable[[], None], steps: int) -> float:
    taken = seconds(lambda: [step() for _ in range(steps)])
    return JETS * steps / taken


def _limit() -> float:
    """Jets a second if the linear layers' products took all the time, at the speed of a large one."""
    a = torch.randn(1024, 1024).bfloat16()
    fastest = min(seconds(lambda: a @ a) for _ in range(10))
    width, layers, _ = SIZE.shape()
    flops = 6 * 12 * layers * width**2 * PARTICLES
    return 2 * 1024**3 / fastest / flops
