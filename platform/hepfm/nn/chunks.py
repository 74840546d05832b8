"""How packed rows are cut for a scan: chunks of equal length, whatever events they hold, in segments.

Events are not padded. A chunk can hold the end of one event, some whole ones and the start of another; which
row reaches which is a mask, so that nothing passes from one event into the next. Only the last chunk of the
batch is filled up. Planned once, shared by all layers and both directions.

Legend of shapes: B events, T rows, K chunks of a segment, Q rows of a chunk, S = K + 1 slots of a segment.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import pad

from hepfm.nn.ragged import event_index

SEGMENT_ROWS = {"cpu": 1 << 11}
"""Rows of a segment: what is computed of them stays in a CPU's cache, and memory is used again."""

ROWS_ELSEWHERE = 1 << 15
"""Rows of a segment on other devices, which want large products."""


@dataclass(frozen=True)
class Segment:
    """Chunks that are computed together, and the slots before, between and after them, where states stand.

    Attributes:
        start: Its first row.
        stop: After its last row, which can lie before the end of its last chunk.
        chunks: Its chunks, counted over the batch; its slots are these and one more.
        event: ``(K, Q)`` event of each row; a number of its own where the last chunk is filled up.
        reach: ``(K, Q, Q)``, one where row j (last axis) is row i (the axis before) or stands before it in
            the same event, else zero; ``(Q, Q)`` if all chunks hold one event each.
        link: ``(S, S)``, the same for states: one where what leaves the chunk before slot j reaches slot i.
    """

    start: int
    stop: int
    chunks: slice
    event: Tensor
    reach: Tensor
    link: Tensor

    def cut(self, x: Tensor) -> Tensor:
        """``(K, Q, ...)`` the segment's rows of ``x (T, ...)``; zeros after the last, else a view."""
        rows, shape = x[self.start : self.stop], self.event.shape
        if missing := shape.numel() - len(rows):
            rows = pad(rows, (*[0, 0] * (rows.dim() - 1), 0, missing))
        return rows.view(*shape, *rows.shape[1:])

    def rows(self, x_KQ: Tensor) -> Tensor:
        """The rows ``(stop - start, ...)`` of chunks ``(K, Q, ...)``; undoes `cut`."""
        return x_KQ.flatten(0, 1)[: self.stop - self.start]


class ChunkLayout:
    """The chunks of a packed batch.

    Args:
        offsets: ``(B+1,)`` int64, rows of each event.
        chunk: Rows of a chunk, Q.

    Attributes:
        n_chunks: Of the batch.
        segments: In order.
    """

    def __init__(self, offsets: Tensor, chunk: int) -> None:
        self.chunk = chunk
        event = event_index(offsets)
        self.n_chunks = -(-len(event) // chunk)
        filled = pad(event, (0, self.n_chunks * chunk - len(event)), value=len(offsets))
        event_KQ = filled.view(self.n_chunks, chunk)
        # The events on both sides of each slot; none before the first and after the last.
        before, after = pad(event_KQ[:, -1], (1, 0), value=-1), pad(event_KQ[:, 0], (0, 1), value=-2)
        mixed = (before[1:] != after[:-1]).tolist()
        size = max(1, SEGMENT_ROWS.get(offsets.device.type, ROWS_ELSEWHERE) // chunk)
        self.segments = []
        for first in range(0, self.n_chunks, size):
            chunks = slice(first, min(first + size, self.n_chunks))
            is_mixed = any(mixed[chunks])
            slots = slice(first, chunks.stop + 1)
            mine = event_KQ[chunks]
            same = mine[:, :, None] == mine[:, None, :] if is_mixed else mine.new_ones(chunk, chunk)
            segment = Segment(
                start=first * chunk,
                stop=min(chunks.stop * chunk, len(event)),
                chunks=chunks,
                event=mine,
                reach=same.tril().float(),
                link=(after[slots, None] == before[None, slots]).tril().float(),
            )
            self.segments.append(segment)
