"""Row 8: the scan of a state-space model, one sequence of 2^10 to 2^17 rows, 128 channels, on one core.

Two heads of 64 channels, states of 16: mambapy's own. All scans get the same input, steps, rate and matrices
and must give the same output and gradients. mambapy computes Mamba's recurrence, of which this is the case
that all channels of a head share their decay; the listing is the published algorithm written plainly, as
einsums over chunks. S4D computes another function, a convolution both ways, its kernel included; it is
compared with its recurrence.

Legend of shapes: L rows, H heads, P head width, N state's width, K chunks, Q rows of a chunk.
"""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from benchmarks.measure import Line, Spread, in_turn, one_core, ratios, seconds
from hepfm.nn.chunks import ChunkLayout
from hepfm.nn.s4d import FourierLayout, s4d, s4d_kernel
from hepfm.nn.ssd import ssd

HEADS, WIDTH, STATE, CHUNK = 2, 64, 16, 64
AT = 1 << 14
"""Rows at which ways are compared."""
LENGTHS = tuple(1 << k for k in range(10, 18))
PEER_LENGTHS = (1 << 10, 1 << 12, AT)
"""Where mambapy is timed: beyond, it takes several seconds and GB."""

Way = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def ours(x: Tensor, step: Tensor, rate: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """hepfm's scan; its layout is made anew each time, though a model shares it among its layers."""
    layout = ChunkLayout(torch.tensor([0, len(x)]), CHUNK)
    return ssd(x * step[..., None].to(x.dtype), -step * rate, b, c, layout)


def mambapy(x: Tensor, step: Tensor, rate: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """mambapy's parallel scan, each channel with its head's step and rate."""
    from mambapy.mamba import MambaBlock

    channels = HEADS * WIDTH
    each_step = step[..., None].expand(-1, -1, WIDTH).reshape(1, -1, channels)
    each_rate = -rate[:, None].expand(-1, WIDTH).reshape(channels, 1).expand(-1, STATE)
    flat = x.reshape(1, -1, channels)
    y = MambaBlock.selective_scan(None, flat, each_step, each_rate, b[None], c[None], x.new_zeros(channels))
    return y.view(x.shape)


def listing(x: Tensor, step: Tensor, rate: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The algorithm of Mamba-2's paper: einsums within chunks, over chunks, and all chunks with all."""
    v_KQHP = (x * step[..., None]).unflatten(0, (-1, CHUNK))
    b_KQN, c_KQN = b.unflatten(0, (-1, CHUNK)), c.unflatten(0, (-1, CHUNK))
    a_HKQ = (-step * rate).T.unflatten(1, (-1, CHUNK))
    sum_HKQ = a_HKQ.cumsum(-1)
    decay_HKQQ = _between(a_HKQ).exp()
    within = torch.einsum("kin,kjn,hkij,kjhp->kihp", c_KQN, b_KQN, decay_HKQQ, v_KQHP)
    to_end_HKQ = (sum_HKQ[..., -1:] - sum_HKQ).exp()
    written_KHPN = torch.einsum("kjn,hkj,kjhp->khpn", b_KQN, to_end_HKQ, v_KQHP)
    written_KHPN = pad(written_KHPN, (0, 0, 0, 0, 0, 0, 1, 0))
    chunk_decay_HKK = _between(pad(sum_HKQ[..., -1], (1, 0))).exp()
    entering_KHPN = torch.einsum("hkl,lhpn->khpn", chunk_decay_HKK, written_KHPN)[:-1]
    carried = torch.einsum("kin,khpn,hki->kihp", c_KQN, entering_KHPN, sum_HKQ.exp())
    return (within + carried).flatten(0, 1)


def _between(a: Tensor) -> Tensor:
    """``(..., n, n)`` sums of ``a (..., n)`` from after j up to i; minus infinity where j is after i."""
    n = a.shape[-1]
    below = a[..., :, None].expand(*a.shape, n).masked_fill(~torch.ones(n, n).tril(-1).bool(), 0)
    return below.cumsum(-2).masked_fill(~torch.ones(n, n).tril().bool(), -torch.inf)


WAYS: dict[str, tuple[Way, torch.dtype]] = {
    "hepfm": (ours, torch.float32),
    "hepfm, bf16": (ours, torch.bfloat16),
    "SSD as published": (listing, torch.float32),
    "mambapy": (mambapy, torch.float32),
}


def inputs_of(rows: int) -> list[Tensor]:
    """x, step, rate, b, c; steps as Mamba draws them at first, .001 to .1."""
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, HEADS, WIDTH, generator=generator)
    step = 10 ** (-3 + 2 * torch.rand(rows, HEADS, generator=generator))
    b, c = torch.randn(2, rows, STATE, generator=generator)
    return [x, step, torch.tensor([1.0, 16.0]), b, c]


def step_of(way: Way, inputs: list[Tensor], weight: Tensor) -> list[Tensor]:
    """Output and gradients, forward and backward."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    out = way(*leaves)
    out.backward(weight)
    return [out.detach(), *(leaf.grad for leaf in leaves)]


def s4d_step(rows: int) -> Callable[[], list[Tensor]]:
    """S4D on 128 channels, its kernel included."""
    generator = torch.Generator().manual_seed(rows)
    channels, states = HEADS * WIDTH, STATE // 2
    x, weight = torch.randn(2, rows, channels, generator=generator)
    memory = torch.logspace(0, 3, 2 * channels)[:, None]
    step = torch.complex(-0.5 / memory.expand(-1, states), torch.pi * torch.arange(states) / memory)
    read = torch.randn(2 * channels, states, dtype=torch.complex64, generator=generator) / memory

    def way(x: Tensor, step: Tensor, read: Tensor) -> Tensor:
        layout = FourierLayout(torch.tensor([0, len(x)]))
        return s4d(x, *s4d_kernel(step, read, layout.longest).chunk(2), layout)

    if rows == LENGTHS[0]:
        expected = torch.zeros(rows, channels, dtype=torch.float64)
        for half, order in ((0, range(rows)), (1, range(rows)[::-1])):
            decay, mine = (z.chunk(2)[half].to(torch.complex128) for z in (step.exp(), read))
            state = torch.zeros_like(decay)
            for row in order:
                state = decay * state + x[row, :, None]
                expected[row] += 2 * (mine * state).sum(1).real
        torch.testing.assert_close(way(x, step, read).double(), expected, rtol=1e-3, atol=1e-3)
    return partial(step_of, way, [x, step, read], weight)


def run(*, quick: bool) -> list[Line]:
    """Compares all ways with the first, then times them in turn at each length."""
    one_core()
    lengths = LENGTHS[:5:2] if quick else LENGTHS
    calls: dict[str, Callable[[], float]] = {}
    for rows in lengths:
        inputs = inputs_of(rows)
        weight = torch.randn(inputs[0].shape, generator=torch.Generator().manual_seed(1))
        expected = step_of(ours, inputs, weight)
        for name, (way, dtype) in WAYS.items():
            if name == "mambapy" and rows not in PEER_LENGTHS:
                continue
            x, step, rate, b, c = inputs
            mine = [x.to(dtype), step, rate, b.to(dtype), c.to(dtype)]
            call = partial(step_of, way, mine, weight.to(dtype))
            if rows <= AT:
                _assert_close(call(), expected, 1e-3 if dtype == torch.float32 else 0.05)
            calls[f"{name}, {rows}"] = partial(_ms, call)
        calls[f"S4D, {rows}"] = partial(_ms, s4d_step(rows))
    times = in_turn(calls, quick=quick)
    return [*_ratios(times), *_growth(times, lengths), _memory()]


def _ratios(times: dict[str, list[float]]) -> list[Line]:
    best = times[f"hepfm, {AT}"]
    flops = 3 * AT * HEADS * (2 * CHUNK * (STATE + WIDTH) + 4 * STATE * WIDTH)
    limit = 1e3 * flops / _flops_a_second()

    def line(peer: str, target: float | None, note: str) -> Line:
        ratio = ratios(best, times[f"{peer}, {AT}"], higher_is_better=False)
        return Line(
            what="state-space scan, 2^14 rows, 128 channels, forward and backward, one core",
            unit="ms",
            ours=Spread.of(best),
            peer=peer,
            theirs=Spread.of(times[f"{peer}, {AT}"]),
            ratio=ratio,
            target=f">= {target:g} times" if target else "",
            met=ratio.median >= target if target else None,
            limit=f"its matrix products, {limit:.0f} ms",
            note=note,
        )

    return [
        line(
            "mambapy", 15, "float32 on both sides; mambapy keeps the states of all rows, 16 times the input"
        ),
        line("SSD as published", None, "float32 on both sides"),
        line("hepfm, bf16", None, "states are handed on in float32"),
        line("S4D", None, "hepfm's other scan: another function, a convolution both ways"),
    ]


def _growth(times: dict[str, list[float]], lengths: tuple[int, ...]) -> list[Line]:
    def exponents(name: str) -> Spread:
        rounds = zip(*(times[f"{name}, {rows}"] for rows in lengths), strict=True)
        return Spread.of([_slope(lengths, figures) for figures in rounds])

    ours = exponents("hepfm")
    at_ends = " and ".join(
        f"{Spread.of(times[f'hepfm, {rows}']).median:.3g} ms at {rows:,} rows"
        for rows in lengths[:: len(lengths) - 1]
    )
    return [
        Line(
            what=f"exponent of a scan's time, {lengths[0]:,} to {lengths[-1]:,} rows",
            unit="",
            ours=ours,
            peer=peer,
            theirs=exponents(peer),
            target="<= 1.05" if peer == "SSD as published" else "",
            met=ours.median <= 1.05 if peer == "SSD as published" else None,
            limit="1.0",
            note=f"fitted to the logarithms; hepfm's takes {at_ends}",
        )
        for peer in ("SSD as published", "S4D")
    ]


def _memory() -> Line:
    sizes = LENGTHS[-3:]
    grown = [_peak_of_a_process(rows) for rows in sizes]
    exponent = _slope(sizes, grown)
    return Line(
        what=f"exponent of a scan's memory, {sizes[0]:,} to {sizes[-1]:,} rows",
        unit="",
        ours=Spread.exact(exponent),
        target="<= 1.05",
        met=exponent <= 1.05,
        limit="1.0",
        note="what the resident memory of a fresh process rises by at its highest, gradients included, "
        f"measured once: {grown[-1] / sizes[-1]:,.0f} B a row at {sizes[-1]:,}, where the input takes "
        f"{4 * (HEADS * (WIDTH + 1) + 2 * STATE):,}",
    )


def _peak_of_a_process(rows: int) -> int:
    command = [sys.executable, "-m", "benchmarks.row08_state_space", str(rows)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def _slope(x: tuple[int, ...], y: tuple[float, ...] | list[int]) -> float:
    """Exponent of a power law, by least squares in the logarithms."""
    u, v = ([math.log(value) for value in values] for values in (x, y))
    mean_u, mean_v = sum(u) / len(u), sum(v) / len(v)
    steep = sum((a - mean_u) * (b - mean_v) for a, b in zip(u, v, strict=True))
    return steep / sum((a - mean_u) ** 2 for a in u)


def _assert_close(found: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for mine, wanted in zip(found, expected, strict=True):
        difference = float((mine.float() - wanted).norm() / wanted.norm())
        assert difference <= tolerance, f"outputs or gradients differ by {difference:.2g} of their norm"


def _ms(call: Callable[[], object]) -> float:
    return 1e3 * seconds(call)


def _flops_a_second() -> float:
    """Of one large float32 product."""
    a = torch.randn(1024, 1024)
    return 2 * 1024**3 / min(seconds(lambda: a @ a) for _ in range(10))


def main(rows: int) -> None:
    """Prints by how much one step of so many rows raises the process's highest resident memory, in bytes."""
    one_core()

    def step(rows: int) -> None:
        inputs = inputs_of(rows)
        step_of(ours, inputs, torch.ones_like(inputs[0]))

    step(LENGTHS[0])  # what is loaded once
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is what is held now
    before = _highest()
    step(rows)
    print(_highest() - before)


def _highest() -> int:
    """Highest resident memory of this process, in bytes."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    main(int(sys.argv[1]))
