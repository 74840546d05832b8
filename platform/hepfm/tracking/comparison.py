"""Runs side by side, from their folders alone: figures, curves, and what differs in their recipes."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from hepfm.errors import RecipeError
from hepfm.recipe.diff import differences
from hepfm.recipe.document import lookup, parse
from hepfm.tracking.evaluations import results_of
from hepfm.tracking.lines import read_metrics
from hepfm.tracking.probes import probes_of
from hepfm.tracking.runs import RunDir

Curve = tuple[list[int], list[float]]
"""Steps, and the value at each."""


@dataclass(frozen=True)
class Side:
    """A run as it is compared: running, ended, or failed.

    Attributes:
        label: The run's name, told apart where a run is compared with itself.
        run: Its folder.
        figures: By their key in `FIGURES`; without those that the run does not have.
        curves: All its metrics.
        recipe: As plain values.
        evaluations: What each of its evaluations says (`hepfm.tracking.evaluations`), the oldest first.
        probes: The same of its probes and few-shot curves (`hepfm.tracking.probes`).
    """

    label: str
    run: RunDir
    figures: Mapping[str, Any]
    curves: Mapping[str, Curve]
    recipe: Mapping[str, Any]
    evaluations: Sequence[Mapping[str, Any]]
    probes: Sequence[Mapping[str, Any]]

    @property
    def learns(self) -> str:
        """What it was trained for: an objective, or a task with its part and label."""
        return str(self.figures.get("learns", ""))

    @property
    def displays(self) -> list[Path]:
        """Pictures of its latest event displays."""
        return sorted((self.run.path / "displays").glob("*.png"))


@dataclass(frozen=True)
class Row:
    """A line of a table: what it is, and its value for each run (None: the run has none)."""

    key: str
    title: str
    values: tuple[Any, ...]
    texts: tuple[str, ...]


def _losses(value: float) -> str:
    return f"{value:.4f}"


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _cut(value: str) -> str:
    return value[:12]


FIGURES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "status": ("status", str),
    "learns": ("learns", str),
    "reason": ("reason", lambda text: text.splitlines()[0]),
    "steps": ("steps", _whole),
    "train_loss": ("training loss", _losses),
    "val_loss": ("validation loss", _losses),
    "val_loss_baseline": ("learning nothing", _losses),
    "val_loss_ratio": ("validation loss / learning nothing", _losses),
    "best_val_loss": ("best validation loss", _losses),
    "best_step": ("at step", _whole),
    "not_finite": ("steps with a loss that is not finite", _whole),
    "tokens_per_s": ("tokens/s, median", _whole),
    "events_per_s": ("events/s, median", "{:,.1f}".format),
    "seconds": ("time from first to last step", lambda value: str(timedelta(seconds=round(value)))),
    "effective_time": ("effective time", "{:.1%}".format),
    "rss_gib": ("memory of rank 0, most [GiB]", "{:.2f}".format),
    "cuda_gib": ("GPU memory of rank 0, most [GiB]", "{:.2f}".format),
    "saw_truth": ("saw truth", lambda saw: "yes" if saw else "no"),
    "parameters": ("parameters", _whole),
    "world": ("workers", str),
    "device": ("device", str),
    "precision": ("precision", str),
    "data_digest": ("data digest", _cut),
    "code": ("code", _cut),
    "plugins": ("plugins", str),
}
"""Title and text of each figure."""

_OF_A_TASK = {"train_loss", "val_loss", "val_loss_baseline", "val_loss_ratio", "best_val_loss", "best_step"}
"""Those that say something of other runs only where these learn the same."""
_WHERE_DIFFERENT = {"learns", "device", "precision", "code", "plugins", "world"}
"""Said only where runs differ in it."""


def compare(runs: Sequence[RunDir]) -> list[Side]:
    """Reads runs as they are now.

    Raises:
        RecipeError: A run's ``run.json``, recipe or evaluation cannot be read.
    """
    seen: Counter[str] = Counter()
    sides = []
    for run in runs:
        seen[run.name] += 1
        label = f"{run.name} ({seen[run.name]})" if seen[run.name] > 1 else run.name
        try:
            content = run.json()
            recipe, _ = parse(run.recipe_path.read_text(encoding="utf-8"), str(run.recipe_path))
        except (OSError, ValueError) as error:
            raise RecipeError(
                f"run {run.name} cannot be read: {error}", where=str(run.path), fix="leave it out"
            ) from error
        curves, seconds = _curves(run)
        figures = _figures(content, curves, seconds) | ({"learns": task} if (task := _learns(recipe)) else {})
        sides.append(Side(label, run, figures, curves, recipe, results_of(run), probes_of(run)))
    return sides


def figure_rows(sides: Sequence[Side]) -> list[Row]:
    """The figures that any of the runs has; losses in a row for each task where runs learn different ones."""
    rows = []
    tasks = dict.fromkeys(side.learns for side in sides)
    for key, (title, text) in FIGURES.items():
        for task in tasks if key in _OF_A_TASK and len(tasks) > 1 else [None]:
            values = tuple(side.figures.get(key) if task in (None, side.learns) else None for side in sides)
            alike = all(value == values[0] for value in values)
            if all(value is None for value in values) or (
                alike and key in _WHERE_DIFFERENT and len(sides) > 1
            ):
                continue
            named = f"{title} ({task})" if task else title
            rows.append(Row(key, named, values, tuple("" if v is None else text(v) for v in values)))
    return rows


def recipe_rows(sides: Sequence[Side]) -> list[tuple[str, tuple[Any, ...]]]:
    """Keys in which the recipes differ, with the value of each; ``ABSENT`` where a recipe has no such key."""
    return list(differences([side.recipe for side in sides]))


def _learns(recipe: Any) -> str:
    objective = lookup(recipe, ("objective",)) or {}
    head = objective.get("head") or {}
    named = (head.get(key) or [] for key in ("name", "part", "label_part", "label", "labels"))
    words = (str(each) for value in named for each in (value if isinstance(value, list) else [value]))
    return ", ".join(dict.fromkeys(words)) or str(objective.get("name") or "")


def _curves(run: RunDir) -> tuple[dict[str, Curve], float]:
    """All metrics of a run, and the seconds between the first and the last step."""
    curves: defaultdict[str, Curve] = defaultdict(lambda: ([], []))
    first = last = 0.0
    if run.metrics_path.is_file():
        for step, time, metrics in read_metrics(run.metrics_path):
            first, last = first or time, time
            for key, value in metrics.items():
                steps, values = curves[key]
                steps.append(step)
                values.append(value)
    return dict(curves), last - first


def _figures(content: Mapping[str, Any], curves: Mapping[str, Curve], seconds: float) -> dict[str, Any]:
    effective = content.get("effective") or {}

    def values(key: str) -> list[float]:
        return curves[key][1] if key in curves else []

    def final(key: str) -> float | None:
        return values(key)[-1] if values(key) else None

    def median(key: str) -> float | None:
        return statistics.median(values(key)) if values(key) else None

    loss, baseline = final("val/loss"), final("val/loss_baseline")
    best = min(
        ((v, step) for step, v in zip(*curves.get("val/loss", ([], [])), strict=True) if math.isfinite(v)),
        default=(None, None),
    )
    versions = {name: about.get("version") for name, about in (content.get("plugins") or {}).items()}
    found = {
        "status": content.get("status"),
        "reason": content.get("reason"),
        "steps": max((curve[0][-1] for curve in curves.values()), default=0),
        "train_loss": final("train/loss"),
        "val_loss": loss,
        "val_loss_baseline": baseline,
        "val_loss_ratio": loss / baseline if loss is not None and baseline else None,
        "best_val_loss": best[0],
        "best_step": best[1],
        "not_finite": sum(not math.isfinite(value) for value in values("train/loss")) or None,
        "tokens_per_s": median("throughput/tokens_per_s"),
        "events_per_s": median("throughput/events_per_s"),
        "seconds": seconds if curves else None,
        "effective_time": content.get("effective_time"),
        "rss_gib": max(values("memory/rss_gib"), default=None),
        "cuda_gib": max(values("memory/cuda_gib"), default=None),
        "saw_truth": (content.get("pretrain") or {}).get("saw_truth") or None,
        **{key: effective.get(key) for key in ("parameters", "world", "device", "precision")},
        "data_digest": content.get("data_digest"),
        "code": content.get("code"),
        "plugins": ", ".join(f"{name} {versions[name]}" for name in sorted(versions)) or None,
    }
    return {key: value for key, value in found.items() if value is not None}
