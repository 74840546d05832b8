"""Runs side by side as one HTML page: curves, figures, what differs in their recipes, event displays."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hepfm.display.curves import Curve, thin
from hepfm.display.page import write_page

_BUCKETS = 800
_FIRST = {"val/loss": "validation loss", "train/loss": "training loss"}
_BASELINE = "val/loss_baseline"
_EVENTS = 4
_FEW = 60


def write_comparison(
    path: Path,
    *,
    runs: Sequence[str],
    curves: Sequence[Mapping[str, Curve]],
    learns: Sequence[str],
    figures: Sequence[tuple[str, Sequence[str]]],
    evaluations: Sequence[tuple[str, Sequence[tuple[str, Sequence[str]]]]],
    recipe: Sequence[tuple[str, Sequence[str | None]]],
    displays: Sequence[Sequence[Path]],
    title: str,
) -> None:
    """Writes the page; follows the reader's choice of dark or light. About 2 MB for plotly.

    Args:
        path: The HTML file.
        runs: Their names.
        curves: Of each run, its metrics; thinned here so that spikes stay.
        learns: Of each run, what it was trained for: losses and figures of others are in other charts.
        figures: Titles, each with a text for every run.
        evaluations: Titles, each with rows like those of figures.
        recipe: Keys that differ, each with a text for every run; None where a run has no such key.
        displays: Of each run, PNG files; those of one name are shown side by side, four names at most.
        title: Of the page.
    """
    keys = dict.fromkeys(key for each in curves for key in each)
    charts = [chart for key in _FIRST if key in keys for chart in _charts(_FIRST[key], key, curves, learns)]
    others = (key for key in sorted(keys) if key not in _FIRST and key != _BASELINE)
    more = [chart for key in others for chart in _charts(key, key, curves, learns)]
    names = sorted({file.name for each in displays for file in each})[:_EVENTS]
    pictures = [
        {"run": run, "name": file.stem, "image": f"data:image/png;base64,{_base64(file.read_bytes())}"}
        for name in names
        for run, each in enumerate(displays)
        for file in each
        if file.name == name
    ]
    data = {
        "runs": [{"name": name} for name in runs],
        "charts": charts,
        "more": more,
        "figures": figures,
        "evaluations": evaluations,
        "recipe": recipe,
        "displays": pictures,
    }
    write_page(path, "comparison.html", title=title, data=data)


def _charts(
    title: str, key: str, curves: Sequence[Mapping[str, Curve]], learns: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """A chart of a metric; of one that the task gives its meaning, a chart for each task."""
    tasks = dict.fromkeys(learns)
    if len(tasks) == 1 or not key.startswith(("train/", "val/")):
        yield _chart(title, key, curves)
        return
    for task in tasks:
        of_task = [each if learned == task else {} for each, learned in zip(curves, learns, strict=True)]
        if any(key in each for each in of_task):
            yield _chart(f"{title} ({task})" if task else title, key, of_task)


def _chart(title: str, key: str, curves: Sequence[Mapping[str, Curve]]) -> dict[str, Any]:
    """A metric of all runs; the validation loss with that of learning nothing, where that is not the same."""
    lines = [_trace(run, each[key]) for run, each in enumerate(curves) if key in each]
    if key == "val/loss":
        title += ", dotted: that of learning nothing" if any(_BASELINE in each for each in curves) else ""
        known: list[Curve] = []
        for run, each in enumerate(curves):
            if (baseline := each.get(_BASELINE)) and baseline not in known:
                known.append(baseline)
                lines.append(_trace(run, baseline, few=2) | {"dotted": "learning nothing"})
    return {"title": title, "curves": lines}


def _trace(run: int, curve: Curve, *, few: int = _FEW) -> dict[str, Any]:
    """A curve; with its points where it has less than so many: of a single one, a line shows nothing."""
    steps, values = thin(curve, _BUCKETS)
    mode = "lines+markers" if len(steps) < few else "lines"
    return {"run": run, "x": _packed("i", "i4", steps), "y": _packed("f", "f4", values), "mode": mode}


def _packed(code: str, dtype: str, values: Sequence[float]) -> dict[str, str]:
    """Numbers as plotly reads them in binary: base64, little-endian, 4 bytes each."""
    numbers = array(code, values)
    if sys.byteorder == "big":
        numbers.byteswap()
    return {"dtype": dtype, "bdata": _base64(numbers.tobytes())}


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
