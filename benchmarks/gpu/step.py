"""A training step of the transformer, ``small`` and ``base``, bf16: time, model-FLOPs utilisation,
torch.compile.

FLOPs of a token, forward and backward: 6 N + 12 layers d sum(L^2)/sum(L) (docs: performance). Utilisation
is over the card's dense bf16 peak, where it is known. Beside it the whole masked pretraining step, with its
host's part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks.gpu.timing import SCHEMA, batch, in_turn, lengths, shown
from hepfm.api import Tokens
from hepfm.data.tensors import to_device
from hepfm.nn.encoder import Encoder
from hepfm.nn.ragged import offsets_of
from hepfm.nn.transformer import Transformer, TransformerConfig
from hepfm.objectives.masked import Masked, MaskedConfig
from hepfm.random import Draws
from hepfm_image3d.modality import Image3D, Image3DConfig

PEAK = {"H100 PCIe": 756e12, "H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12}
"""Dense bf16 FLOP/s of cards, by a part of their name (the makers' data sheets)."""


def run(device: str, *, quick: bool) -> Iterator[dict[str, Any]]:
    """Both sizes."""
    for size in ("tiny",) if quick else ("small", "base"):
        yield from _backbone(device, size, quick=quick)
        yield _pretraining(device, size, quick=quick)


def _backbone(device: str, size: Any, *, quick: bool) -> Iterator[dict[str, Any]]:
    model = Transformer(TransformerConfig(size=size), n_positions=3).to(device)
    counts = lengths(4, 64) if quick else lengths(64, 600)
    n_tokens = int(counts.sum())
    tokens = Tokens(
        x=torch.randn(n_tokens, model.d_model, device=device),
        positions=torch.rand(n_tokens, 3, device=device) * 128,
        offsets=offsets_of(counts).to(device),
        part=torch.zeros(n_tokens, dtype=torch.int64, device=device),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step(forward: Callable[[Tokens], Tokens]) -> Callable[[], None]:
        def once() -> None:
            optimizer.zero_grad()
            with torch.autocast(device, torch.bfloat16):
                loss = forward(tokens).x.float().square().mean()
            loss.backward()
            optimizer.step()

        return once

    ways = {"eager": step(model)}
    if device == "cuda":  # on a CPU it would ask for a compiler
        ways["torch.compile"] = step(torch.compile(model, dynamic=True))
    n_parameters = sum(p.numel() for p in model.parameters())
    attended = float((counts.double() ** 2).sum() / counts.sum())
    flop = n_tokens * (6 * n_parameters + 12 * model.n_layers * model.d_model * attended)
    peak = _peak() if device == "cuda" else None
    for name, spread in in_turn(ways, device, quick=quick).items():
        reached = flop / (1e-3 * spread.median)
        yield {
            "what": f"transformer {size}, {name}",
            "parameters": n_parameters,
            "tokens": n_tokens,
            "ms": shown(spread),
            "tflops": f"{reached / 1e12:.3g}",
            "utilisation": f"{reached / peak:.3f}" if peak else "the card's peak is not known",
        }


def _pretraining(device: str, size: Any, *, quick: bool) -> dict[str, Any]:
    modalities = {"image3d": Image3D(Image3DConfig(), SCHEMA)}
    backbone = Transformer(TransformerConfig(size=size), n_positions=3)
    encoder = Encoder(modalities, backbone).to(device)
    objective = Masked(MaskedConfig(), modalities=modalities, d_model=backbone.d_model).to(device)
    host = batch(2, 200) if quick else batch(64, 4000)
    parameters = [*encoder.parameters(), *objective.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, fused=True)

    def step() -> None:
        there = to_device(host, device)
        plan = objective.plan(there, Draws(seed=1, epoch=0, event_ids=there.event_ids))
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16):
            sums = objective(encoder, plan)
        terms = objective.weights.items()
        sum(weight * sums[term].float() / max(1, plan.counts[term]) for term, weight in terms).backward()
        optimizer.step()

    spread = in_turn({"step": step}, device, quick=quick)["step"]
    voxels = int(host.cost.sum())
    return {
        "what": f"masked pretraining {size}",
        "voxels": voxels,
        "ms": shown(spread),
        "voxels_per_s": f"{1e3 * voxels / spread.median:,.0f}",
    }


def _peak() -> float | None:
    name = torch.cuda.get_device_name()
    return next((flops for part, flops in PEAK.items() if part in name), None)
