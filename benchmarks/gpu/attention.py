"""Attention over packed events: torch's variable-length kernel behind hepfm's, against padded and nested
SDPA.

bf16, 6 heads of 64, forward and backward. Each gets offsets alone, and makes what it needs from them within
its time. All must give the output and the gradients of float32, event by event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence

from benchmarks.gpu.timing import in_turn, lengths, shown
from hepfm.nn.attention import packed_attention
from hepfm.nn.layout import PackedLayout
from hepfm.nn.ragged import offsets_of

HEADS, WIDTH = 6, 64
Way = Callable[[Tensor, Tensor, Tensor], Tensor]


def run(device: str, *, quick: bool) -> Iterator[dict[str, Any]]:
    """Milliseconds of each way at several mean lengths."""
    for n, mean in ((4, 64),) if quick else ((64, 300), (32, 1000), (16, 4000)):
        counts = lengths(n, mean)
        yield from _at(device, counts, quick=quick)


def _at(device: str, counts: Tensor, *, quick: bool) -> Iterator[dict[str, Any]]:
    offsets = offsets_of(counts).to(device)
    sizes = counts.tolist()

    def ours(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return packed_attention(q, k, v, PackedLayout(offsets))

    def padded(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        longest = max(sizes)
        real = torch.arange(longest, device=device) < offsets.diff()[:, None]
        rows = (pad_sequence(x.split(sizes), batch_first=True).transpose(1, 2) for x in (q, k, v))
        out = scaled_dot_product_attention(*rows, attn_mask=real[:, None, None, :])
        return out.transpose(1, 2)[real]

    def nested(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        jagged = (torch.nested.nested_tensor_from_jagged(x, offsets).transpose(1, 2) for x in (q, k, v))
        values: Tensor = scaled_dot_product_attention(*jagged).transpose(1, 2).values()
        return values

    ways: dict[str, Way] = {"hepfm": ours, "padded": padded, "nested": nested}
    shape = (int(counts.sum()), HEADS, WIDTH)
    inputs = [torch.randn(shape, device=device, dtype=torch.bfloat16).requires_grad_() for _ in range(3)]
    weight = torch.randn(shape, device=device, dtype=torch.bfloat16)
    expected = _results(partial(_event_by_event, sizes), [x.float() for x in inputs], weight.float())
    for name, way in ways.items():
        for what, found, right in zip("oqkv", _results(way, inputs, weight), expected, strict=True):
            off = float((found.float() - right).norm() / right.norm())
            assert off < 0.02, f"{name} is wrong: {what} is off by {off:.3f} of its norm"

    def step(way: Way) -> Callable[[], None]:
        return lambda: torch.autograd.backward(way(*inputs), weight)

    times = in_turn({name: step(way) for name, way in ways.items()}, device, quick=quick)
    for name, spread in times.items():
        ratio = spread.median / times["hepfm"].median
        yield {
            "way": name,
            "events": len(sizes),
            "mean_length": round(float(counts.float().mean())),
            "ms": shown(spread),
            "over_hepfm": f"{ratio:.2f}",
        }


def _event_by_event(sizes: list[int], q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    events = zip(*(x.transpose(0, 1).split(sizes, 1) for x in (q, k, v)), strict=True)
    return torch.cat(
        [scaled_dot_product_attention(*(x[None] for x in event))[0] for event in events], 1
    ).transpose(0, 1)


def _results(way: Way, inputs: list[Tensor], weight: Tensor) -> list[Tensor]:
    """The output, and the gradients of queries, keys and values."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    out = way(*leaves)
    return [out.detach(), *torch.autograd.grad(out, leaves, weight)]
