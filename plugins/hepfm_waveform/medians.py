"""Medians of runs of different lengths.

Legend: N samples, K traces.
"""

from __future__ import annotations

import torch

from hepfm.nn.ragged import event_index


@torch.no_grad()
def segment_median(values: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """``(K,)`` float32: the median of each run's finite values; NaN where there are none.

    Of an even number of values the lower of the two in the middle, as ``torch.median`` has it: a value that
    is there, for counts a whole one.

    Args:
        values: ``(N,)`` float32.
        offsets: ``(K+1,)`` int64.
    """
    lengths = offsets.diff()
    if len(lengths) and len(values) and bool((lengths == lengths[0]).all()):
        # Dense frames: a tenth of the time of the sort below.
        rows = values.view(len(lengths), -1)
        return rows.where(rows.isfinite(), torch.nan).nanmedian(1).values
    finite = values.isfinite()
    ordered, order = values.where(finite, torch.inf).sort(stable=True)
    ordered = ordered[event_index(offsets)[order].sort(stable=True).indices]
    known = torch.nn.functional.pad(finite.long().cumsum(0), (1, 0))
    count = known[offsets[1:]] - known[offsets[:-1]]
    middle = offsets[:-1] + (count - 1).clamp_min(0) // 2
    median = torch.cat((ordered, ordered.new_full((1,), torch.nan)))[middle.clamp_max(len(ordered))]
    return median.where(count > 0, torch.nan)
