# ruff: noqa: INP001
"""LEGEND's argon light on SiPMs: noise taken away, and photoelectrons counted, from a frozen representation.

Trained on 8 of the 10 triggers of a commissioning run of 2021; two are held out. Photoelectrons are counted
in another run, of 2023, whose hit tier says how many there are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from results.probe import regress
from results.pulses import average_pulse, matched, noise_of
from results.statistics import ratio_interval
from results.trained import Trained, pretrain
from results.windows import Frame, write

from hepfm.readers.sniff import open_reader
from hepfm_waveform.schema import waveform_schema

Array = np.ndarray[Any, Any]
WINDOW = 1024
"""Samples of an event, of one channel."""
HELD_OUT = 8
"""Triggers from this one on are held out."""
ADDED = 2.0
"""Noise that is added, over that which is there: of quiet windows of the same channel."""
TAPS = 33
"""Samples on each side that the linear filter sees."""
COMMISSIONING = "legend_lar_light/L200-comm-20211130-phy-spms.lh5"
PHYSICS = "legend_lar_light/l200-p03-r001-phy-20230322T160139Z-tier_raw.lh5"
SCHEMA = waveform_schema(sample_ns=16.0, dtype="float32")


def windows_of(traces: Array) -> Array:
    """``(N, K, WINDOW)`` of traces ``(N, T)``, each trace around its median."""
    n = traces.shape[1] // WINDOW
    above = traces - np.median(traces, 1, keepdims=True)
    cut: Array = above[:, : n * WINDOW].reshape(len(traces), n, WINDOW)
    return cut


def read(data: Path, file: str, **options: str) -> tuple[Array, Any]:
    """``(rows, channels, samples)`` of light, and the batch with its labels."""
    reader = open_reader(data / file, "legend", options)
    batch = reader.read(range(len(reader)))
    tables = batch.parts["light"]
    shape = (len(batch), int(tables["traces"].lengths[0]), -1)
    return tables["samples"].columns["adc"].reshape(shape), batch


def store(path: Path, windows: Array) -> Path:
    """A store of windows ``(N, WINDOW)``, an event each."""
    samples = (
        Frame(
            name=f"{path.name} {k}", adc=adc[None].astype(np.float32), channel=np.zeros(1, int), columns={}
        ).sample("light")
        for k, adc in enumerate(windows)
    )
    return write(path, samples, "light", SCHEMA, source="LEGEND test data", window=WINDOW)


@torch.no_grad()
def of_samples(trained: Trained, path: Path, *, learned: bool = True) -> Array:
    """``(N * WINDOW, F)`` frozen features of each sample of a store's events."""
    encoder = (trained.module if learned else trained.untrained).encoder
    return np.concatenate(
        [
            encoder.features(trained.units(batch), needs=("points",), part="light").points.x.float().numpy()
            for batch in trained.events(path)
        ]
    )


def quiet_of(windows: Array) -> list[Array]:
    """For each channel its windows ``(., WINDOW)`` in which nothing rises above five times the noise.

    Args:
        windows: ``(rows, channels, K, WINDOW)``.
    """
    found = []
    for channel in windows.swapaxes(0, 1):
        flat = channel.reshape(-1, WINDOW)
        found.append(flat[(np.abs(flat) < 5 * noise_of(flat)).all(1)])
    return found


def with_noise(windows: Array, quiet: list[Array], seed: int) -> Array:
    """Windows ``(rows, channels, K, WINDOW)`` with `ADDED` times the noise of a quiet one of the channel."""
    rng, noisy = np.random.default_rng(seed), windows.copy()
    for row, channel, k in np.ndindex(windows.shape[:3]):
        noise = quiet[channel][rng.integers(len(quiet[channel]))]
        noisy[row, channel, k] += ADDED * np.roll(noise, rng.integers(WINDOW))
    return noisy


def around(windows: Array) -> Array:
    """``(N * WINDOW, 2 * TAPS + 1)``: each sample of ``(N, WINDOW)`` with those before and after it."""
    padded = np.pad(windows, ((0, 0), (TAPS, TAPS)))
    view = np.lib.stride_tricks.sliding_window_view(padded, 2 * TAPS + 1, axis=1)
    return view.reshape(-1, 2 * TAPS + 1)


def denoised(
    trained: Trained, windows: dict[str, Array], out: Path
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Squared error of each way over that of the noise that was added, and the traces.

    Readouts and filters are fitted to training triggers; heights are in units of the noisy trace's noise.
    """
    quiet = quiet_of(windows["train"])
    clean = {split: of.reshape(-1, WINDOW) for split, of in windows.items()}
    noisy = {
        split: with_noise(of, quiet, seed).reshape(-1, WINDOW)
        for seed, (split, of) in enumerate(windows.items())
    }
    noise = {split: noise_of(of) for split, of in noisy.items()}
    stores = {split: store(out / f"noisy_{split}.h5", of) for split, of in noisy.items()}
    wanted = (clean["train"] / noise["train"]).reshape(-1)

    standard = {split: noisy[split] / noise[split] for split in noisy}

    def read_out(of_train: Array, of_held: Array) -> Array:
        return regress(of_train, wanted, of_held).reshape(-1, WINDOW) * noise["held_out"]

    def features(split: str, *, learned: bool) -> Array:
        own = standard[split].reshape(-1, 1)
        return np.concatenate((of_samples(trained, stores[split], learned=learned), own, np.arcsinh(own)), 1)

    learned, untrained = (
        read_out(features("train", learned=which), features("held_out", learned=which))
        for which in (True, False)
    )
    pulse = average_pulse(clean["train"] / noise_of(clean["train"]))
    ways = {
        "the noisy trace": noisy["held_out"],
        "matched filter": np.stack([matched(trace, pulse)[0] for trace in standard["held_out"]])
        * noise["held_out"],
        "best linear filter": read_out(around(standard["train"]), around(standard["held_out"])),
        "readout of the frozen representation": learned,
        "the same, untrained": untrained,
    }
    truth, own = clean["held_out"], noise_of(clean["held_out"])
    trace = np.repeat(np.arange(len(truth)), WINDOW)
    added = np.square(noisy["held_out"] - truth).reshape(-1)
    high = (truth > 5 * own).reshape(-1)
    found: dict[str, Any] = {}
    for name, guess in ways.items():
        squared = np.square(guess - truth).reshape(-1)
        found[name] = {
            "all samples": ratio_interval(trace, squared, added),
            "samples of pulses": ratio_interval(trace[high], squared[high], added[high]),
        }
    floor = float((own**2).sum() * WINDOW / added.sum())
    figures = {"error": found, "own_noise": round(floor, 4), "samples_of_pulses": int(high.sum())}
    shown = int(np.argmax(truth.max(1) / own[:, 0]))
    return figures, {"truth": truth[shown]} | {name: guess[shown] for name, guess in ways.items()}


def main(data: Path, out: Path, overrides: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Trains and reads out. Gives figures, and what the picture shows."""
    from results.photoelectrons import counted

    adc, _ = read(data, COMMISSIONING)
    rows, channels, samples = adc.shape
    windows = windows_of(adc.reshape(-1, samples)).reshape(rows, channels, -1, WINDOW)
    split = {"train": windows[:HELD_OUT], "held_out": windows[HELD_OUT:]}
    stores = {name: store(out / f"{name}.h5", of.reshape(-1, WINDOW)) for name, of in split.items()}
    trained = pretrain("waveform/legend-light", stores["train"], stores["held_out"], out, overrides)
    noise, traces = denoised(trained, split, out)
    light, counts = counted(trained, split["train"], data, out)
    figures = {**trained.figures, "denoising": noise, "photoelectrons": light}
    return figures, {"traces": traces, "error": noise["error"], "counts": counts}
