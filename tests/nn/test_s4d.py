"""The convolution against its recurrence, row by row in float64; nothing passes between events."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hepfm.nn.ragged import offsets_of
from hepfm.nn.s4d import STEP, FourierLayout, s4d, s4d_kernel, transform_length

LENGTHS = st.lists(st.one_of(st.integers(0, 4), st.integers(0, 150)), max_size=5)


def inputs_of(lengths: list[int], d: int = 3, m: int = 2) -> tuple[Tensor, list[Tensor], Tensor]:
    """x; steps and reads of both ways; offsets. All in float64."""
    generator = torch.Generator().manual_seed(sum(lengths) + len(lengths))

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    step = torch.complex(-normal(2 * d, m).square() / 10, normal(2 * d, m))
    read = torch.complex(normal(2 * d, m), normal(2 * d, m))
    offsets = offsets_of(torch.tensor(lengths, dtype=torch.int64))
    return normal(sum(lengths), d), [step, read], offsets


def sequential(x: Tensor, step: Tensor, read: Tensor, offsets: Tensor, *, reverse: bool) -> Tensor:
    """The recurrence, row by row."""
    out = {}
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        state_DM = torch.zeros_like(step)
        for row in range(start, stop)[:: -1 if reverse else 1]:
            state_DM = step.exp() * state_DM + x[row][:, None]
            out[row] = 2 * (read * state_DM).sum(1).real
    return torch.stack([out[row] for row in range(len(x))]) if out else x + (step + read).real.sum() * 0


def both_ways(x: Tensor, step: Tensor, read: Tensor, offsets: Tensor) -> Tensor:
    halves = zip(step.chunk(2), read.chunk(2), (False, True), strict=True)
    return sum(sequential(x, s, r, offsets, reverse=reverse) for s, r, reverse in halves)


def ours(x: Tensor, step: Tensor, read: Tensor, offsets: Tensor) -> Tensor:
    layout = FourierLayout(offsets)
    return s4d(x, *s4d_kernel(step, read, layout.longest).chunk(2), layout)


@settings(deadline=None, max_examples=30)
@given(LENGTHS, st.integers(1, 4), st.integers(1, 3))
def test_output_and_gradients_equal_the_recurrence(lengths, d, m) -> None:
    x, constants, offsets = inputs_of(lengths, d, m)
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    results = []
    for scan in (ours, both_ways):
        leaves = [leaf.clone().requires_grad_() for leaf in (x, *constants)]
        out = scan(*leaves, offsets)
        out.backward(weight)
        results.append([out.detach(), *(leaf.grad for leaf in leaves)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("length", [0, 1, STEP, STEP + 1, 1000])
def test_taps_are_sums_of_exponentials(length) -> None:
    _, (step, read), _ = inputs_of([])
    taps = s4d_kernel(step, read, length)
    expected = [2 * (read * (tap * step).exp()).sum(1).real for tap in range(length)]
    assert taps.shape == (6, length)
    if length:
        torch.testing.assert_close(taps, torch.stack(expected, 1), rtol=1e-10, atol=1e-10)


def test_an_event_alone_is_the_event_among_others_and_gets_no_gradient_from_them() -> None:
    lengths = [70, 0, 1, 33, 200, 5, 71]
    x, constants, offsets = inputs_of(lengths, d=8)
    x, constants = x.float().requires_grad_(), [c.to(torch.complex64) for c in constants]
    together = ours(x, *constants, offsets)
    for event, length in enumerate(lengths):
        rows = slice(int(offsets[event]), int(offsets[event + 1]))
        alone = ours(x[rows].detach(), *constants, torch.tensor([0, length]))
        torch.testing.assert_close(alone, together[rows].detach(), rtol=1e-5, atol=1e-5)
        (gradient,) = torch.autograd.grad(together[rows].square().sum(), x, retain_graph=True)
        mine = torch.zeros(len(x), dtype=torch.bool)
        mine[rows] = True
        assert bool((gradient[~mine] == 0).all())
        assert bool((gradient[mine] != 0).all())


@given(st.integers(1, 1 << 20))
def test_transforms_are_little_longer_than_events_and_of_few_lengths(n) -> None:
    length = transform_length(n)
    assert n <= length < max(n * 9 / 8, STEP + 1)
    odd = length // (length & -length)
    assert odd <= 16
