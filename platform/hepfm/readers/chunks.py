"""Decompressed chunks that were used last, so that events read at random do not undo one chunk many times."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np


class ChunkCache:
    """The chunks used last, up to a number of bytes; at least one.

    Args:
        max_bytes: What is kept.
    """

    def __init__(self, max_bytes: int = 1 << 24) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._chunks: OrderedDict[Hashable, np.ndarray[Any, Any]] = OrderedDict()

    def get(self, key: Hashable, read: Callable[[], np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        """The chunk of this key; read where it is not kept."""
        if key in self._chunks:
            self._chunks.move_to_end(key)
            return self._chunks[key]
        chunk = self._chunks[key] = read()
        self._bytes += chunk.nbytes
        while self._bytes > self._max_bytes and len(self._chunks) > 1:
            self._bytes -= self._chunks.popitem(last=False)[1].nbytes
        return chunk

    def __reduce__(self) -> tuple[Any, ...]:
        return ChunkCache, (self._max_bytes,)
