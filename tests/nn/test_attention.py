"""Packed attention against a float64 loop over events written out with exponentials."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hepfm.nn.attention import _event_by_event, packed_attention
from hepfm.nn.layout import PackedLayout
from hepfm.nn.ragged import offsets_of

PAIRS = st.lists(st.tuples(st.integers(0, 70), st.integers(0, 40)), max_size=7)


def brute_force(q: Tensor, k: Tensor, v: Tensor, offsets_q: Tensor, offsets_k: Tensor) -> Tensor:
    """Each head of each query by itself, in float64."""
    out = torch.zeros_like(q, dtype=torch.float64)
    q, k, v = q.double(), k.double(), v.double()
    for event in range(len(offsets_q) - 1):
        a, b = offsets_k[event], offsets_k[event + 1]
        for row in range(offsets_q[event], offsets_q[event + 1]):
            if b > a:
                weight = torch.exp((k[a:b] * q[row]).sum(-1) / q.shape[-1] ** 0.5)
                out[row] = (weight[..., None] * v[a:b]).sum(0) / weight.sum(0)[:, None]
    return out


def ragged_qkv(
    lengths: list[tuple[int, int]], heads: int = 2, width: int = 4, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(len(lengths))
    pairs = torch.tensor(lengths, dtype=torch.int64).reshape(-1, 2)
    offsets_q, offsets_k = offsets_of(pairs[:, 0]), offsets_of(pairs[:, 1])
    q, k, v = (
        torch.randn(int(offsets[-1]), heads, width, generator=generator, dtype=torch.float64).to(dtype)
        for offsets in (offsets_q, offsets_k, offsets_k)
    )
    return q, k, v, offsets_q, offsets_k


@settings(deadline=None, max_examples=25)
@given(PAIRS)
def test_cross_attention_equals_brute_force(lengths: list[tuple[int, int]]) -> None:
    arguments = ragged_qkv(lengths)
    torch.testing.assert_close(packed_attention(*arguments), brute_force(*arguments), rtol=1e-10, atol=1e-12)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 70), max_size=7))
def test_self_attention_equals_brute_force(lengths: list[int]) -> None:
    q, k, v, offsets, _ = ragged_qkv([(n, n) for n in lengths])
    expected = brute_force(q, k, v, offsets, offsets)
    torch.testing.assert_close(packed_attention(q, k, v, offsets), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("run_scores", [1, 100, 10_000])
def test_long_events_keep_no_scores_and_agree(monkeypatch: pytest.MonkeyPatch, run_scores: int) -> None:
    monkeypatch.setattr("hepfm.nn.explicit.KEPT_SCORES", 1000)
    monkeypatch.setattr("hepfm.nn.explicit.RUN_SCORES", run_scores)
    q, k, v, *offsets = ragged_qkv([(25, 30), (0, 50), (10, 12), (3, 200), (25, 30), (40, 0)])
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: (kept.append(x), x)[1], lambda x: x):
        inputs = [x.requires_grad_() for x in (q, k, v)]
        out = packed_attention(*inputs, *offsets)
    assert (
        max(x.numel() for x in kept if x.is_floating_point() and x.dim() == 3 and x.shape[-1] > 4) <= 2 * 1000
    )
    expected = brute_force(q, k, v, *offsets)
    torch.testing.assert_close(out, expected)
    weight = torch.linspace(-1, 1, q.numel(), dtype=torch.float64).view_as(q)
    torch.testing.assert_close(
        torch.autograd.grad((out * weight).sum(), inputs),
        torch.autograd.grad((expected * weight).sum(), inputs),
    )


@pytest.mark.parametrize("lengths", [[], [(0, 0)], [(0, 3)], [(3, 0)], [(3, 2), (0, 0), (2, 5), (4, 1)]])
def test_gradients_equal_finite_differences(lengths: list[tuple[int, int]]) -> None:
    q, k, v, *offsets = ragged_qkv(lengths)
    inputs = [x.requires_grad_() for x in (q, k, v)]
    assert torch.autograd.gradcheck(lambda *x: packed_attention(*x, *offsets), inputs)


def test_gradients_of_a_mixed_batch_equal_those_of_brute_force() -> None:
    q, k, v, *offsets = ragged_qkv([(17, 33), (16, 16), (0, 4), (15, 16), (20, 1)], heads=3)
    inputs = [x.requires_grad_() for x in (q, k, v)]
    weight = torch.linspace(-1, 1, q.numel(), dtype=torch.float64).view_as(q)
    ours = torch.autograd.grad((packed_attention(q, k, v, *offsets) * weight).sum(), inputs)
    expected = torch.autograd.grad((brute_force(q, k, v, *offsets) * weight).sum(), inputs)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_event_does_not_depend_on_its_batch_mates(dtype: torch.dtype) -> None:
    lengths = [(n, n) for n in (5, 70, 66, 0, 200, 7, 199, 900)]
    q, k, v, offsets, _ = ragged_qkv(lengths, heads=2, width=32, dtype=dtype)
    together = packed_attention(q, k, v, offsets)
    for event, (n, _) in enumerate(lengths):
        rows = slice(int(offsets[event]), int(offsets[event + 1]))
        alone = packed_attention(q[rows], k[rows], v[rows], torch.tensor([0, n]))
        torch.testing.assert_close(alone, together[rows], rtol=0, atol=1e-5)


def test_a_value_that_is_not_finite_stays_in_its_event() -> None:
    q, k, v, offsets, _ = ragged_qkv([(5, 5), (9, 9), (12, 12)], dtype=torch.float32)
    k[0], v[3] = torch.nan, torch.inf
    out = packed_attention(q, k, v, offsets)
    assert not out[:5].isfinite().all()
    assert out[5:].isfinite().all()


def test_autocast_computes_in_bfloat16_close_to_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v, *offsets = ragged_qkv(
        [(70, 70), (30, 900), (12, 900), (999, 999)], width=32, dtype=torch.float32
    )
    seen = []
    bmm = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda a, b: (seen.append(a.dtype), bmm(a, b))[1])
    expected = packed_attention(q, k, v, *offsets)
    seen.clear()
    with torch.autocast("cpu", torch.bfloat16):
        out = packed_attention(q.requires_grad_(), k, v, *offsets)
    out.float().square().sum().backward()
    assert seen
    assert set(seen) == {torch.bfloat16}
    assert out.dtype == torch.bfloat16
    assert q.grad is not None
    torch.testing.assert_close(out.float(), expected, rtol=0, atol=0.03)


def test_one_layout_serves_several_numbers_of_heads() -> None:
    for heads in (1, 3, 1):
        q, k, v, *offsets = ragged_qkv([(4, 6), (0, 2), (18, 3)], heads=heads)
        layout = PackedLayout(*offsets)
        for _ in range(2):
            torch.testing.assert_close(packed_attention(q, k, v, layout), brute_force(q, k, v, *offsets))


def causal_loop(q: Tensor, k: Tensor, v: Tensor, offsets: Tensor) -> Tensor:
    """Each query as an event of its own, with the keys up to it, by `brute_force`."""
    out = torch.zeros_like(q, dtype=torch.float64)
    for event in range(len(offsets) - 1):
        a = int(offsets[event])
        for row in range(a, int(offsets[event + 1])):
            seen = torch.tensor([0, row + 1 - a])
            one = brute_force(q[row : row + 1], k[a : row + 1], v[a : row + 1], torch.tensor([0, 1]), seen)
            out[row] = one[0]
    return out


@pytest.mark.parametrize(("kept", "run"), [(800 * 800, 512 * 512), (0, 100)])
@settings(deadline=None, max_examples=10)
@given(lengths=st.lists(st.integers(0, 40), max_size=5))
def test_causal_attention_sees_what_came_before(kept: int, run: int, lengths: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hepfm.nn.explicit.KEPT_SCORES", kept)
        patch.setattr("hepfm.nn.explicit.RUN_SCORES", run)
        q, k, v, offsets, _ = ragged_qkv([(n, n) for n in lengths])
        inputs = [x.requires_grad_() for x in (q, k, v)]
        out = packed_attention(*inputs, PackedLayout(offsets, causal=True))
        expected = causal_loop(*inputs, offsets)
        torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-12)
        weight = torch.linspace(-1, 1, q.numel(), dtype=torch.float64).view_as(q)
        if q.numel():
            torch.testing.assert_close(
                torch.autograd.grad((out * weight).sum(), inputs),
                torch.autograd.grad((expected * weight).sum(), inputs),
            )


def test_causal_attention_event_by_event_is_the_same() -> None:
    q, k, v, offsets, _ = ragged_qkv([(n, n) for n in (5, 0, 33, 1)])
    layout = PackedLayout(offsets, causal=True)
    torch.testing.assert_close(_event_by_event(q, k, v, layout), packed_attention(q, k, v, layout))
