# ruff: noqa: INP001
"""ProtoDUNE-HD and -VD: what lies on hidden channels, beside interpolation and beside learning nothing.

A frame of each detector is cut into windows of time. The first are trained on, both detectors together; the
last are held out, with a window between them that neither sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from results.crossing import crossed, equations, meetings
from results.hidden import Hidden, hidden_of
from results.interpolation import applied, between_channels, fitted, profile
from results.statistics import ratio_interval
from results.trained import Trained, pretrain
from results.windows import Frame, write

from hepfm.readers.sniff import open_reader
from hepfm_waveform.schema import waveform_schema

Array = np.ndarray[Any, Any]
WINDOW = 512
"""Ticks of an event."""
ZERO_PAD = 16
"""Ticks that are kept on each side of charge."""
DETECTORS = {
    "HD": ("protodunehd-sp-frames-anode1.tar.bz2", {"U": (2560, 3359), "V": (3360, 4159), "W": (4160, 5119)}),
    "VD": ("protodunevd-sp-frames-anode0.tar.bz2", {"U": (0, 475), "V": (952, 1427), "W": (1904, 2487)}),
}
HELD_OUT = 8
"""The windows from this one on are held out; the one before is left out."""
SCHEMA = waveform_schema(
    sample_ns=500.0,
    dtype="float32",
    known=("plane", "pedestal_adc"),
    unit="electrons",
    planes=("U", "V", "W"),
)


def frame_of(data: Path, detector: str) -> Frame:
    """The detector's frame, without its bad channels."""
    file, planes = DETECTORS[detector]
    reader = open_reader(data / "protodune_frames" / file, "wirecell", {"planes": planes})
    tables = reader.read([0]).parts["charge"]
    traces = tables["traces"].columns
    adc = tables["samples"].columns["adc"].reshape(len(traces["channel"]), -1)
    columns = {name: traces[name] for name in ("plane", "pedestal_adc")}
    return Frame(name=f"ProtoDUNE-{detector}", adc=adc, channel=traces["channel"], columns=columns)


def prepare(data: Path, out: Path) -> dict[str, list[Frame]]:
    """Writes the stores ``train.h5`` and ``held_out.h5``; gives the windows that are in them."""
    windows: dict[str, list[Frame]] = {"train": [], "held_out": []}
    for detector in DETECTORS:
        frame = frame_of(data, detector)
        for k in range(frame.adc.shape[1] // WINDOW):
            if k != HELD_OUT - 1:
                split = "train" if k < HELD_OUT else "held_out"
                windows[split].append(frame.cut(k * WINDOW, (k + 1) * WINDOW))
    for split, frames in windows.items():
        samples = (frame.sample("charge", zero_pad=ZERO_PAD) for frame in frames)
        write(out / f"{split}.h5", samples, "charge", SCHEMA, source="WireCell's sample frames", ticks=WINDOW)
    return windows


@dataclass(frozen=True)
class Guesses:
    """Hidden samples, and what is expected of them without learning.

    Attributes:
        hidden: The samples.
        without: ``(N,)``: interpolated between channels; of hidden planes from where the wires of the others
            cross, or, where the data does not tell where they do, the other planes' mean height at the tick.
        apart: ``(N,)`` channels between the seen ones on both sides.
        kind: ``(N,)`` which plane of which detector: a rule's fit is for each.
    """

    hidden: Hidden
    without: Array
    apart: Array
    kind: Array


Crossings = dict[str, Array | None]
"""Detector to the `equations` of its planes."""


def crossings(frames: list[Frame]) -> Crossings:
    """Where wires cross, as training windows tell it."""
    found: Crossings = {}
    for detector in DETECTORS:
        met = [
            meetings(np.arcsinh(frame.adc / 200), frame.columns["plane"], frame.channel)
            for frame in frames
            if frame.name.startswith(f"ProtoDUNE-{detector}")
        ]
        found[detector] = equations(np.concatenate(met))
    return found


def guesses(trained: Trained, path: Path, frames: list[Frame], *, by: str, across: Crossings) -> Guesses:
    """Of the events of a store, whose windows are given."""
    hidden = hidden_of(trained, path, "charge")
    without, apart = np.zeros(len(hidden.truth)), np.zeros(len(hidden.truth), int)
    kind = hidden.plane.astype(int)
    noise = trained.recipe.data.parts["charge"].options()["noise_adc"]
    for event, frame in enumerate(frames):
        of = hidden.event == event
        detector = next(name for name in DETECTORS if name in frame.name)
        kind[of] += 3 * list(DETECTORS).index(detector)
        values, plane = np.arcsinh(frame.adc / noise), frame.columns["plane"]
        row = np.searchsorted(frame.channel, hidden.channel[of])
        if by == "plane":
            lines = across[detector]
            if lines is None:
                without[of] = profile(values, np.isin(plane, hidden.plane[of]))[hidden.tick[of]]
            for number in () if lines is None else np.unique(hidden.plane[of]):
                asked = of & (hidden.plane == number)
                filled = crossed(values, number, plane, frame.channel, lines[number])
                without[asked] = filled[
                    np.searchsorted(frame.channel, hidden.channel[asked]), hidden.tick[asked]
                ]
            continue
        filled, span = between_channels(
            values, np.isin(frame.channel, hidden.channel[of]), plane, frame.channel
        )
        without[of], apart[of] = filled[row, hidden.tick[of]], span[row]
    return Guesses(hidden, without, apart, kind)


def errors(train: Guesses, held: Guesses) -> dict[str, Array]:
    """Squared error of each hidden held-out sample, of each way to guess it. Fits are of training windows."""
    plane, truth = held.hidden.plane, held.hidden.truth
    mean = np.bincount(train.hidden.plane, train.hidden.truth) / np.bincount(train.hidden.plane)
    fit = fitted(train.without, train.hidden.truth, train.kind)
    ways = {
        "nothing": mean[plane],
        "rule": held.without,
        "fitted rule": applied(fit, held.without, held.kind),
        "model": held.hidden.expected,
    }
    return {name: np.square(guess - truth) for name, guess in ways.items()}


def compared(found: dict[str, Array], held: Guesses, n_hd: int) -> dict[str, dict[str, list[float]]]:
    """Detector to way to its squared error over that of the planes' means, with an interval.

    The interval is from a bootstrap over 32 neighbouring channels of a window at a time.
    """
    block = held.hidden.event * 1000 + held.hidden.channel // 32
    of_hd = held.hidden.event < n_hd
    return {
        detector: {
            way: ratio_interval(block[of], squared[of], found["nothing"][of])
            for way, squared in found.items()
            if way != "nothing"
        }
        for detector, of in (("HD", of_hd), ("VD", ~of_hd))
    }


def main(data: Path, out: Path, overrides: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Trains twice, on hidden channels and on hidden planes. Gives figures, and what the picture shows."""
    figures: dict[str, Any] = {}
    shown: dict[str, Any] = {}
    frames = prepare(data, out)
    across = crossings(frames["train"])
    n_hd = sum(frame.name.startswith("ProtoDUNE-HD") for frame in frames["held_out"])
    for by, name in (("channel", "protodune"), ("plane", "protodune-planes")):
        stores = {split: out / f"{split}.h5" for split in frames}
        trained = pretrain(f"waveform/{name}", stores["train"], stores["held_out"], out, overrides)
        train, held = (
            guesses(trained, stores[split], frames[split], by=by, across=across) for split in frames
        )
        found = errors(train, held)
        figures[by] = {**trained.figures, "error": compared(found, held, n_hd)}
        if by == "channel":
            shown = {"apart": by_distance(found, held, n_hd), "pictures": pictures(frames, held)}
    return figures, {"error": {by: of["error"] for by, of in figures.items()}, **shown}


def by_distance(found: dict[str, Array], held: Guesses, n_hd: int) -> dict[str, Array]:
    """Squared error over that of the planes' means in HD, by how far apart the seen channels are."""
    edges = np.array([2, 3, 4, 5, 6, 8, 11])
    of = (held.hidden.event < n_hd) & (held.apart >= edges[0]) & (held.apart < edges[-1])
    group = np.searchsorted(edges, held.apart[of], "right") - 1
    sums = {way: np.bincount(group, squared[of]) for way, squared in found.items()}
    return {"apart": (edges[:-1] + edges[1:] - 1) / 2} | {
        way: total / sums["nothing"] for way, total in sums.items()
    }


def pictures(frames: dict[str, list[Frame]], held: Guesses) -> dict[str, Array]:
    """A piece of the first held-out window's collection plane: as measured, as seen, and with each guess."""
    frame, hidden = frames["held_out"][0], held.hidden
    measured = np.arcsinh(frame.adc / 200)
    of = hidden.event == 0
    at = np.searchsorted(frame.channel, hidden.channel[of]), hidden.tick[of]
    seen = measured.copy()
    seen[np.isin(frame.channel, hidden.channel[of])] = np.nan
    filled = {"measured": measured, "seen": seen}
    for name, guess in (("interpolated", held.without), ("model", hidden.expected)):
        whole = np.where(np.isnan(seen), 0.0, seen)
        whole[at] = guess[of]
        filled[name] = whole
    wires = np.flatnonzero(frame.columns["plane"] == 2)
    busy = np.convolve(measured[wires].sum(1), np.ones(80), "valid").argmax()
    return {name: values[wires[busy : busy + 80]] for name, values in filled.items()}
