"""Attention over packed events, behind one function; events never see one another.

On a CPU, events of like length are computed together by matrix products and a softmax that are stored for
the backward pass; long ones by torch's fused kernel, which stores no scores. On CUDA, by torch's
variable-length flash attention, or event by event where that cannot be had.

Legend of shapes: B events, T rows, H heads, C head width, N = events of a group times heads, L padded length.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention

from hepfm.nn.layout import PackedLayout, RowMap


def packed_attention(
    q: Tensor, k: Tensor, v: Tensor, offsets_q: Tensor | PackedLayout, offsets_k: Tensor | None = None
) -> Tensor:
    """Softmax attention of each event's queries to its own keys; zero for queries of an event without keys.

    Under autocast the products are computed in its type; the softmax is always in float32.

    Args:
        q: ``(T_q, H, C)`` queries.
        k: ``(T_k, H, C)`` keys.
        v: ``(T_k, H, C)`` values.
        offsets_q: ``(B+1,)`` int64 offsets of queries, or the layout that several calls share.
        offsets_k: ``(B+1,)`` int64 offsets of keys; by default those of the queries.

    Returns:
        ``(T_q, H, C)``.
    """
    layout = offsets_q if isinstance(offsets_q, PackedLayout) else PackedLayout(offsets_q, offsets_k)
    device = q.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
    with torch.autocast(device, enabled=False):
        return _grouped(q, k, v, layout) if device == "cpu" else _event_by_event(q, k, v, layout)


def _grouped(q: Tensor, k: Tensor, v: Tensor, layout: PackedLayout) -> Tensor:
    heads, width = q.shape[1:]
    map_q, map_k = layout.maps(heads)
    q_rows = _move_rows(q.reshape(-1, width), map_q)
    k_rows = _move_rows(k.reshape(-1, width), map_k)
    v_rows = _move_rows(v.reshape(-1, width), map_k)
    sizes_q = [len(g.events) * heads * g.padded[0] for g in layout.groups]
    sizes_k = [len(g.events) * heads * g.padded[1] for g in layout.groups]
    outputs = []
    for group, q_group, k_group, v_group in zip(
        layout.groups,
        torch.split(q_rows, sizes_q),
        torch.split(k_rows, sizes_k),
        torch.split(v_rows, sizes_k),
        strict=True,
    ):
        q_NLC = q_group.view(-1, group.padded[0], width)
        k_NLC, v_NLC = (rows.view(-1, group.padded[1], width) for rows in (k_group, v_group))
        if group.stored:
            o_NLC = _Stored.apply(q_NLC, k_NLC, v_NLC, group.lengths_k)  # type: ignore[no-untyped-call]
        else:
            o_NLC = scaled_dot_product_attention(q_NLC[None], k_NLC[None], v_NLC[None])[0]
        outputs.append(o_NLC.reshape(-1, width))
    # Without groups nothing is computed, yet every input stays connected to the output.
    o_rows = torch.cat(outputs) if outputs else q_rows + k_rows + v_rows
    return _move_rows(o_rows, map_q.inverse()).view(q.shape)


def _event_by_event(q: Tensor, k: Tensor, v: Tensor, layout: PackedLayout) -> Tensor:
    outputs = [q[:0] + k[:0] + v[:0]]
    lengths_q, lengths_k = [n for n, _ in layout.lengths], [n for _, n in layout.lengths]
    events = zip(torch.split(q, lengths_q), torch.split(k, lengths_k), torch.split(v, lengths_k), strict=True)
    for of_event in events:
        q_1HLC, k_1HLC, v_1HLC = (x.transpose(0, 1)[None] for x in of_event)
        o_1HLC = scaled_dot_product_attention(q_1HLC, k_1HLC, v_1HLC) if k_1HLC.numel() else q_1HLC * 0
        outputs.append(o_1HLC[0].transpose(0, 1))
    return torch.cat(outputs)


def _move_rows(x: Tensor, rows: RowMap) -> Tensor:
    moved: Tensor = _MoveRows.apply(x, rows)  # type: ignore[no-untyped-call]
    return moved


class _MoveRows(torch.autograd.Function):
    # The way back is known, so the backward pass also reads rows; torch's own would add them into zeros.

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: RowMap) -> Tensor:
        ctx.rows = rows
        return _moved(x, rows.source, rows.empty)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _moved(grad, ctx.rows.target, ctx.rows.unused), None


def _moved(x: Tensor, source: Tensor, empty: Tensor) -> Tensor:
    if not len(x):
        return x.new_zeros(len(source), *x.shape[1:])
    return x.index_select(0, source).index_fill_(0, empty, 0)


class _Stored(torch.autograd.Function):
    # The softmax's output is all that the backward pass needs of the scores: plain operations would store
    # more, and pass over the scores more often.

    @staticmethod
    def forward(ctx: Any, q_NLC: Tensor, k_NLC: Tensor, v_NLC: Tensor, lengths_k: tuple[int, ...]) -> Tensor:
        q_NLC = q_NLC * q_NLC.shape[-1] ** -0.5
        scores_NLL = torch.bmm(q_NLC, k_NLC.transpose(1, 2))
        of_event = scores_NLL.view(len(lengths_k), -1, *scores_NLL.shape[1:])
        for event, length in enumerate(lengths_k):
            of_event[event, :, :, length:] = -torch.inf
        p_NLL = scores_NLL.softmax(-1)
        ctx.save_for_backward(q_NLC, k_NLC, v_NLC, p_NLL)
        return torch.bmm(p_NLL, v_NLC)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NLC: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q_NLC, k_NLC, v_NLC, p_NLL = ctx.saved_tensors
        grad_v_NLC = torch.bmm(p_NLL.transpose(1, 2), grad_NLC)
        grad_p_NLL = torch.bmm(grad_NLC, v_NLC.transpose(1, 2))
        # The only name that torch has for it.
        softmax_backward = torch.ops.aten._softmax_backward_data  # noqa: SLF001
        grad_s_NLL = softmax_backward(grad_p_NLL, p_NLL, -1, p_NLL.dtype)
        grad_q_NLC = torch.bmm(grad_s_NLL, k_NLC).mul_(q_NLC.shape[-1] ** -0.5)
        grad_k_NLC = torch.bmm(grad_s_NLL.transpose(1, 2), q_NLC)
        return grad_q_NLC, grad_k_NLC, grad_v_NLC, None
