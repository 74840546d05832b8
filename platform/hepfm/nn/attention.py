"""Attention over packed events, behind one function; events never see one another.

On a CPU, events of like length are computed together, by matrix products and a softmax in the type of the
input: bfloat16 is several times faster so than in torch's fused kernel. On CUDA, by torch's variable-length
flash attention, or event by event where that cannot be had. Where a graph is exported, by one masked product.

Legend of shapes: B events, T rows, H heads, C head width, N = events of a group times heads, L padded length.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention

from hepfm.nn.explicit import explicit_attention
from hepfm.nn.layout import PackedLayout
from hepfm.nn.rows import move_rows


def packed_attention(
    q: Tensor, k: Tensor, v: Tensor, offsets_q: Tensor | PackedLayout, offsets_k: Tensor | None = None
) -> Tensor:
    """Softmax attention of each event's queries to its own keys; zero for queries of an event without keys.

    Of a causal layout, to the keys up to the query's own number in the event.

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
    if torch.compiler.is_exporting():
        return _masked(q, k, v, layout)
    device = q.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
    if not any(n_q and n_k for n_q, n_k in layout.lengths):
        # There is nothing to compute, yet the output stays connected to every input.
        return torch.zeros_like(q) + q[:0].sum() + k[:0].sum() + v[:0].sum()
    with torch.autocast(device, enabled=False):
        if device == "cpu":
            return _grouped(q, k, v, layout)
        if q.is_cuda and q.dtype in {torch.bfloat16, torch.float16} and q.shape[-1] % 8 == 0:
            return _flash(q, k, v, layout)
        return _event_by_event(q, k, v, layout)


def _masked(q: Tensor, k: Tensor, v: Tensor, layout: PackedLayout) -> Tensor:
    """All rows at once, those of other events masked: one graph, of whatever numbers of events and rows."""

    def event(offsets: Tensor, like: Tensor) -> Tensor:
        begun = offsets.new_zeros(like.shape[0] + 1).scatter_add(0, offsets, torch.ones_like(offsets))
        return begun.cumsum(0)[:-1]

    event_q, event_k = event(layout.offsets_q, q), event(layout.offsets_k, k)
    seen_QK = event_q[:, None] == event_k
    if layout.causal:
        seen_QK = seen_QK & (torch.arange(k.shape[0]) <= torch.arange(q.shape[0])[:, None])
    q_HQC, k_HKC, v_HKC = (x.transpose(0, 1) for x in (q, k, v))
    out_HQC = scaled_dot_product_attention(q_HQC[None], k_HKC[None], v_HKC[None], attn_mask=seen_QK)[0]
    return out_HQC.transpose(0, 1).masked_fill(~seen_QK.any(1)[:, None, None], 0.0)


def _grouped(q: Tensor, k: Tensor, v: Tensor, layout: PackedLayout) -> Tensor:
    heads, width = q.shape[1:]
    map_q, map_k = layout.maps(heads)
    sizes_q = [len(g.events) * heads * g.padded[0] for g in layout.groups]
    sizes_k = [len(g.events) * heads * g.padded[1] for g in layout.groups]
    outputs = []
    for group, q_rows, k_rows, v_rows in zip(
        layout.groups,
        torch.split(move_rows(q.reshape(-1, width), map_q), sizes_q),
        torch.split(move_rows(k.reshape(-1, width), map_k), sizes_k),
        torch.split(move_rows(v.reshape(-1, width), map_k), sizes_k),
        strict=True,
    ):
        q_NLC = q_rows.view(-1, group.padded[0], width)
        k_NLC, v_NLC = (rows.view(-1, group.padded[1], width) for rows in (k_rows, v_rows))
        mixed = explicit_attention(q_NLC, k_NLC, v_NLC, group.lengths_k, causal=layout.causal)
        outputs.append(mixed.view(-1, width))
    return move_rows(torch.cat(outputs), map_q.inverse()).view(q.shape)


def _flash(q: Tensor, k: Tensor, v: Tensor, layout: PackedLayout) -> Tensor:
    longest_q, longest_k = (max(lengths) for lengths in zip(*layout.lengths, strict=True))
    window = (-1, 0) if layout.causal else (-1, -1)
    out = varlen_attn(q, k, v, *layout.cumulative, longest_q, longest_k, window_size=window)
    assert isinstance(out, Tensor)
    return out


def _event_by_event(q: Tensor, k: Tensor, v: Tensor, layout: PackedLayout) -> Tensor:
    outputs = []
    lengths_q, lengths_k = [n for n, _ in layout.lengths], [n for _, n in layout.lengths]
    events = zip(torch.split(q, lengths_q), torch.split(k, lengths_k), torch.split(v, lengths_k), strict=True)
    for of_event in events:
        q_1HLC, k_1HLC, v_1HLC = (x.transpose(0, 1)[None] for x in of_event)
        o_1HLC = q_1HLC * 0
        if k_1HLC.numel():
            o_1HLC = scaled_dot_product_attention(q_1HLC, k_1HLC, v_1HLC, is_causal=layout.causal)
        outputs.append(o_1HLC[0].transpose(0, 1))
    return torch.cat(outputs)
