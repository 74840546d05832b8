"""ZeRO 0 to 3 of the training engine on one card: time of a step and peak memory. Needs DeepSpeed.

A process for each stage: what one leaves behind on the card is not in the peak of the next.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch

from benchmarks.gpu.timing import SCHEMA, batch, in_turn, shown
from hepfm.data.tensors import to_device
from hepfm.random import Draws


def run(device: str, *, quick: bool) -> Iterator[dict[str, Any]]:
    """One stage after the other."""
    if importlib.util.find_spec("deepspeed") is None:
        yield {"not measured": "DeepSpeed is not installed here"}
        return
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as fresh:
        yield from fresh.map(partial(_stage, device, quick=quick), (0, 1, 2, 3))


def _stage(device: str, stage: int, *, quick: bool) -> dict[str, Any]:
    from hepfm.nn.encoder import Encoder
    from hepfm.nn.transformer import Transformer, TransformerConfig
    from hepfm.objectives.masked import Masked, MaskedConfig
    from hepfm.recipe.schema import Component, Data, Part, Recipe
    from hepfm.training.engine import Engine
    from hepfm.training.model import PretrainModule
    from hepfm.training.ranks import join
    from hepfm.training.step import train_step
    from hepfm_image3d.modality import Image3D, Image3DConfig

    torch.manual_seed(0)
    modalities = {"image3d": Image3D(Image3DConfig(), SCHEMA)}
    backbone = Transformer(TransformerConfig(size="tiny" if quick else "base"), n_positions=3)
    objective = Masked(MaskedConfig(), modalities=modalities, d_model=backbone.d_model)
    recipe = Recipe(
        name="zero",
        data=Data(train="none", parts={"image3d": Part(kind="image3d")}),
        objective=Component(name="masked"),
        deepspeed={"zero_optimization": {"stage": stage}},
    )
    module = PretrainModule(Encoder(modalities, backbone), objective, "bf16")
    engine = Engine(module, recipe, join(60.0))
    host = to_device(batch(2, 200) if quick else batch(32, 4000), device)
    losses: list[float] = []

    def step() -> None:
        plan = objective.plan(host, Draws(seed=1, epoch=0, event_ids=host.event_ids))
        losses.append(train_step(engine, [plan], objective.weights, learning_rate=1e-4).loss)

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    spread = in_turn({"step": step}, device, quick=quick)["step"]
    peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0.0
    return {
        "stage": stage,
        "parameters": engine.n_parameters,
        "ms": shown(spread),
        "peak_gib": f"{peak:.2f}",
        "first_loss": f"{losses[0]:.4f}",
        "last_loss": f"{losses[-1]:.4f}",
    }
