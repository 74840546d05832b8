"""Scoreboard row 5: attention over packed events, forward and backward, on one CPU thread.

``python -m benchmarks.attention`` runs the ways in turn, in one process, and prints medians and ratios; one
number as argument sets the number of rounds (at least 7).

Legend of shapes: B events, T rows, H heads, C head width, L length.
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence

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


def ours(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Packed attention; the layout is made anew, though a model shares it among its layers."""
    return packed_attention(q, k, v, PackedLayout(OFFSETS))


WAYS: dict[str, tuple[Callable[[Tensor, Tensor, Tensor], Tensor], torch.dtype]] = {
    "SDPA per event, fp32": (loop, torch.float32),
    "SDPA per event, bf16": (loop, torch.bfloat16),
    "SDPA padded with mask, fp32": (padded, torch.float32),
    "hepfm, fp32": (ours, torch.float32),
    "hepfm, bf16": (ours, torch.bfloat16),
}


def step(
    way: Callable[[Tensor, Tensor, Tensor], Tensor], inputs: list[Tensor], weight: Tensor
) -> tuple[float, list[Tensor]]:
    """Processor seconds of forward and backward, and the output with the gradients in float32.

    Processor time of the one thread that computes: others may share the machine.
    """
    leaves = [x.clone().requires_grad_() for x in inputs]
    start = time.thread_time()
    out = way(*leaves)
    out.backward(weight)
    seconds = time.thread_time() - start
    return seconds, [x.detach().float() for x in (out, *(leaf.grad for leaf in leaves))]


def machine() -> str:
    """The processor's name, as Linux has it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    return f"{name}, one thread, torch {torch.__version__}, Python {platform.python_version()}"


def main(rounds: int = 9) -> None:
    """Times all ways in turn, asserts that they agree, and prints the table."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    q, k, v, weight = torch.randn(4, int(OFFSETS[-1]), HEADS, WIDTH, generator=generator)
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    reference: list[Tensor] = []
    for round_ in range(max(7, rounds) + 1):
        for name, (way, dtype) in WAYS.items():
            time_, results = step(way, [x.to(dtype) for x in (q, k, v)], weight.to(dtype))
            reference = reference or results
            for result, expected in zip(results, reference, strict=True):
                tolerance = 1e-4 if dtype == torch.float32 else 0.05
                torch.testing.assert_close(result, expected, rtol=tolerance, atol=tolerance)
            if round_:  # the first round warms up
                seconds[name].append(time_)
    print(machine())
    print("16 events of 74 to 656 tokens, 6 heads of 64, forward + backward, processor time")
    print(f"{'':30}{'median ms':>10}{'min ms':>9}{'ratio':>8}{'quartiles':>14}")
    for name, times in seconds.items():
        ratios = [a / b for a, b in zip(times, seconds["hepfm, bf16"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(
            f"{name:30}{1e3 * statistics.median(times):10.1f}{1e3 * min(times):9.1f}{middle:8.2f}"
            f"{low:8.2f}-{high:.2f}"
        )
    print(
        "ratio: time of the way over hepfm's in bf16, of the same round; median and quartiles over the rounds"
    )


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:2]))
