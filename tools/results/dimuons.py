# ruff: noqa: INP001
"""CMS's muon pairs: hidden fields, and the invariant mass from a representation that never saw it.

The file has 2,304 pairs of 500 events: each pair several times, and in both orders. Events are held out with all of
their pairs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from results.probe import regress
from results.records import split
from results.statistics import interval
from results.trained import pretrain

from hepfm.readers.sniff import open_reader

Array = np.ndarray[Any, Any]


def main(data: Path, out: Path, overrides: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Trains and reads out. Gives figures, and what the picture shows."""
    reader = open_reader(data / "collider" / "uproot-Zmumu-zlib.root")
    whole = reader.read(range(len(reader))).parts["structured"]["event"].columns
    events = split(reader, np.stack([whole["Run"], whole["Event"]], 1), out)
    stores = [out / f"{name}.h5" for name in events]
    trained = pretrain("structured/dimuons", *stores, out, overrides)
    columns = [batch.parts["structured"]["event"].columns for batch in events.values()]
    mass, held = (of["M"] for of in columns)
    number = np.unique(np.stack([columns[1]["Run"], columns[1]["Event"]], 1), axis=0, return_inverse=True)[1]
    guesses = {"the median of training": np.full(len(held), np.median(mass))}
    for name, learned in (("frozen representation", True), ("the same, untrained", False)):
        of_train, of_held = (trained.pooled(path, learned=learned) for path in stores)
        guesses[name] = np.exp(regress(of_train, np.log(mass), of_held, shrink=100.0))
    off = {
        name: interval(number.ravel(), lambda at, off=np.abs(guess / held - 1): np.median(off[at]))
        for name, guess in guesses.items()
    }
    fields = trained.terms(stores[1])
    distinct = {name: len(np.unique(np.stack([of["Run"], of["Event"]]), axis=1).T) for name, of in zip(events, columns, strict=True)}
    figures = {**trained.figures, "distinct_events": distinct, "fields": fields, "mass_off": off}
    return figures, {"fields": fields, "mass": held} | {"guesses": guesses}
