"""Random numbers for compiled code: a stream for each (seed, purpose, event), counted through.

The same Philox-4x32-10 as `hepfm.random`: the key is a hash of seed and purpose, the counter is (event,
draw). An event's numbers thus depend on nothing else, on any machine and in any order of events.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hepfm.random import key_of
from hepfm_lartpc.compiled import compiled

Stream = NDArray[np.uint64]
"""Key, event, next draw, whether a word is left over, and that word."""

_MASK = np.uint64(0xFFFFFFFF)
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_32, _11, _1 = np.uint64(32), np.uint64(11), np.uint64(1)
_STEP = 2.0**-53


def stream(seed: int, purpose: str, event: int) -> Stream:
    """The numbers of one event for one purpose, from the first on."""
    low, high = key_of(seed, purpose)
    return np.array([high << 32 | low, event, 0, 0, 0], np.uint64)


@compiled
def bits(s: Stream) -> np.uint64:
    """64 random bits; two calls share the 128 of one Philox block."""
    if s[3]:
        s[3] = 0
        return np.uint64(s[4])
    k0, k1 = s[0] & _MASK, s[0] >> _32
    c0, c1, c2, c3 = s[1] & _MASK, s[1] >> _32, s[2] & _MASK, s[2] >> _32
    for _ in range(10):
        p0, p1 = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = (p1 >> _32) ^ c1 ^ k0, p1 & _MASK, (p0 >> _32) ^ c3 ^ k1, p0 & _MASK
        k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
    s[2] += _1
    s[3] = 1
    s[4] = c2 << _32 | c3
    return np.uint64(c0 << _32 | c1)


@compiled
def uniform(s: Stream) -> float:
    """In the open interval (0, 1)."""
    return (float(bits(s) >> _11) + 0.5) * _STEP


@compiled
def exponential(s: Stream) -> float:
    """Of mean 1."""
    return -math.log(uniform(s))


@compiled
def normal(s: Stream) -> float:
    """Of mean 0 and width 1 (Box and Muller; one number of the pair, so that a draw needs no memory)."""
    return math.sqrt(-2.0 * math.log(uniform(s))) * math.cos(2.0 * math.pi * uniform(s))


@compiled
def normal_pair(s: Stream) -> tuple[float, float]:
    """Both numbers of the pair, independent of each other, for as much work as one."""
    radius, angle = math.sqrt(-2.0 * math.log(uniform(s))), 2.0 * math.pi * uniform(s)
    return radius * math.cos(angle), radius * math.sin(angle)


@compiled
def poisson(s: Stream, mean: float) -> int:
    """Poisson: by inversion below 30, by transformed rejection above (Hormann 1993, PTRS)."""
    if mean <= 0.0:
        return 0
    if mean < 30.0:
        probability, rest, count = math.exp(-mean), uniform(s), 0
        while rest > probability > 0.0:
            rest -= probability
            count += 1
            probability *= mean / count
        return count
    root = math.sqrt(mean)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2.0)
    while True:
        u, v = uniform(s) - 0.5, uniform(s)
        us = 0.5 - abs(u)
        k = math.floor((2.0 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= v_r:
            return int(k)
        if k < 0 or (us < 0.013 and v > us):
            continue
        accept = math.log(v) + math.log(inverse_alpha) - math.log(a / (us * us) + b)
        if accept <= k * math.log(mean) - mean - math.lgamma(k + 1.0):
            return int(k)


@compiled
def isotropic(s: Stream) -> tuple[float, float, float]:
    """A unit vector, evenly over the sphere."""
    z = 2.0 * uniform(s) - 1.0
    phi, rho = 2.0 * math.pi * uniform(s), math.sqrt(1.0 - z * z)
    return rho * math.cos(phi), rho * math.sin(phi), z
