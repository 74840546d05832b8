# ruff: noqa: INP001
"""The pictures of docs/results.md, one function a demonstration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lartpc_validation.picture import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, finish, panels

COLOURS = (BLUE, ORANGE, GREEN, RED)


def bars(panel: Any, rows: Mapping[str, Mapping[str, list[float]]], *, label: str) -> None:
    """Bars with intervals: a group for each row, a colour for each way."""
    ways = list(next(iter(rows.values())))
    width = 0.8 / len(ways)
    for k, way in enumerate(ways):
        value, low, high = np.array([row[way] for row in rows.values()]).T
        at = np.arange(len(rows)) + (k - (len(ways) - 1) / 2) * width
        ends = np.abs([value - low, high - value])
        panel.bar(at, value, width * 0.9, yerr=ends, color=COLOURS[k], ecolor=GREY, capsize=2, label=way)
    panel.set_xticks(range(len(rows)), rows)
    panel.set_ylabel(label)


def protodune(shown: Mapping[str, Any], folder: Path) -> None:
    """Errors of hidden channels and planes, and a piece of a plane."""
    titles = ["measured: wires over ticks", "what the model saw", "interpolated", "what the model expects"]
    figure, axes = panels(titles[:3] + titles[3:] + ["Hidden channels and planes", "Hidden channels of HD"])
    for panel, (name, values) in zip(axes[:4], shown["pictures"].items(), strict=True):
        panel.set_facecolor("#cccccc")
        panel.imshow(
            values, aspect="auto", origin="lower", cmap="magma", vmin=0, vmax=4.5, interpolation="nearest"
        )
        panel.grid(visible=False)
        panel.set(xlabel="tick of 0.5 us", ylabel=f"wire ({name})")
    names = {"rule": "rule", "fitted rule": "rule, fitted", "model": "model"}
    rows = {
        f"{detector}\n{by}s": {shown_as: of[way] for way, shown_as in names.items()}
        for by, error in shown["error"].items()
        for detector, of in error.items()
    }
    bars(axes[4], rows, label="squared error / that of the mean")
    axes[4].axhline(1.0, color=GREY, lw=1)
    apart = shown["apart"]
    for colour, (way, name) in zip(COLOURS, names.items(), strict=False):
        axes[5].plot(apart["apart"], apart[way], "o-", color=colour, label=name)
    axes[5].set(
        xlabel="channels from the seen one below to that above", ylabel="squared error / that of the mean"
    )
    finish(figure, folder / "results-protodune.png")


def microboone(shown: Mapping[str, Any], folder: Path) -> None:
    """Traces, the map of held-out windows, accuracies."""
    figure, axes = panels(
        ["A window of each condition", "Frozen representation, held-out channels", "Linear probe"]
    )
    for k, (name, trace) in enumerate(shown["traces"].items()):
        standard = (trace - np.median(trace)) / max(trace.std(), 0.5)
        axes[0].plot(standard / 8 - k, color=COLOURS[k], lw=0.6)
        of = shown["condition"] == k
        axes[1].plot(*shown["map"][of].T, ".", ms=4, color=COLOURS[k], label=name)
    axes[0].set(xlabel="tick of 0.5 us")
    axes[0].set_yticks(-np.arange(len(shown["traces"])), list(shown["traces"]))
    axes[1].set(xlabel="first principal axis of training channels", ylabel="second")
    _accuracies(axes[2], shown["accuracy"], chance=0.25)
    axes[2].set_xlabel("held-out windows told right")
    finish(figure, folder / "results-microboone.png")


def legend(shown: Mapping[str, Any], folder: Path) -> None:
    """A trace, errors of denoising, photoelectrons."""
    figure, axes = panels(
        ["A held-out trace", "Error of denoising", "Photoelectrons of windows, physics run"]
    )
    traces = shown["traces"]
    middle = int(traces["truth"].argmax())
    window = slice(max(0, middle - 60), middle + 190)
    axes[0].plot(traces["the noisy trace"][window], color=GREY, lw=0.5, label="with noise added")
    axes[0].plot(traces["truth"][window], color=BLUE, lw=1.2, label="as measured")
    for colour, way in ((ORANGE, "matched filter"), (GREEN, "readout of the frozen representation")):
        axes[0].plot(traces[way][window], color=colour, lw=1.0, label=way)
    axes[0].set(xlabel="sample of 16 ns", ylabel="ADC above the pedestal")
    errors = {way: of for way, of in shown["error"].items() if way != "the noisy trace"}
    rows = {
        over: {_short(way): of[over] for way, of in errors.items()}
        for over in ("all samples", "samples of pulses")
    }
    bars(axes[1], rows, label="squared error / that of the added noise")
    axes[1].set_ylim(0, 8)
    axes[1].axhline(1.0, color=GREY, lw=1)
    counts = shown["counts"]
    for colour, way in ((ORANGE, "matched filter"), (GREEN, "readout of the frozen representation")):
        axes[2].plot(counts["hit tier"], counts[way], "o", ms=4, color=colour, alpha=0.6, label=way)
    axes[2].plot([0, 3.4], [0, 3.4], color=GREY, lw=1)
    axes[2].set(xlabel="photoelectrons of the hit tier", ylabel="as read")
    finish(figure, folder / "results-legend.png")


def structured(shown: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Fields of both data sets, the process, the mass."""
    figure, axes = panels(["Hidden fields", "GiBUU: the process", "CMS: mass of muon pairs, never seen"])
    rows, place = [], 0.0
    for name, colour in (("gibuu", BLUE), ("dimuons", ORANGE)):
        for field, (learned, nothing) in shown[name]["fields"].items():
            if nothing > 0.1:  # others always have one value
                axes[0].barh(place, nothing - learned, color=colour)
                rows.append((place, f"{field} ({'GiBUU' if name == 'gibuu' else 'CMS'})"))
                place += 1
    axes[0].set_yticks([at for at, _ in rows], [text for _, text in rows], fontsize=7)
    axes[0].invert_yaxis()
    axes[0].axvline(0, color=GREY, lw=1)
    axes[0].set_xlabel("nats learned of a hidden field")
    _accuracies(
        axes[1], {name: of["mean over processes"] for name, of in shown["gibuu"]["accuracy"].items()}, 0.25
    )
    axes[1].set_xlabel("told right, mean over four processes")
    mass, guesses = shown["dimuons"]["mass"], shown["dimuons"]["guesses"]
    axes[2].plot(
        mass, guesses["frozen representation"], ".", ms=3, color=GREEN, label="frozen representation"
    )
    axes[2].plot(
        mass, guesses["the same, untrained"], ".", ms=2, color=PURPLE, alpha=0.5, label="the same, untrained"
    )
    axes[2].plot([0, 5.2], [0, 5.2], color=GREY, lw=1)
    axes[2].set(xlabel="log of the mass [GeV]", ylabel="as read", xlim=(0, 5.4), ylim=(0, 6))
    finish(figure, folder / "results-structured.png")


def _short(way: str) -> str:
    return {
        "readout of the frozen representation": "frozen model",
        "frozen representation": "frozen model",
        "the same, untrained": "untrained model",
        "power in 32 bands": "power in\n32 bands",
        "size of the noise alone": "size of\nthe noise",
        "counts and energies": "counts and\nenergies",
        "always the most frequent": "the most\nfrequent",
    }.get(way, way)


def _accuracies(panel: Any, rows: Mapping[str, list[float]], chance: float) -> None:
    value, low, high = np.array(list(rows.values())).T
    ends = np.abs([value - low, high - value])
    panel.barh(range(len(rows)), value, 0.6, xerr=ends, color=BLUE, ecolor=GREY, capsize=2)
    panel.set_yticks(range(len(rows)), [_short(name) for name in rows], fontsize=8)
    panel.axvline(chance, color=GREY, lw=1)
    panel.invert_yaxis()
    panel.set_xlim(0, 1)
