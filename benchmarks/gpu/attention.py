"""Attention over packed events: torch's variable-length kernel behind hepfm's, against padded and nested
SDPA.

bf16, 6 heads of 64, forward and backward. All must give the same output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


def run(device: str, *, quick: bool) -> Iterator[dict[str, Any]]:
    """Milliseconds of each way at several mean lengths."""
    for n, mean in ((4, 64),) if quick else ((64, 300), (32, 1000), (16, 4000)):
        counts = lengths(n, mean)
        yield from _at(device, counts, quick=quick)


def _at(device: str, counts: Tensor, *, quick: bool) -> Iterator[dict[str, Any]]:
    offsets = offsets_of(counts).to(device)
    layout = PackedLayout(offsets)
    real = (torch.arange(int(counts.max())) < counts[:, None]).to(device)
    sizes = counts.tolist()

    def padded(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        rows = (pad_sequence(x.split(sizes), batch_first=True).transpose(1, 2) for x in (q, k, v))
        out = scaled_dot_product_attention(*rows, attn_mask=real[:, None, None, :])
        return out.transpose(1, 2)[real]

    def nested(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        jagged = (torch.nested.nested_tensor_from_jagged(x, offsets).transpose(1, 2) for x in (q, k, v))
        out = scaled_dot_product_attention(*jagged)
        return torch.cat([event.transpose(0, 1) for event in out.unbind()])

    ways: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
        "hepfm": lambda q, k, v: packed_attention(q, k, v, layout),
        "padded": padded,
        "nested": nested,
    }
    shape = (int(counts.sum()), HEADS, WIDTH)
    inputs = [torch.randn(shape, device=device, dtype=torch.bfloat16).requires_grad_() for _ in range(3)]
    weight = torch.randn(shape, device=device, dtype=torch.bfloat16)
    with torch.no_grad():
        for way in ways.values():
            torch.testing.assert_close(way(*inputs), ways["hepfm"](*inputs), rtol=0.05, atol=0.05)

    def step(way: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[], None]:
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
