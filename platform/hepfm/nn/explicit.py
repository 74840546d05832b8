"""Attention of a group of events as matrix products and a softmax, with a backward pass of its own.

Plain operations would keep more than the softmax's output for the backward pass, and pass over the scores
more often. Long events keep nothing of the scores: the backward pass computes them again, a run of queries
at a time, so their memory grows with the length and not with its square.

Legend of shapes: N = events of a group times heads, Q queries, K keys, C head width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

KEPT_SCORES = 800 * 800
"""Largest number of scores of a head and event that is kept for the backward pass."""

RUN_SCORES = 512 * 512
"""Scores of a head and event that are computed at once where they are not kept."""


def explicit_attention(
    q_NQC: Tensor, k_NKC: Tensor, v_NKC: Tensor, lengths_k: tuple[int, ...], *, causal: bool = False
) -> Tensor:
    """``(N, Q, C)``; the keys of an event past its length have no influence.

    Args:
        q_NQC: Queries, heads of one event side by side.
        k_NKC: Keys.
        v_NKC: Values.
        lengths_k: Number of keys of each event of the group.
        causal: Whether query i sees keys 0 to i alone.
    """
    out: Tensor = _Explicit.apply(q_NQC, k_NKC, v_NKC, lengths_k, causal)  # type: ignore[no-untyped-call]
    return out


class _Explicit(Function):
    @staticmethod
    def forward(
        ctx: Any, q_NQC: Tensor, k_NKC: Tensor, v_NKC: Tensor, lengths_k: tuple[int, ...], causal: bool
    ) -> Tensor:
        q_NQC = q_NQC * q_NQC.shape[-1] ** -0.5
        ctx.lengths_k, ctx.causal = lengths_k, causal
        if q_NQC.shape[1] * k_NKC.shape[1] <= KEPT_SCORES:
            p_NQK = _softmax(q_NQC, k_NKC, lengths_k, 0 if causal else None)
            ctx.save_for_backward(q_NQC, k_NKC, v_NKC, p_NQK)
            return torch.bmm(p_NQK, v_NKC)
        ctx.save_for_backward(q_NQC, k_NKC, v_NKC)
        return torch.cat(
            [
                torch.bmm(_softmax(run, k_NKC, lengths_k, first), v_NKC)
                for run, first in _runs(q_NQC, k_NKC, causal=causal)
            ],
            1,
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NQC: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q_NQC, k_NKC, v_NKC, *kept = ctx.saved_tensors
        if kept:
            return *_gradients(kept[0], q_NQC, k_NKC, v_NKC, grad_NQC), None, None
        grads_q = []
        wide = torch.promote_types(k_NKC.dtype, torch.float32)
        grad_k, grad_v = torch.zeros_like(k_NKC, dtype=wide), torch.zeros_like(v_NKC, dtype=wide)
        runs = (_runs(x_NQC, k_NKC, causal=ctx.causal) for x_NQC in (q_NQC, grad_NQC))
        for (q_run, first), (grad_run, _) in zip(*runs, strict=True):
            p_NQK = _softmax(q_run, k_NKC, ctx.lengths_k, first)
            of_q, of_k, of_v = _gradients(p_NQK, q_run, k_NKC, v_NKC, grad_run)
            grads_q.append(of_q)
            grad_k += of_k
            grad_v += of_v
        return torch.cat(grads_q, 1), grad_k.to(k_NKC.dtype), grad_v.to(v_NKC.dtype), None, None


def _runs(rows_NQC: Tensor, k_NKC: Tensor, *, causal: bool) -> list[tuple[Tensor, int | None]]:
    """Runs of queries, each with the number of its first one where keys after a query are out of sight."""
    size = max(1, RUN_SCORES // k_NKC.shape[1])
    runs = torch.split(rows_NQC, size, 1)
    return [(run, i * size if causal else None) for i, run in enumerate(runs)]


def _softmax(q_NQC: Tensor, k_NKC: Tensor, lengths_k: tuple[int, ...], first: int | None) -> Tensor:
    scores_NQK = torch.bmm(q_NQC, k_NKC.transpose(1, 2))
    of_event = scores_NQK.view(len(lengths_k), -1, *scores_NQK.shape[1:])
    for event, length in enumerate(lengths_k):
        of_event[event, :, :, length:] = -torch.inf
    if first is not None:
        key = torch.arange(scores_NQK.shape[2])
        scores_NQK.masked_fill_(key > first + torch.arange(scores_NQK.shape[1])[:, None], -torch.inf)
    # In bfloat16, too, torch takes the exponentials and their sum in float32.
    return scores_NQK.softmax(-1)


def _gradients(
    p_NQK: Tensor, q_NQC: Tensor, k_NKC: Tensor, v_NKC: Tensor, grad_NQC: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    grad_v_NKC = torch.bmm(p_NQK.transpose(1, 2), grad_NQC)
    grad_p_NQK = torch.bmm(grad_NQC, v_NKC.transpose(1, 2))
    # The only name that torch has for it.
    softmax_backward = torch.ops.aten._softmax_backward_data  # noqa: SLF001
    grad_s_NQK = softmax_backward(grad_p_NQK, p_NQK, -1, p_NQK.dtype)
    grad_q_NQC = torch.bmm(grad_s_NQK, k_NKC).mul_(q_NQC.shape[-1] ** -0.5)
    return grad_q_NQC, torch.bmm(grad_s_NQK.transpose(1, 2), q_NQC), grad_v_NKC
