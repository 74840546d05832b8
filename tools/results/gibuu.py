# ruff: noqa: INP001
"""GiBUU's neutrino interactions: hidden fields, and the process from the frozen representation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from results.probe import classify
from results.records import split
from results.statistics import interval
from results.trained import pretrain
from sklearn.metrics import balanced_accuracy_score

from hepfm.api import Batch
from hepfm.readers.sniff import open_reader

Array = np.ndarray[Any, Any]
PROCESSES = ("quasi-elastic", "two nucleons", "resonance or one pion", "deep inelastic")
_OF_TYPE = {1: 0, 35: 1, 34: 3}
"""GiBUU's evType to a process; those from 2 to 33 are resonances and pions without one."""
SPECIES = (2212, 2112, 211, -211, 111)


def process_of(batch: Batch) -> Array:
    """``(B,)`` index into `PROCESSES`."""
    types = batch.labels["structured"]["event"].columns["evType"]
    return np.array([_OF_TYPE.get(int(kind), 2) for kind in types])


def counted(batch: Batch) -> Array:
    """``(B, 8)``: hadrons of each kind, all of them, the energy that is seen, and the neutrino's."""
    particles = batch.parts["structured"]["particles"]
    event = np.repeat(np.arange(len(batch)), particles.lengths)
    c = particles.columns
    energy = np.sqrt((c["pt"] * np.cosh(c["eta"])) ** 2 + c["mass"] ** 2)
    weights = [c["pdg"] == code for code in SPECIES] + [np.ones(len(event)), energy]
    sums = [np.bincount(event, weight.astype(float), minlength=len(batch)) for weight in weights]
    return np.stack([*sums, batch.parts["structured"]["event"].columns["lepIn_E"]], 1)


def main(data: Path, out: Path, overrides: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Trains and probes. Gives figures, and what the picture shows."""
    reader = open_reader(data / "gibuu" / "EventOutput.Pert.00000001.root")
    events = split(reader, reader.event_ids()[:, None], out)
    stores = [out / f"{name}.h5" for name in events]
    trained = pretrain("structured/gibuu", *stores, out, overrides)
    process = {name: process_of(batch) for name, batch in events.items()}
    features = {
        "frozen representation": [trained.pooled(path) for path in stores],
        "the same, untrained": [trained.pooled(path, learned=False) for path in stores],
        "counts and energies": [counted(batch) for batch in events.values()],
    }
    held = process["held_out"]
    found = {
        name: classify(of_train, process["train"], of_held, strength=0.1)
        for name, (of_train, of_held) in features.items()
    }
    found["always the most frequent"] = np.full(len(held), np.bincount(process["train"]).argmax())
    accuracy = {
        name: {
            "right": interval(np.arange(len(held)), lambda at, hit=guess == held: hit[at].mean()),
            "mean over processes": interval(
                np.arange(len(held)), lambda at, guess=guess: balanced_accuracy_score(held[at], guess[at])
            ),
        }
        for name, guess in found.items()
    }
    confusion = np.zeros((4, 4), int)
    np.add.at(confusion, (held, found["frozen representation"]), 1)
    fields = trained.terms(stores[1])
    figures = {**trained.figures, "fields": fields, "accuracy": accuracy, "confusion": confusion.tolist()}
    return figures, {"fields": fields, "accuracy": accuracy}
