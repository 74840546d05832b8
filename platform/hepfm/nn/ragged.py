"""Operations on packed rows of variable-length events; no row of padding anywhere.

Everything works with zero rows, zero events and events of length zero, on any device, and is differentiable.

Legend of shapes: B events (or segments), N rows, T tokens, P position axes, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from hepfm.api import Ragged, Tokens


def offsets_of(lengths: Tensor) -> Tensor:
    """``(B+1,)`` int64 offsets of events with these lengths ``(B,)``."""
    return pad(lengths.long().cumsum(0), (1, 0))


def event_index(offsets: Tensor) -> Tensor:
    """``(N,)`` int64: the event that each row belongs to, for offsets ``(B+1,)``."""
    lengths = offsets[1:] - offsets[:-1]
    return torch.arange(len(lengths), device=offsets.device).repeat_interleave(lengths)


def segment_sum(values: Tensor, offsets: Tensor) -> Tensor:
    """Sum of each event's rows: ``(N, ...)`` to ``(B, ...)``; zero for an event without rows.

    Half-precision values are added in float32, and the result has their type.
    """
    total: Tensor = _SegmentSum.apply(values, offsets)  # type: ignore[no-untyped-call]
    return total


def segment_mean(values: Tensor, offsets: Tensor) -> Tensor:
    """Mean of each event's rows: ``(N, ...)`` to ``(B, ...)``; zero for an event without rows."""
    count = (offsets[1:] - offsets[:-1]).clamp(min=1).to(values.dtype)
    return segment_sum(values, offsets) / count.view(-1, *[1] * (values.dim() - 1))


def segment_max(values: Tensor, offsets: Tensor) -> Tensor:
    """Largest of each event's rows: ``(N, ...)`` to ``(B, ...)``; zero for an event without rows.

    Rows that tie share the gradient.
    """
    largest: Tensor = _SegmentMax.apply(values, offsets)  # type: ignore[no-untyped-call]
    return largest


def pack_parts(parts: Sequence[tuple[Tensor, Tensor, Tensor | None, Tensor]]) -> Tokens:
    """Tokens of several parts as one packed sequence: events in order, and in each one the parts in order.

    Args:
        parts: For each part ``x (T_part, D)``, ``positions (T_part, P)`` and their reach (for all parts, or
            for none), see `hepfm.nn.frame`, and ``offsets (B+1,)``.
    """
    x = torch.cat([x for x, _, _, _ in parts])
    positions = torch.cat([positions for _, positions, _, _ in parts])
    reaches = [reach for _, _, reach, _ in parts if reach is not None]
    reach = torch.cat(reaches) if reaches else None
    event = torch.cat([event_index(offsets) for *_, offsets in parts])
    sizes = torch.tensor([len(x) for x, *_ in parts], device=x.device)
    part = torch.arange(len(parts), device=x.device).repeat_interleave(sizes)
    offsets = torch.stack([offsets for *_, offsets in parts]).sum(0)
    if len(parts) > 1:
        order = torch.argsort(event, stable=True)
        x, positions, part = x.index_select(0, order), positions[order], part[order]
        reach = None if reach is None else reach[order]
    return Tokens(x=x, positions=positions, offsets=offsets, part=part, reach=reach)


def unpack(tokens: Tokens, n_parts: int) -> list[Ragged]:
    """The tokens ``(T_part, D)`` of each part, with the part's own offsets; undoes `pack_parts`."""
    if n_parts == 1:
        return [Ragged(tokens.x, tokens.offsets)]
    parts = (only_part(tokens, index) for index in range(n_parts))
    return [Ragged(part.x, part.offsets) for part in parts]


def only_part(tokens: Tokens, index: int) -> Tokens:
    """The tokens of one part, with their own offsets."""
    mine = tokens.part == index
    return Tokens(
        x=tokens.x[mine],
        positions=tokens.positions[mine],
        offsets=offsets_of(segment_sum(mine.long(), tokens.offsets)),
        part=tokens.part[mine],
        reach=None if tokens.reach is None else tokens.reach[mine],
    )


def pool(values: Tensor, offsets: Tensor) -> Tensor:
    """``(B, 3 D)`` of ``(N, D)``: mean, spread and largest of each event's rows; zeros where it has none."""
    mean = segment_mean(values, offsets)
    variance = segment_mean((values - mean[event_index(offsets)]).square(), offsets)
    # Without the small number the gradient of a single row's spread would be infinite.
    spread = (variance + 1e-6).sqrt().masked_fill((offsets.diff() == 0)[:, None], 0.0)
    return torch.cat((mean, spread, segment_max(values, offsets)), 1)


def _sum(values: Tensor, event: Tensor, offsets: Tensor) -> Tensor:
    wide = values.float() if values.dtype in {torch.bfloat16, torch.float16} else values
    if values.is_cuda and values.is_floating_point():
        # index_add on CUDA adds in an order that changes from run to run.
        total = torch.segment_reduce(wide, "sum", offsets=offsets, axis=0, initial=0.0)
    else:
        total = wide.new_zeros((len(offsets) - 1, *values.shape[1:])).index_add_(0, event, wide)
    return total.to(values.dtype)


class _SegmentSum(torch.autograd.Function):
    # index_add forward and index_select backward: torch's segment_reduce takes three times as long on a CPU.

    @staticmethod
    def forward(ctx: Any, values: Tensor, offsets: Tensor) -> Tensor:
        event = event_index(offsets)
        ctx.save_for_backward(event)
        return _sum(values, event, offsets)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (event,) = ctx.saved_tensors
        return grad.index_select(0, event), None


class _SegmentMax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, offsets: Tensor) -> Tensor:
        event = event_index(offsets)
        largest = values.new_zeros((len(offsets) - 1, *values.shape[1:]))
        rows = event.view(-1, *[1] * (values.dim() - 1)).expand_as(values)
        largest.scatter_reduce_(0, rows, values, "amax", include_self=False)
        ctx.save_for_backward(values, largest, event, offsets)
        return largest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        values, largest, event, offsets = ctx.saved_tensors
        hit = (values == largest.index_select(0, event)).to(grad.dtype)
        share = grad / _sum(hit, event, offsets).clamp_(min=1)
        return hit.mul_(share.index_select(0, event)), None
