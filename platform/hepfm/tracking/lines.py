"""Lines of JSON with metrics: ``{"step": 7, "time": 1.7e9, "metrics": {"train/loss": 0.5}}``.

JSON has no numbers for what is not finite: these are the strings ``"NaN"``, ``"Infinity"``, ``"-Infinity"``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def plain(value: Any) -> Any:
    """What JSON can hold of a value: numpy and torch scalars as numbers, NaN and infinities as strings."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def number(value: Any) -> float:
    """A number as `plain` wrote it."""
    return _NOT_FINITE[value] if isinstance(value, str) else float(value)


def encode(entry: Mapping[str, Any]) -> bytes:
    """One line, with its end."""
    return json.dumps(plain(entry), allow_nan=False).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any] | None:
    """The entry of a line; None for one that a crash cut short."""
    try:
        entry = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def read_metrics(path: Path) -> Iterator[tuple[int, float, dict[str, float]]]:
    """Step, time (s since 1970) and metrics of each whole line of a ``metrics.jsonl``."""
    with path.open("rb") as file:
        for line in file:
            if (entry := decode(line)) is not None:
                yield entry["step"], entry["time"], {k: number(v) for k, v in entry["metrics"].items()}


def validated(path: Path) -> tuple[int, dict[str, float]]:
    """Step and figures of the last validation in a ``metrics.jsonl``: those of the whole, not of classes.

    What training tells too is a loss or a term of it, and no figure. Of none, 0 and nothing.
    """
    terms, last = {"loss", "loss_baseline"}, (0, dict[str, float]())
    for step, _, metrics in read_metrics(path) if path.is_file() else ():
        terms |= {key.removeprefix("train/") for key in metrics if key.startswith("train/")}
        if "val/loss" in metrics:
            last = step, {key[4:]: value for key, value in metrics.items() if key.startswith("val/")}
    step, figures = last
    return step, {
        name: value
        for name, value in figures.items()
        if name not in terms and "/" not in name and math.isfinite(value)
    }
