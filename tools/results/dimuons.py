# ruff: noqa: INP001
"""CMS's muon pairs: hidden fields, and the invariant mass from a representation that never saw it.

The file has 2,304 pairs of 500 events: each pair several times, and in both orders. Events are held out with
all of their pairs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from results.probe import regress
from results.records import split
from results.statistics import ratio_interval
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
    wanted = np.log(held)
    guesses = {"the mean of training": np.full(len(held), np.log(mass).mean())}
    for name, learned in (("frozen representation", True), ("the same, untrained", False)):
        of_train, of_held = (trained.pooled(path, learned=learned) for path in stores)
        guesses[name] = regress(of_train, np.log(mass), of_held, shrink=100.0)
    nothing = np.square(guesses["the mean of training"] - wanted)
    off = {
        name: ratio_interval(number.ravel(), np.square(guess - wanted), nothing)
        for name, guess in guesses.items()
    }
    fields = trained.terms(stores[1])
    distinct = {
        name: len(np.unique(np.stack([of["Run"], of["Event"]], 1), axis=0))
        for name, of in zip(events, columns, strict=True)
    }
    figures = {**trained.figures, "distinct_events": distinct, "fields": fields, "mass_error": off}
    return figures, {"fields": fields, "mass": wanted, "guesses": guesses}
