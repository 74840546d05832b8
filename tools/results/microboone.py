# ruff: noqa: INP001
"""MicroBooNE's raw ADC: do four conditions of noise lie apart in a representation that never heard of them?

An event is 1,024 ticks of one channel. Channels are trained on or held out with all that they have, and the
model is told neither their numbers nor the size of the noise: each trace is divided by its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from results.probe import classify
from results.statistics import interval
from results.trained import pretrain
from results.windows import Frame, write

from hepfm_waveform.schema import waveform_schema

Array = np.ndarray[Any, Any]
CONDITIONS = ("chirping", "noisy", "misconfig", "rcrc")
WINDOW = 1024
TRAIN, HELD_OUT = range(22), range(24, 32)
"""Channels. Neighbours share noise, so two in between are left out."""
SHOWN = 26
"""Channel in the picture."""
SCHEMA = waveform_schema(sample_ns=500.0, dtype="int16")


@dataclass(frozen=True)
class Events:
    """Windows of channels.

    Attributes:
        adc: ``(N, WINDOW)``.
        condition: ``(N,)`` index into `CONDITIONS`.
        channel: ``(N,)`` row of the file, of its condition.
    """

    adc: Array
    condition: Array
    channel: Array


def prepare(data: Path, out: Path) -> dict[str, Events]:
    """Writes the stores ``train.h5`` and ``held_out.h5``; gives what is in them."""
    events = {}
    with np.load(data / "microboone_adc" / "microboone_run3493_raw32.npz") as frames:
        for split, channels in (("train", TRAIN), ("held_out", HELD_OUT)):
            place, adc = [], []
            for condition, name in enumerate(CONDITIONS):
                frame = frames[name]
                for channel in channels:
                    for first in range(0, frame.shape[1] - WINDOW + 1, WINDOW):
                        place.append((condition, channel, first))
                        adc.append(frame[channel, first : first + WINDOW])
            samples = (
                Frame(name=f"run 3493 {at}", adc=samples[None], channel=np.zeros(1, int), columns={}).sample(
                    "charge"
                )
                for at, samples in zip(place, adc, strict=True)
            )
            write(out / f"{split}.h5", samples, "charge", SCHEMA, source="MicroBooNE run 3493", ticks=WINDOW)
            condition, channel, _ = np.array(place).T
            events[split] = Events(np.array(adc), condition, channel)
    return events


def size(adc: Array) -> Array:
    """``(N, 1)`` logarithm of the spread of the samples."""
    found: Array = np.log(adc.std(1, keepdims=True) + 0.1)
    return found


def spectrum(adc: Array, bands: int = 32) -> Array:
    """``(N, bands)`` logarithms of the power in bands of frequency, of traces divided by their noise."""
    standard = (adc - adc.mean(1, keepdims=True)) / (adc.std(1, keepdims=True) + 0.1)
    power = np.abs(np.fft.rfft(standard, axis=1))[:, 1:] ** 2
    found: Array = np.log(power.reshape(len(adc), bands, -1).mean(2) + 1e-3)
    return found


def main(data: Path, out: Path, overrides: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Trains and probes. Gives figures, and what the picture shows."""
    events = prepare(data, out)
    train, held = events["train"], events["held_out"]
    trained = pretrain("waveform/microboone-noise", out / "train.h5", out / "held_out.h5", out, overrides)
    stores = [out / f"{split}.h5" for split in events]
    frozen, untrained = (
        [trained.pooled(store, learned=which) for store in stores] for which in (True, False)
    )
    adc = [of.adc.astype(float) for of in events.values()]
    features = {
        "frozen representation": frozen,
        "the same, untrained": untrained,
        "power in 32 bands": [spectrum(a) for a in adc],
        "size of the noise alone": [size(a) for a in adc],
    }
    right = {
        name: classify(of_train, train.condition, of_held) == held.condition
        for name, (of_train, of_held) in features.items()
    }
    channel = held.condition * 100 + held.channel
    accuracy = {name: interval(channel, lambda at, hit=hit: hit[at].mean()) for name, hit in right.items()}
    found = classify(frozen[0], train.condition, frozen[1])
    confusion = np.zeros((4, 4), int)
    np.add.at(confusion, (held.condition, found), 1)
    figures = {**trained.figures, "accuracy": accuracy, "confusion": confusion.tolist(), "chance": 0.25}
    centre = frozen[0].mean(0)
    axes = np.linalg.svd((frozen[0] - centre) / frozen[0].std(0), full_matrices=False)[2][:2]
    return figures, {
        "map": ((frozen[1] - centre) / frozen[0].std(0)) @ axes.T,
        "condition": held.condition,
        "accuracy": accuracy,
        "traces": {
            name: adc[1][np.flatnonzero((held.condition == k) & (held.channel == SHOWN))[0]]
            for k, name in enumerate(CONDITIONS)
        },
    }
