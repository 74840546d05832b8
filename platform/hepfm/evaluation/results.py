"""Figures of several seeds with their intervals, and the folder that keeps them.

::

    runs/<run>/evaluations/<name>/
      figures.json      what was done with what, and the figures with their intervals
      statistics.npz    of each test event, what the figures are made of: for comparisons that are paired
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hepfm.errors import RecipeError
from hepfm.evaluation.frozen import Split
from hepfm.metrics.bootstrap import Array, Figures, ends, means_redrawn, sums
from hepfm.tracking.files import replace
from hepfm.tracking.lines import plain
from hepfm.tracking.probes import FIGURES

LEVEL = 0.68
"""Probability that an interval covers: one standard deviation of a normal figure."""

Runs = Sequence[Mapping[str, Array]]
"""Of each seed, name to ``(B, ...)``: the head's statistics of the same test events."""


def summary(runs: Runs, figures: Figures) -> dict[str, dict[str, float]]:
    """Figure to ``value`` (mean over seeds), ``low`` and ``high`` (events and seeds drawn again), ``spread``.

    The spread is the standard deviation over seeds, where there are several.
    """
    each = [figures(sums(run)) for run in runs]
    found = {}
    for name, redrawn in means_redrawn(runs, figures).items():
        values = [one[name] for one in each]
        low, high = ends(redrawn, LEVEL)
        found[name] = {"value": float(np.mean(values)), "low": low, "high": high}
        if len(values) > 1:
            found[name]["spread"] = float(np.std(values, ddof=1))
    return found


def difference(a: Runs, b: Runs, figures: Figures) -> dict[str, dict[str, float]]:
    """Figures of ``a`` minus those of ``b``, with intervals that are paired by event (and by seed)."""
    first, second = means_redrawn(a, figures), means_redrawn(b, figures)
    found = {}
    for name in [name for name in first if name in second]:
        value = np.mean([figures(sums(run))[name] for run in a])
        value -= np.mean([figures(sums(run))[name] for run in b])
        low, high = ends(first[name] - second[name], LEVEL)
        found[name] = {"value": float(value), "low": low, "high": high}
    return found


def about_split(split: Split, told: str) -> dict[str, Any]:
    """What a record says of a split."""
    whole = len(split.indices) == len(split.source)
    return {
        "events": len(split.indices),
        "of": len(split.source),
        "named": told,
        "digest": split.source.digest,
        "event_ids": "all" if whole else [f"{i:#018x}" for i in split.ids().tolist()],
    }


def write(folder: Path, result: Mapping[str, Any], statistics: Mapping[str, Runs]) -> Path:
    """Writes a result and its statistics (``ARM/SEED/NAME``); replaces what is there.

    Points of a curve keep their statistics themselves: then there are none here.

    Raises:
        RecipeError: The folder cannot be written.
    """
    arrays = {
        f"{arm}/{seed}/{name}": values
        for arm, runs in statistics.items()
        for seed, run in enumerate(runs)
        for name, values in run.items()
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if arrays:
            with (folder / ".statistics.npz").open("wb") as file:
                np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
            (folder / ".statistics.npz").replace(folder / "statistics.npz")
        replace(folder / FIGURES, json.dumps(plain(dict(result)), indent=2).encode() + b"\n")
    except OSError as error:
        raise RecipeError(
            f"The evaluation cannot be written: {error.strerror}.", where=str(folder), fix="make room there"
        ) from error
    return folder / FIGURES
