"""Counter-based random numbers: a draw is a function of what it is for, never of when or where it is made.

Philox-4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11): the key
is a hash of (run seed, epoch, purpose), the counter is (event id, index). The arithmetic is written once
with operators that numpy ``int64`` arrays and torch ``int64`` tensors share, so a draw has the same bits on
either, on a CPU as on a GPU.

Legend: B events, N items.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

_MASK32 = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)

Words = tuple[Any, Any, Any, Any]


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Ten rounds of Philox-4x32.

    Args:
        counter: Four ``int64`` arrays or tensors of one shape, each holding an unsigned 32-bit number.
        key: Two unsigned 32-bit numbers.

    Returns:
        Four arrays like the input, each with 32 random bits.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        # A product of two 32-bit numbers wraps in int64; shift and mask still give its exact halves.
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        high0, high1 = (p0 >> 32) & _MASK32, (p1 >> 32) & _MASK32
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, p1 & _MASK32, high0 ^ c3 ^ k1, p0 & _MASK32
        k0, k1 = (k0 + _WEYL[0]) & _MASK32, (k1 + _WEYL[1]) & _MASK32
    return c0, c1, c2, c3


def key_of(*parts: object) -> tuple[int, int]:
    """A 64-bit key from anything with a stable text form (seeds, epochs, purposes)."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def stable_id(*parts: object) -> int:
    """A 64-bit unsigned event id from what identifies an event (a file's digest and its index, say)."""
    low, high = key_of(*parts)
    return high << 32 | low


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The random numbers of some events in one epoch.

    Attributes:
        seed: The run's seed.
        epoch: The epoch, or a word for what lies outside the epochs (``"validation"``).
        event_ids: ``(B,)`` int64 array or tensor (the bits of the unsigned ids); results live where it lives.
    """

    seed: int
    epoch: int | str
    event_ids: Any

    def bits(self, purpose: str, event: Any, index: Any) -> Words:
        """128 random bits for each pair of an event's row ``(N,)`` and an index within it ``(N,)``."""
        ids = self.event_ids[event]
        counter = (ids & _MASK32, (ids >> 32) & _MASK32, index & _MASK32, index >> 32)
        return philox(counter, key_of(self.seed, self.epoch, purpose))

    def uniform(self, purpose: str, event: Any, index: Any) -> Any:
        """Float64 numbers in [0, 1), 53 bits each, for pairs of event row ``(N,)`` and index ``(N,)``."""
        a, b, _, _ = self.bits(purpose, event, index)
        mantissa = (a >> 5) * (1 << 26) + (b >> 6)
        exact = mantissa.astype(np.float64) if isinstance(mantissa, np.ndarray) else mantissa.double()
        return exact / (1 << 53)

    def per_event(self, purpose: str, count: int) -> Any:
        """``(B, count)`` float64 numbers in [0, 1)."""
        rows = _arange_like(len(self.event_ids), self.event_ids)
        columns = [self.uniform(purpose, rows, rows * 0 + i) for i in range(count)]
        stack = np.stack if isinstance(self.event_ids, np.ndarray) else _torch().stack
        return stack(columns, -1) if columns else rows[:, None][:, :0] / 1.0

    def per_item(self, purpose: str, offsets: Any) -> Any:
        """``(N,)`` float64 numbers in [0, 1), one for each row of a table with these offsets ``(B+1,)``."""
        lengths = offsets[1:] - offsets[:-1]
        rows = _arange_like(len(self.event_ids), self.event_ids)
        event = np.repeat(rows, lengths) if isinstance(rows, np.ndarray) else rows.repeat_interleave(lengths)
        index = _arange_like(len(event), self.event_ids) - offsets[:-1][event]
        return self.uniform(purpose, event, index)


class Permutation:
    """A random order of ``0 .. n-1`` in constant memory: position to element, any slice at any time.

    A Feistel network over the smallest even number of bits that holds ``n``, walked along its cycle until it
    falls below ``n`` (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002).
    """

    def __init__(self, n: int, *parts: object) -> None:
        self.n = n
        self._half = max(1, (max(n - 1, 1).bit_length() + 1) // 2)
        self._keys = [key_of("permutation", round_, *parts) for round_ in range(6)]

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, positions: slice) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Elements at a slice of positions, int64."""
        x = np.arange(*positions.indices(self.n), dtype=np.int64)
        outside = np.arange(len(x))
        while len(outside):
            x[outside] = self._encrypt(x[outside])
            outside = outside[x[outside] >= self.n]
        return x

    def _encrypt(self, x: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.int64]]:
        mask = (1 << self._half) - 1
        left, right = x >> self._half, x & mask
        for key in self._keys:
            zero = np.zeros_like(right)
            left, right = right, left ^ (philox((right, zero, zero, zero), key)[0] & mask)
        return (left << self._half) | right


def _arange_like(n: int, like: Any) -> Any:
    if isinstance(like, np.ndarray):
        return np.arange(n, dtype=np.int64)
    return _torch().arange(n, dtype=like.dtype, device=like.device)


def _torch() -> Any:
    import torch

    return torch
