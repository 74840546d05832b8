"""Row 5: attention over packed events, forward and backward, on one core.

16 events of 74 to 656 tokens, 6 heads of 64. All ways get the same packed rows and must give the same
output and gradients; hepfm's layout is made anew each time, though a model shares it among its layers.

Legend of shapes: B events, T rows, H heads, C head width, L length.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence

from benchmarks.measure import Line, Spread, in_turn, one_core, ratios, seconds
from hepfm.nn.attention import packed_attention
from hepfm.nn.layout import PackedLayout
from hepfm.nn.ragged import offsets_of

HEADS, WIDTH = 6, 64
LENGTHS = torch.linspace(74, 656, 16).round().long()
OFFSETS = offsets_of(LENGTHS)


def loop(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """torch's fused attention, event by event."""
    events = zip(*(x.split(LENGTHS.tolist()) for x in (q, k, v)), strict=True)
    return torch.cat(
        [
            scaled_dot_product_attention(*(x.transpose(0, 1)[None] for x in event))[0].transpose(0, 1)
            for event in events
        ]
    )


def padded(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """torch's fused attention over events padded to the longest, with a mask."""
    real_BL = torch.arange(int(LENGTHS.max())) < LENGTHS[:, None]
    q_BHLC, k_BHLC, v_BHLC = (
        pad_sequence(x.split(LENGTHS.tolist()), batch_first=True).transpose(1, 2) for x in (q, k, v)
    )
    out = scaled_dot_product_attention(q_BHLC, k_BHLC, v_BHLC, attn_mask=real_BL[:, None, None, :])
    return out.transpose(1, 2)[real_BL]


def nested(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """torch's fused attention over jagged nested tensors.

    In float32 they are taken apart event by event at the end: the gradients of ``values()``, the quicker way,
    are wrong then (torch 2.13, CPU), and right in bf16.
    """
    jagged = (torch.nested.nested_tensor_from_jagged(x, OFFSETS).transpose(1, 2) for x in (q, k, v))
    out = scaled_dot_product_attention(*jagged).transpose(1, 2)
    return torch.cat(out.unbind()) if q.dtype == torch.float32 else out.values()


def ours(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Packed attention."""
    return packed_attention(q, k, v, PackedLayout(OFFSETS))


WAYS: dict[str, tuple[Callable[[Tensor, Tensor, Tensor], Tensor], torch.dtype, float | None]] = {
    "SDPA event by event, float32": (loop, torch.float32, 2.5),
    "SDPA event by event, bf16": (loop, torch.bfloat16, None),
    "SDPA padded, with a mask, float32": (padded, torch.float32, 9.0),
    "SDPA padded, with a mask, bf16": (padded, torch.bfloat16, None),
    "SDPA over jagged nested tensors, float32": (nested, torch.float32, None),
    "SDPA over jagged nested tensors, bf16": (nested, torch.bfloat16, None),
    "hepfm, float32": (ours, torch.float32, None),
    "hepfm, bf16": (ours, torch.bfloat16, None),
}
"""Way to its function, type, and how many times faster hepfm in bf16 should be."""


def step(
    way: Callable[[Tensor, Tensor, Tensor], Tensor], inputs: list[Tensor], weight: Tensor
) -> list[Tensor]:
    """Output and gradients, forward and backward."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    out = way(*leaves)
    out.backward(weight)
    return [x.detach() for x in (out, *(leaf.grad for leaf in leaves))]


def run(*, quick: bool) -> list[Line]:
    """Compares all ways with the first, then times them in turn."""
    one_core()
    generator = torch.Generator().manual_seed(0)
    inputs = list(torch.randn(4, int(OFFSETS[-1]), HEADS, WIDTH, generator=generator))
    calls = {}
    for name, (way, dtype, _) in WAYS.items():
        *qkv, weight = (x.to(dtype) for x in inputs)
        calls[name] = partial(step, way, qkv, weight)
        tolerance = 1e-4 if dtype == torch.float32 else 0.05
        for result, expected in zip(calls[name](), step(loop, inputs[:3], inputs[3]), strict=True):
            torch.testing.assert_close(result.float(), expected, rtol=tolerance, atol=tolerance)
    times = in_turn({name: partial(_ms, call) for name, call in calls.items()}, quick=quick)
    best = times["hepfm, bf16"]
    limit = _limit_ms()

    def line(name: str) -> Line:
        ratio, target = ratios(best, times[name], higher_is_better=False), WAYS[name][2]
        return Line(
            what="attention, 16 packed events of 74 to 656 tokens, forward and backward, one core",
            unit="ms",
            ours=Spread.of(best),
            peer=name,
            theirs=Spread.of(times[name]),
            ratio=ratio,
            target=f">= {target:g} times" if target else "",
            met=ratio.median >= target if target else None,
            limit=f"its matrix products in bf16, {limit:.0f} ms",
            note="hepfm computes in bf16 here, as training does where the processor has it"
            if dtype_of(name) == torch.float32
            else "",
        )

    return [line(name) for name in WAYS if name != "hepfm, bf16"]


def dtype_of(name: str) -> torch.dtype:
    """The type that a way computes in."""
    return WAYS[name][1]


def _ms(call: Callable[[], object]) -> float:
    return 1e3 * seconds(call)


def _limit_ms() -> float:
    """Milliseconds of the six products of each event's scores, at the speed of one large bf16 product."""
    a = torch.randn(1024, 1024).bfloat16()
    fastest = min(seconds(lambda: a @ a) for _ in range(10))
    flops = 6 * 2 * HEADS * WIDTH * int((LENGTHS**2).sum())
    return 1e3 * flops * fastest / (2 * 1024**3)
