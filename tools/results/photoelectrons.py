# ruff: noqa: INP001
"""Photoelectrons of LEGEND's SiPMs, read from frozen features and compared with the hit tier.

The hit tier of the ten triggers has few pulses, too few to learn from. So the readout learns from pulses of
known height that are added to quiet windows of the commissioning run, and is then asked about real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from results.legend import PHYSICS, WINDOW, quiet_of, read, store, windows_of
from results.probe import regress
from results.pulses import BEFORE, average_pulse, matched, noise_of
from results.statistics import interval
from results.trained import Trained

Array = np.ndarray[Any, Any]
MADE = 1500
"""Windows with added pulses from which the readout learns."""
HEIGHTS = (5.0, 14.0)
"""Of a photoelectron, in units of the noise: drawn for each window, since gains differ."""
CLEAR = 0.5
"""From so many photoelectrons on a window has light; the hit tier's smaller pulses drown in noise."""


def made(quiet: Array, pulse: Array, seed: int) -> tuple[Array, Array]:
    """Quiet windows ``(MADE, WINDOW)`` with 0 to 5 pulses, and the sums of their heights over the noise."""
    rng = np.random.default_rng(seed)
    windows = quiet[rng.integers(len(quiet), size=MADE)].copy()
    noise, total = noise_of(windows)[:, 0], np.zeros(MADE)
    for k, window in enumerate(windows):
        for height in rng.uniform(*HEIGHTS) * rng.normal(1.0, 0.1, rng.integers(6)):
            tick = rng.integers(BEFORE, WINDOW - 100)
            stop = min(WINDOW, tick - BEFORE + len(pulse))
            window[tick - BEFORE : stop] += height * noise[k] * pulse[: stop - tick + BEFORE]
            total[k] += height * noise[k]
    return windows, total / noise_of(windows)[:, 0]


def labelled(data: Path) -> tuple[Array, Array, Array]:
    """Windows ``(N, WINDOW)`` of the physics run, the hit tier's photoelectrons in each, and its trigger."""
    hit = data / PHYSICS.replace("tier_raw", "tier_hit")
    adc, batch = read(data, PHYSICS, hit=str(hit))
    rows, channels, samples = adc.shape
    windows = windows_of(adc.reshape(-1, samples))
    counts = np.zeros((rows, channels, windows.shape[1]))
    pulses = batch.labels["light"]["pulses"]
    row = np.repeat(np.arange(rows), pulses.lengths)
    window = (pulses.columns["tick"] // WINDOW).astype(int)
    there = window < windows.shape[1]
    at = tuple(index[there] for index in (row, pulses.columns["trace"], window))
    np.add.at(counts, at, pulses.columns["photoelectrons"][there])
    trigger = np.repeat(np.arange(rows), channels * windows.shape[1])
    return windows.reshape(-1, WINDOW), counts.ravel(), trigger


def counted(
    trained: Trained, windows: Array, data: Path, out: Path
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Photoelectrons of the physics run's windows, by each way, and how far they are from the hit tier.

    Each way has one factor, from heights to photoelectrons, which the windows with light set.

    Args:
        trained: The model.
        windows: ``(rows, channels, K, WINDOW)`` of training triggers.
        data: Folder of real data.
        out: Folder for stores.
    """
    flat = windows.reshape(-1, WINDOW)
    pulse = average_pulse(flat / noise_of(flat))
    learn, heights = made(np.concatenate(quiet_of(windows)), pulse, seed=3)
    asked, counts, trigger = labelled(data)
    noise = noise_of(asked)[:, 0]
    stores = store(out / "made.h5", learn), store(out / "asked.h5", asked)

    def read_out(*, learned: bool) -> Array:
        features = [trained.pooled(path, learned=learned) for path in stores]
        return regress(features[0], heights, features[1])

    ways: dict[str, Callable[[], Array]] = {
        "matched filter": lambda: np.array([matched(trace, pulse)[1] for trace in asked / noise[:, None]]),
        "readout of the frozen representation": lambda: read_out(learned=True),
        "the same, untrained": lambda: read_out(learned=False),
    }
    clear = counts >= CLEAR
    found, guesses = {}, {}
    for name, way in ways.items():
        height = way() * noise
        factor = float(height[clear] @ counts[clear] / (height[clear] @ height[clear]))
        guess = guesses[name] = factor * height
        dark = np.abs(guess - counts)[~clear]
        found[name] = {
            "correlation": interval(trigger, lambda at, g=guess: np.corrcoef(g[at], counts[at])[0, 1]),
            "off_without_light": interval(trigger[~clear], lambda at, off=dark: off[at].mean()),
            "with_light": [round(float(value), 2) for value in guess[clear]],
        }
    figures = {"hit_tier": counts[clear].round(2).tolist(), "windows": len(counts), "ways": found}
    return figures, {"hit tier": counts} | guesses
