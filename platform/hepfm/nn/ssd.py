"""The scan of a state-space model over packed events, as batched matrix products on three levels.

A head's state ``h (N, P)`` follows ``h_t = exp(a_t) h_{t-1} + b_t v_t^T`` and is read as ``y_t = c_t h_t``;
it is zero before the first row of an event. This is Mamba-2's recurrence (Dao and Gu, arXiv:2405.21060,
sections 6 and 7): within a chunk it is a masked product of all rows with all rows, between chunks a product
of states with states, between segments a loop that hands on one state. The backward pass is written out: it
keeps the inputs, the output and one state a chunk, and computes the products within chunks again.

Legend of shapes: T rows, H heads, P head width, N width of the state, C = H * P, K chunks of a segment, Q
rows of a chunk, S = K + 1 slots before, between and after chunks (see `hepfm.nn.chunks`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from hepfm.nn.chunks import ChunkLayout, Segment


def ssd(
    v: Tensor, log_decay: Tensor, b: Tensor, c: Tensor, layout: ChunkLayout, *, reverse: bool = False
) -> Tensor:
    """``(T, H, P)``: what each row reads of its event's state, which in reverse comes from the rows after.

    Under autocast the products are computed in its type; decays, their sums and the states that are handed on
    are in float32 always (float64 if ``v`` is).

    Args:
        v: ``(T, H, P)`` what is written.
        log_decay: ``(T, H)`` logarithm of what a row leaves of the state before it; not above zero.
        b: ``(T, N)`` where it is written, for all heads.
        c: ``(T, N)`` where it is read, for all heads.
        layout: The chunks of the events.
        reverse: Whether events are gone through from their last row to their first.
    """
    device = v.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        v, b, c = v.to(dtype), b.to(dtype), c.to(dtype)
    wide = torch.promote_types(v.dtype, torch.float32)
    with torch.autocast(device, enabled=False):
        y: Tensor = _Ssd.apply(v, log_decay.to(wide), b, c, layout, reverse)  # type: ignore[no-untyped-call]
    return y


FAINTEST = -80.0
"""Least logarithm of a decay within a chunk: below are numbers that processors are slow with."""


@dataclass(frozen=True)
class _Decays:
    """What decay leaves over.

    Attributes:
        rows: ``(K, H, Q, Q)`` at row i (the axis before the last) of what row j wrote, where j reaches i.
        read: ``(K, Q, H)`` at a row of the state that enters its chunk.
        write: ``(K, Q, H)`` in the state that leaves the chunk of what a row wrote.
        slots: ``(H, S, S)`` at slot i of the state at slot j.
    """

    rows: Tensor
    read: Tensor
    write: Tensor
    slots: Tensor


def _reaches(segment: Segment, *, reverse: bool) -> Tensor:
    return segment.reach.mT if reverse else segment.reach


def _decays(segment: Segment, log_decay: Tensor, *, reverse: bool) -> _Decays:
    first, last = (-1, 0) if reverse else (0, -1)
    event_KQ, reach_KQQ = segment.event, _reaches(segment, reverse=reverse)
    # Sums are taken in double precision: their differences count, however large they have grown.
    a_KHQ = segment.cut(log_decay).transpose(1, 2).double()
    sum_KHQ = a_KHQ @ reach_KQQ.double().mT
    one_event = event_KQ[:, :1] == event_KQ[:, -1:]
    total_SH = torch.zeros_like(sum_KHQ[:1, :, 0])
    total_SH = torch.cat((total_SH, (sum_KHQ[..., last] * one_event).cumsum(0)))
    between_HSS = (total_SH.T[:, :, None] - total_SH.T[:, None, :]).clamp_(max=0).exp_().mul_(segment.link)
    # In single precision, sums are kept as whole numbers, whose differences are exact, and what is left.
    whole_KHQ = sum_KHQ.round()
    rest_KHQ = (sum_KHQ - whole_KHQ).to(log_decay.dtype)
    whole_KHQ = whole_KHQ.to(log_decay.dtype)
    rows_KHQQ = whole_KHQ[..., :, None] - whole_KHQ[..., None, :]
    rows_KHQQ.add_(rest_KHQ[..., :, None]).sub_(rest_KHQ[..., None, :]).clamp_(FAINTEST, 0).exp_()
    entered = event_KQ == event_KQ[:, first, None]
    return _Decays(
        rows=rows_KHQQ,
        read=(sum_KHQ.exp() * entered[:, None]).transpose(1, 2).to(log_decay.dtype),
        write=(rows_KHQQ[:, :, last] * reach_KQQ[..., None, last, :]).transpose(1, 2),
        slots=(between_HSS.mT if reverse else between_HSS).to(log_decay.dtype),
    )


class _Ssd(Function):
    @staticmethod
    def forward(
        ctx: Any, v: Tensor, log_decay: Tensor, b: Tensor, c: Tensor, layout: ChunkLayout, reverse: bool
    ) -> Tensor:
        n_heads, width = v.shape[1:]
        y = v.new_empty(v.shape)
        state_SNC = log_decay.new_zeros(layout.n_chunks + 1, b.shape[1], n_heads * width)
        for segment in layout.segments[:: -1 if reverse else 1]:
            v_KQHP, b_KQN, c_KQN = (segment.cut(x) for x in (v, b, c))
            decays = _decays(segment, log_decay, reverse=reverse)
            slots = _Slots(segment, reverse=reverse)
            # Between chunks: what each one writes, handed on to all that follow.
            written = v_KQHP * decays.write[..., None].to(v.dtype)
            source = torch.empty_like(state_SNC[slots.all])
            source[slots.left] = torch.bmm(b_KQN.mT, written.flatten(2))
            source[slots.carried] = state_SNC[slots.all][slots.carried]
            state_SNC[slots.all] = _hand_on(decays.slots, source)
            entering_KNC = state_SNC[slots.all][slots.entered].to(v.dtype)
            y_KQHP = torch.bmm(c_KQN, entering_KNC).view(v_KQHP.shape) * decays.read[..., None]
            # Within chunks.
            scores_KHQQ = decays.rows.to(v.dtype) * _products(c_KQN, b_KQN, segment, reverse=reverse)[:, None]
            y_KQHP += (scores_KHQQ @ v_KQHP.transpose(1, 2)).transpose(1, 2)
            y[segment.start : segment.stop] = segment.rows(y_KQHP)
        ctx.save_for_backward(v, log_decay, b, c, y, state_SNC)
        ctx.layout, ctx.reverse = layout, reverse
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None, None]:
        v, log_decay, b, c, y, state_SNC = ctx.saved_tensors
        reverse = ctx.reverse
        d_v, d_a, d_b, d_c = (x.new_empty(x.shape) for x in (v, log_decay, b, c))
        carried_NC = torch.zeros_like(state_SNC[0])
        for segment in ctx.layout.segments[:: 1 if reverse else -1]:
            v_KQHP, b_KQN, c_KQN, y_KQHP, dy_KQHP = (segment.cut(x) for x in (v, b, c, y, grad))
            decays = _decays(segment, log_decay, reverse=reverse)
            slots = _Slots(segment, reverse=reverse)
            states = state_SNC[slots.all]
            read_KQHP = dy_KQHP * decays.read[..., None].to(v.dtype)
            # Between chunks, backwards: what each state is read for, handed back to all that wrote to it.
            d_target = torch.empty_like(states)
            d_target[slots.entered] = torch.bmm(c_KQN.mT, read_KQHP.flatten(2))
            d_target[slots.handed] = carried_NC
            d_source = _hand_on(decays.slots.mT, d_target)
            carried_NC = d_source[slots.carried]
            d_left_KNC = d_source[slots.left]
            write = decays.write[..., None].to(v.dtype)
            written = (v_KQHP * write).flatten(2)
            dc_KQN = torch.bmm(read_KQHP.flatten(2), states[slots.entered].to(v.dtype).mT)
            db_KQN = torch.bmm(written, d_left_KNC.to(v.dtype).mT)
            dv_KQHP = torch.bmm(b_KQN, d_left_KNC.to(v.dtype)).view(v_KQHP.shape) * write
            # Within chunks.
            rows_KHQQ = decays.rows.to(v.dtype)
            scores_KHQQ = rows_KHQQ * _products(c_KQN, b_KQN, segment, reverse=reverse)[:, None]
            v_KHQP, dy_KHQP = (x.transpose(1, 2).contiguous() for x in (v_KQHP, dy_KQHP))
            dv_KQHP += (scores_KHQQ.mT @ dy_KHQP).transpose(1, 2)
            d_scores_KHQQ = dy_KHQP @ v_KHQP.mT
            reach_KQQ = _reaches(segment, reverse=reverse)
            d_product_KQQ = d_scores_KHQQ.mul_(rows_KHQQ).sum(1).mul_(reach_KQQ)
            dc_KQN.baddbmm_(d_product_KQQ, b_KQN)
            db_KQN.baddbmm_(d_product_KQQ.mT, c_KQN)
            # A decay lies on all ways from a row before it to itself or a row after it. Of the ways that end
            # in the chunk from here on, those that begin here or later are taken away again; then those that
            # leave the chunk are added. Differences stay within a chunk, and so do their rounding errors.
            ends_less_begins = _dot(dy_KQHP, y_KQHP) - _dot(v_KQHP, dv_KQHP)
            left_KH = (states[slots.left] * d_left_KNC).view(len(v_KQHP), -1, *v.shape[1:]).sum((1, 3))
            last = 0 if reverse else -1
            leaves_KQ = segment.event == segment.event[:, last, None]
            da_KQH = reach_KQQ.double().mT @ ends_less_begins.double()
            da_KQH += left_KH[:, None] * leaves_KQ[..., None]
            for whole, part in ((d_v, dv_KQHP), (d_a, da_KQH), (d_b, db_KQN), (d_c, dc_KQN)):
                whole[segment.start : segment.stop] = segment.rows(part)
        return d_v, d_a, d_b, d_c, None, None


def _products(c_KQN: Tensor, b_KQN: Tensor, segment: Segment, *, reverse: bool) -> Tensor:
    # Masked here, once for all heads; where a row does not reach another their decay means nothing.
    return torch.bmm(c_KQN, b_KQN.mT).mul_(_reaches(segment, reverse=reverse))


class _Slots:
    """Which of a segment's slots hold what: chunk k stands between slot k and slot k + 1."""

    def __init__(self, segment: Segment, *, reverse: bool) -> None:
        here, beyond, first, last = slice(0, -1), slice(1, None), 0, -1
        self.all = slice(segment.chunks.start, segment.chunks.stop + 1)
        self.entered = beyond if reverse else here
        self.left = here if reverse else beyond
        self.carried = last if reverse else first
        self.handed = first if reverse else last


def _hand_on(slots_HSS: Tensor, x_SNC: Tensor) -> Tensor:
    n_heads, n_slots, _ = slots_HSS.shape
    by_head_SNHP = x_SNC.view(*x_SNC.shape[:2], n_heads, -1)
    x_HSW = by_head_SNHP.permute(2, 0, 1, 3).reshape(n_heads, n_slots, -1)
    out_HSNP = torch.bmm(slots_HSS, x_HSW).view(n_heads, n_slots, x_SNC.shape[1], -1)
    return out_HSNP.permute(1, 2, 0, 3).flatten(2)


def _dot(x: Tensor, y: Tensor) -> Tensor:
    wide = torch.promote_types(x.dtype, torch.float32)
    return (x.to(wide) * y.to(wide)).sum(-1)
