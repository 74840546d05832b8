"""The convolution of a diagonal state-space model over packed events, by Fourier transforms.

S4D (Gu et al., arXiv:2206.11893): a channel's state follows ``h_t = exp(dt A) h_{t-1} + x_t`` with complex
constants A, and is read as ``y_t = 2 Re(sum_n C_n h_t)``: a convolution with one kernel for all events. Here
it looks both ways, with constants of its own for each. Events are transformed each by itself, those of like
length together, so none reaches another.

Legend of shapes: B events, T rows, D channels, M complex states of a channel (half of the state's width), L
taps, G events of a group.
"""

from __future__ import annotations

from itertools import groupby

import torch
from torch import Tensor

from hepfm.nn.ragged import offsets_of
from hepfm.nn.rows import RowMap, move_rows

STEP = 64
"""Taps of a kernel that are computed as one factor; the other counts its runs."""


def s4d_kernel(log_step: Tensor, read: Tensor, length: int) -> Tensor:
    """``(D, L)`` taps ``2 Re(sum_n C_n exp(l A_n dt))``, for l from 0, as a product of two matrices.

    Args:
        log_step: ``(D, M)`` complex ``A dt``; real parts not above zero.
        read: ``(D, M)`` complex C.
        length: L.
    """
    runs = -(-length // STEP)
    tap = torch.arange(STEP, device=read.device)
    coarse_DRM = (log_step[:, None] * (STEP * torch.arange(runs, device=read.device))[:, None]).exp()
    fine_DMS = (log_step[..., None] * tap).exp()
    # The real part of a product of complex numbers, as a product of twice as many real ones.
    left = torch.view_as_real(2 * read[:, None] * coarse_DRM).flatten(2)
    right = torch.stack((fine_DMS.real, -fine_DMS.imag), 2).flatten(1, 2)
    return (left @ right).flatten(1)[:, :length]


def s4d(x: Tensor, taps_after: Tensor, taps_before: Tensor, layout: FourierLayout) -> Tensor:
    """``(T, D)``: each row's sum over the rows before it and over those after it, itself in both.

    Always computed in float32 (float64 if ``x`` is).

    Args:
        x: ``(T, D)``.
        taps_after: ``(D, L)`` what a row adds to the l-th row after it; L not below `FourierLayout.longest`.
        taps_before: ``(D, L)`` what it adds to the l-th row before it.
        layout: The groups of the events.
    """
    with torch.autocast(x.device.type, enabled=False):
        wide = x.to(taps_after.dtype)
        if layout.rows is None:
            return wide + taps_after[:, :0].sum() + taps_before[:, :0].sum()
        outputs = []
        for group, (n_events, n) in zip(
            torch.split(move_rows(wide, layout.rows), [count * n for count, n in layout.groups]),
            layout.groups,
            strict=True,
        ):
            x_GDL = group.view(n_events, n, -1).transpose(1, 2)
            before = taps_before[:, :n].flip(1)
            taps = torch.cat((taps_after[:, :n], before[:, :1] * 0, before[:, :-1]), 1)
            taps = taps + torch.nn.functional.pad(before[:, -1:], (0, 2 * n - 1))
            spectrum = torch.fft.rfft(x_GDL, 2 * n) * torch.fft.rfft(taps, 2 * n)
            y_GDL = torch.fft.irfft(spectrum, 2 * n)[..., :n]
            outputs.append(y_GDL.transpose(1, 2).reshape(-1, x.shape[1]))
        return move_rows(torch.cat(outputs), layout.rows.inverse())


class FourierLayout:
    """Groups of events for transforms of equal length; planned once, shared by all layers.

    Args:
        offsets: ``(B+1,)`` int64, rows of each event.

    Attributes:
        groups: Number of events and padded length of each group.
        longest: Longest padded length.
    """

    def __init__(self, offsets: Tensor) -> None:
        lengths = offsets.diff().tolist()
        padded = [transform_length(n) for n in lengths]
        order = sorted((event for event, n in enumerate(lengths) if n), key=padded.__getitem__)
        self.groups = [(len(list(same)), n) for n, same in groupby(padded[event] for event in order)]
        self.longest = max(padded, default=0)
        self.rows = _row_map(offsets, [padded[event] for event in order], order) if order else None


def transform_length(n: int) -> int:
    """The next of 9, 10, ..., 16 times a power of two, at least 64: few lengths, and few large factors."""
    if n <= STEP:
        return STEP if n else 0
    power = 1 << ((n - 1).bit_length() - 4)
    return -(-n // power) * power


def _row_map(offsets: Tensor, padded: list[int], order: list[int]) -> RowMap:
    device = offsets.device
    starts = offsets_of(torch.tensor(padded, device=device))
    event = torch.tensor(order, device=device)
    place = torch.arange(int(starts[-1]), device=device)
    slot = torch.searchsorted(starts, place, right=True) - 1
    row = place - starts[slot]
    empty = row >= offsets.diff()[event[slot]]
    source = (offsets[event[slot]] + row).masked_fill(empty, 0)
    target = torch.empty(int(offsets[-1]), dtype=torch.int64, device=device)
    target[source[~empty]] = place[~empty]
    return RowMap(source, empty.nonzero()[:, 0], target, target[:0])
