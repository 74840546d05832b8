"""A small real model whose loss has a closed form: two regressions on the rows of events.

Run as a script it is one rank of several: ``python toy.py SCENARIO FOLDER`` with RANK, WORLD_SIZE and MASTER_*.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from hepfm.api import Plan
from hepfm.random import Draws
from hepfm.recipe.schema import Adapt, Component, Data, Model, Part, Recipe, Train

WIDTH = 3
RATES = {"encoder.first": 0.25, "encoder.backbone.blocks": 0.5, "objective.last": 1.0}
"""Of a layer decay of 0.5, by hand: what lies below the one layer, that layer, and what stands on it."""


class Rows(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor
    seen: torch.Tensor


class Passed(NamedTuple):
    x: torch.Tensor


class Backbone(nn.Module):
    """One layer that is trained, on one that is frozen."""

    n_layers = 1

    def __init__(self):
        super().__init__()
        self.below = nn.Linear(4, 4).requires_grad_(requires_grad=False)
        self.blocks = nn.ModuleList([nn.Linear(4, 4)])

    def forward(self, tokens):
        return Passed(tokens.x + torch.tanh(self.blocks[0](self.below(tokens.x))))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = Backbone()
        self.first = nn.Linear(WIDTH, 4)

    def forward(self, x):
        return self.backbone(Passed(torch.tanh(self.first(x)))).x


class Regression(nn.Module):
    """Two terms with counts of their own: all rows, and the rows that are seen."""

    weights = {"all": 1.0, "seen": 0.5}  # noqa: RUF012 - of the contract

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 1)

    def forward(self, encoder, plan):
        x, y, seen = plan.payload
        square = (self.last(encoder(x)).squeeze(-1) - y) ** 2
        return {"all": square.sum(), "seen": (square * seen).sum()}


class Module(nn.Module):
    """The same as PretrainModule, without what that needs of other rooms."""

    def __init__(self):
        super().__init__()
        self.encoder, self.objective, self.tokens = Encoder(), Regression(), 0

    def forward(self, plan, scales):
        self.tokens += len(plan.payload.x)
        sums = self.objective(self.encoder, plan)
        return sum(sums[term] * scale for term, scale in scales.items()), {
            t: s.detach() for t, s in sums.items()
        }


def make_module(dtype=torch.float32):
    torch.manual_seed(0)
    return Module().to(dtype)


def make_recipe(stage, **train):
    train = {"learning_rate": 0.05, "weight_decay": 0.1, "clip_norm": 0.5, "precision": "fp32", **train}
    return Recipe(
        name="toy",
        data=Data(train="none", parts={"rows": Part(kind="rows")}),
        model=Model(adapt=Adapt(layer_decay=0.5)),
        objective=Component(name="regression"),
        train=Train(**train),
        deepspeed={"zero_optimization": {"stage": stage}},
    )


def rows_of_step(step):
    """24 rows; every seventh step none of them is seen."""
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(24, WIDTH, generator=generator)
    seen = (torch.rand(24, generator=generator) < 0.4) & bool(step % 7)
    return Rows(x, x.sum(-1) + 0.1 * torch.randn(24, generator=generator), seen.float())


def plan_of(rows):
    draws = Draws(seed=0, epoch=0, event_ids=torch.zeros(1, dtype=torch.int64))
    return Plan(counts={"all": len(rows.x), "seen": int(rows.seen.sum())}, draws=draws, payload=rows)


def micro_batches(rows, rank, world):
    """Uneven shares; the last rank has a micro-batch without rows."""
    bounds = {1: [0, 24], 2: [0, 10, 24], 3: [0, 10, 17, 24]}[world]
    mine = Rows(*(column[bounds[rank] : bounds[rank + 1]] for column in rows))
    cuts = [(0, 3), (3, 24)] if rank == 0 else [(0, 0), (0, 24)]
    return [plan_of(Rows(*(column[slice(*cut)] for column in mine))) for cut in cuts]


def full_batch(steps, *, skip=(), **train):
    """The same training in float64, on the whole batch at once, with torch alone."""
    settings = make_recipe(0, **train).train
    module = make_module(torch.float64)
    optimizer = torch.optim.AdamW(
        [
            {
                "params": [p],
                "lr": settings.learning_rate * next(r for at, r in RATES.items() if name.startswith(at)),
                "weight_decay": settings.weight_decay if p.ndim > 1 and 1 not in p.shape else 0.0,
            }
            for name, p in module.named_parameters()
            if p.requires_grad
        ],
        betas=settings.betas,
    )
    losses, norms = [], []
    for step in range(1, steps + 1):
        x, y, seen = (column.double() for column in rows_of_step(step))
        square = (module.objective.last(module.encoder(x)).squeeze(-1) - y) ** 2
        loss = square.mean() + 0.5 * (square * seen).sum() / max(1, int(seen.sum()))
        losses.append(float(loss.detach()))
        if step in skip:
            continue
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(module.parameters(), settings.clip_norm)))
        optimizer.step()
    return losses, norms, {name: p.detach() for name, p in module.named_parameters()}


def train(engine, first, last, *, poison=(), rate=0.05):
    """Steps first..last; at the steps of ``poison``, a NaN enters on the last rank."""
    from hepfm.training.step import train_step

    results = []
    for step in range(first, last + 1):
        rows = rows_of_step(step)
        if step in poison:
            rows.y[-1] = float("nan")
        plans = micro_batches(rows, engine.ranks.rank, engine.ranks.world)
        results.append(train_step(engine, plans, engine.module.objective.weights, learning_rate=rate))
    return results


def weights_of(engine):
    """Copies, on rank 0."""
    return {name: tensor.clone() for name, tensor in engine.weights()}


def save_moments(engine, folder):
    """What this rank writes of a checkpoint, beside the weights."""
    from hepfm.training.checkpoint import write_file
    from hepfm.training.weights import to_safetensors

    folder.mkdir(parents=True, exist_ok=True)
    tensors, about = engine.moments()
    if tensors:
        name = f"adamw-{engine.ranks.rank:05d}.safetensors"
        write_file(folder / name, to_safetensors(dict(tensors), about))


def scenario_stages(ranks, folder):
    """Every ZeRO stage: plain training, a poisoned step, and training cut in two by a checkpoint."""
    from hepfm.training.engine import Engine
    from hepfm.training.weights import weights_sha256

    report = {}
    for stage in (0, 1, 2, 3):
        engine = Engine(make_module(), make_recipe(stage), ranks)
        steps = train(engine, 1, 5)
        save_moments(engine, folder / f"stage{stage}")
        halfway = ranks.from_first(weights_of(engine))
        steps += train(engine, 6, 10)
        whole = weights_of(engine)

        engine = Engine(make_module(), make_recipe(stage), ranks)
        engine.load(folder / f"stage{stage}", halfway)
        resumed_steps = train(engine, 6, 10)
        resumed = weights_of(engine)

        engine = Engine(make_module(), make_recipe(stage), ranks)
        poisoned_steps = train(engine, 1, 10, poison=(4,))
        poisoned = weights_of(engine)
        report[stage] = {
            "losses": [step.loss for step in steps],
            "norms": [step.grad_norm for step in steps],
            "resumed_losses": [step.loss for step in resumed_steps],
            "taken": [step.taken for step in poisoned_steps],
            "poisoned_losses": [step.loss for step in poisoned_steps],
            "weights": {name: tensor.tolist() for name, tensor in whole.items()},
            "poisoned": {name: tensor.tolist() for name, tensor in poisoned.items()},
            "moments": [name for name, _ in engine.moments()[0]],
            "sha256": weights_sha256(whole),
            "resumed_sha256": weights_sha256(resumed),
        }
    return report


def scenario_write(ranks, folder):
    """Training cut in two by a checkpoint, at every ZeRO stage."""
    from hepfm.training.checkpoint import write_file
    from hepfm.training.engine import Engine
    from hepfm.training.weights import to_safetensors, weights_sha256

    report = {}
    for stage in (0, 1, 2, 3):
        engine = Engine(make_module(), make_recipe(stage), ranks)
        train(engine, 1, 5)
        save_moments(engine, folder / f"written-{stage}")
        if weights := weights_of(engine):
            write_file(folder / f"weights-{stage}.safetensors", to_safetensors(weights))
        train(engine, 6, 10)
        report[stage] = weights_sha256(weights_of(engine))
    return report


def scenario_take_over(ranks, folder):
    """Every ZeRO stage goes on from what every stage wrote, on other ranks, and writes it again."""
    from hepfm.training.engine import Engine
    from hepfm.training.weights import read_weights

    report = {}
    for before in (0, 1, 2, 3):
        weights = read_weights(folder / f"weights-{before}.safetensors")
        for now in (0, 1, 2, 3):
            engine = Engine(make_module(), make_recipe(now), ranks)
            engine.load(folder / f"written-{before}", weights)
            save_moments(engine, folder / f"taken-{before}-{now}")
            losses = [step.loss for step in train(engine, 6, 10)]
            final = {name: tensor.tolist() for name, tensor in weights_of(engine).items()}
            report[f"{before}-{now}"] = {"losses": losses, "weights": final}
    return report


def scenario_back(ranks, folder):
    """The stage and the ranks that wrote it first go on from what others wrote again."""
    from hepfm.training.engine import Engine
    from hepfm.training.weights import read_weights, weights_sha256

    report = {}
    for before in (0, 1, 2, 3):
        weights = read_weights(folder / f"weights-{before}.safetensors")
        for between in (0, 1, 2, 3):
            engine = Engine(make_module(), make_recipe(before), ranks)
            engine.load(folder / f"taken-{before}-{between}", weights)
            train(engine, 6, 10)
            report[f"{before}-{between}"] = weights_sha256(weights_of(engine))
    return report


if __name__ == "__main__":
    from hepfm.training.ranks import end_process, join

    torch.set_num_threads(1)
    scenario, out = sys.argv[1], Path(sys.argv[2])
    joined = join(60.0)
    result = globals()[f"scenario_{scenario}"](joined, out)
    if joined.rank == 0:
        (out / "report.json").write_text(json.dumps(result))
    joined.leave()
    end_process(0)
