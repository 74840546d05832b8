"""Zero suppression: the regions of a frame where something is.

Legend: K channels, R regions, S samples of all regions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hepfm_lartpc.charge.config import ZeroSuppression
from hepfm_lartpc.charge.wires import Frames
from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Array, Floats, Integers


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Pieces of channels, in the order of channels and time.

    Attributes:
        channel: ``(R,)``.
        start_tick: ``(R,)``.
        samples: ``(R,)`` how many.
        adc: ``(S,)`` int16.
        electrons: ``(S,)`` float32.
        signal_adc: ``(S,)`` float32, where the frames tell it.
    """

    channel: Integers
    start_tick: Integers
    samples: Integers
    adc: Array
    electrons: Array
    signal_adc: Array | None = None


def suppress(frames: Frames, config: ZeroSuppression) -> Regions:
    """Regions around samples that are at least the threshold away from the pedestal, padded and merged."""
    row, start, length = _regions(frames.adc, frames.pedestal_adc, config.threshold_adc, config.pad_ticks)
    picks = np.repeat(row * frames.adc.shape[1] + start - (np.cumsum(length) - length), length)
    picks += np.arange(len(picks))
    return Regions(
        channel=frames.channel[row],
        start_tick=start.astype(np.int32),
        samples=length.astype(np.int32),
        adc=frames.adc.reshape(-1)[picks],
        electrons=np.ascontiguousarray(frames.electrons).reshape(-1)[picks],
        signal_adc=None if frames.signal_adc is None else frames.signal_adc.reshape(-1)[picks],
    )


@compiled
def _regions(adc: Array, pedestal_adc: Floats, threshold_adc: float, pad: int) -> tuple[Array, Array, Array]:
    rows, starts, lengths = [0], [0], [0]
    for k in range(adc.shape[0]):
        ticks, stop = adc.shape[1], -1
        for i in range(ticks):
            if abs(adc[k, i] - pedestal_adc[k]) < threshold_adc:
                continue
            begin = max(0, i - pad)
            if begin > stop:
                rows.append(k)
                starts.append(begin)
                lengths.append(0)
            stop = min(ticks, i + pad + 1)
            lengths[-1] = stop - starts[-1]
    return np.array(rows[1:], np.int64), np.array(starts[1:], np.int64), np.array(lengths[1:], np.int64)
