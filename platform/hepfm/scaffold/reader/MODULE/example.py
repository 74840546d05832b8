"""Writes a file of NAME with straight tracks: ``python -m MODULE.example run1.h5``."""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np


def write(path: Path, n_events: int = 100, *, seed: int = 1) -> None:
    """Events of one track each; the first of them has none."""
    rng = np.random.default_rng(seed)
    n_hits = rng.integers(30, 120, n_events)
    n_hits[0] = 0
    start, direction = rng.uniform(-200, 200, (n_events, 3)), rng.normal(size=(n_events, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    event = np.repeat(np.arange(n_events), n_hits)
    step = np.arange(len(event)) - np.repeat(np.cumsum(n_hits) - n_hits, n_hits)
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "NAME"
        file["n_hits"] = n_hits.astype("i8")
        file["xyz_mm"] = (start[event] + 2.0 * step[:, None] * direction[event]).astype("f4")
        file["energy_mev"] = rng.gamma(5.0, 0.1, len(event)).astype("f4")


if __name__ == "__main__":
    for number, name in enumerate(sys.argv[1:]):
        write(Path(name), seed=number)
