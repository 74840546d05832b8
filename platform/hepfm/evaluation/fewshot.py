"""Few-shot curves: figures against labelled events, for a pretrained model and for one from scratch.

::

    runs/<run>/evaluations/<name>/
      settings.json           what the points have in common: with others, they are not compared
      points/<point>.json     what is done of a point, and the run that was trained for it
      points/<point>.npz      of each test event, what the figures are made of
      figures.json  curve.png  curve.html
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np

from hepfm.display.panels import Axis, Line, Lines
from hepfm.errors import RecipeError
from hepfm.evaluation.results import LEVEL, difference, summary
from hepfm.metrics.bootstrap import Array, Figures
from hepfm.recipe.document import flatten
from hepfm.tracking.files import replace as put
from hepfm.tracking.lines import plain
from hepfm.tracking.probes import CONVERGED, SETTINGS, curve_title
from hepfm.tracking.runs import EVALUATIONS

Arm = Literal["pretrained", "scratch", "probe"]


@dataclass(frozen=True, kw_only=True, order=True)
class Point:
    """A model to be trained and tested: so many labelled events, drawn by a seed, and updates of weights."""

    seed: int
    events: int
    updates: int
    """0 for a probe."""
    arm: Arm
    converged: bool = False
    """Whether the training ends when validations are no better, after so many updates at the latest; then
    its best checkpoint is tested."""

    @property
    def curve(self) -> str:
        """Name of the curve that it is on."""
        if self.arm == "probe":
            return self.arm
        return f"{self.arm}-{CONVERGED if self.converged else ''}{self.updates}"

    @property
    def partner(self) -> Point:
        """Of a training from scratch, the one that is fine-tuned with as many events and updates."""
        return replace(self, arm="pretrained")

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.curve}-n{self.events}-s{self.seed}"


def points(
    events: Iterable[int],
    seeds: Iterable[int],
    updates: Iterable[int],
    *,
    probes: bool,
    converge: int | None = None,
) -> list[Point]:
    """All points, a seed after the other, so that the first curve is whole early.

    Args:
        events: Numbers of labelled events.
        seeds: Each draws events, weights and order.
        updates: Numbers of updates.
        probes: Whether a linear probe is shown.
        converge: Updates at most of trainings to convergence; none without.
    """
    trained = [(count, False) for count in updates] + ([] if converge is None else [(converge, True)])
    arms: tuple[Arm, Arm] = ("pretrained", "scratch")
    found = []
    for seed in seeds:
        for each in events:
            found += [Point(seed=seed, events=each, updates=0, arm="probe")] if probes else []
            found += [
                Point(seed=seed, events=each, updates=count, arm=arm, converged=converged)
                for count, converged in trained
                for arm in arms
            ]
    return found


def refuse_others(folder: Path, settings: Mapping[str, Any]) -> None:
    """`RecipeError` where a curve's folder holds points of other settings; names all that differ.

    Args:
        folder: Of the evaluation; it may be missing.
        settings: What all points have in common; of those that are not known yet, nothing is compared.
    """
    path = folder / SETTINGS
    if not path.exists():
        return
    begun = {key: value for key, value in json.loads(path.read_bytes()).items() if key in settings}
    have, want = flatten(begun), flatten(json.loads(json.dumps(plain(dict(settings)))))
    differ = [
        f"{'.'.join(key)} was {have.get(key)}, now it is {want.get(key)}"
        for key in {**have, **want}
        if have.get(key) != want.get(key)
    ]
    if differ:
        raise RecipeError(
            "The curve was begun with other settings, and its points would not compare: "
            f"{'; '.join(differ)}.",
            where=str(path),
            fix="give this curve another --name, or the settings that it was begun with",
        )


class Ledger:
    """What of a few-shot curve is done. Each point is done or not: its file is written at once, at its end.

    Args:
        folder: Of the evaluation; made where it is missing.
        settings: What all points have in common, as JSON.

    Raises:
        RecipeError: The folder holds points of other settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder, self._points = folder, folder / "points"
        self._points.mkdir(parents=True, exist_ok=True)
        refuse_others(folder, settings)
        path = folder / SETTINGS
        if not path.exists():
            put(path, json.dumps(plain(dict(settings)), indent=2).encode() + b"\n")

    def told(self, point: Point) -> dict[str, Any]:
        """What is known of a point: ``run`` once its training began, ``done`` at its end."""
        path = self._points / f"{point.name}.json"
        return dict(json.loads(path.read_bytes())) if path.exists() else {}

    def note(self, point: Point, **facts: Any) -> None:
        """Adds to what is known of a point."""
        content = json.dumps(plain(self.told(point) | facts), indent=2)
        put(self._points / f"{point.name}.json", content.encode() + b"\n")

    def borrow(self, point: Point, runs: Path, plugins: Mapping[str, Any]) -> str:
        """Takes over a training from scratch that another curve has, made alike.

        Alike are events, recipe, seed, updates and versions of plugins; the pretrained run may be another.

        Args:
            point: From scratch, so that nothing of it depends on a pretrained run.
            runs: The folder of runs, in which the other pretrained run and the training must be.
            plugins: Name to distribution and version, of at least those that are used.

        Returns:
            The folder of the curve that it was trained for; an empty text where there is none.
        """
        wanted = _from_scratch(json.loads((self.folder / SETTINGS).read_bytes()))
        for path in sorted(runs.glob(f"*/{EVALUATIONS}/*/points/{point.name}.json")):
            folder = path.parent.parent
            try:
                told = json.loads(path.read_bytes())
                made = json.loads((runs / told["run"] / "run.json").read_bytes())["plugins"]
                have = _from_scratch(json.loads((folder / SETTINGS).read_bytes()))
                here = {name: plugins.get(name) for name in made}
                if not told.get("done") or (have, made) != (wanted, here):
                    continue
                with np.load(BytesIO(path.with_suffix(".npz").read_bytes())) as content:
                    statistics = dict(content)
            except (OSError, ValueError, TypeError, KeyError, BadZipFile, zlib.error):
                continue  # damaged, or of another version
            facts = {"curve": str(folder)} | told  # that one may have taken it over, too
            self.finish(point, statistics, **facts)
            return str(facts["curve"])
        return ""

    def finish(self, point: Point, statistics: Mapping[str, Array], **facts: Any) -> None:
        """Keeps a point's statistics; from then on it is done."""
        aside = self._points / f".{point.name}.npz"
        with aside.open("wb") as file:
            np.savez_compressed(file, **statistics)  # type: ignore[arg-type]
        aside.replace(self._points / f"{point.name}.npz")
        self.note(point, **(facts | {"done": True}))

    def statistics(self, point: Point) -> dict[str, Array]:
        """Of a point that is done."""
        with np.load(self._points / f"{point.name}.npz") as content:
            return dict(content)


def _from_scratch(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a training from scratch: not what it is compared with, nor how that one is spared."""
    model = {key: value for key, value in settings["recipe"]["model"].items() if key != "adapt"}
    return {"data": settings["data"], "recipe": {**settings["recipe"], "model": model}}


def curves(ledger: Ledger, done: Sequence[Point], figures: Figures) -> dict[str, Any]:
    """Figures of the points, over seeds; and what pretraining gains over scratch at equal events and updates.

    Returns:
        ``curves``: name to points, each ``events``, ``seeds`` and ``figures``; ``gain``: updates (``200``, or
        ``converged-5000``) to the same.
    """
    at: dict[tuple[str, int], dict[int, dict[str, Array]]] = {}
    for point in done:
        at.setdefault((point.curve, point.events), {})[point.seed] = ledger.statistics(point)
    found: dict[str, list[Any]] = {}
    gain: dict[str, list[Any]] = {}
    for (curve, events), of_seed in sorted(at.items()):
        runs = list(of_seed.values())
        found.setdefault(curve, []).append(
            {"events": events, "seeds": list(of_seed), "figures": summary(runs, figures)}
        )
        other = at.get((curve.replace("pretrained", "scratch"), events), {})
        both = [seed for seed in of_seed if seed in other]
        if curve.startswith("pretrained") and both:
            ours, theirs = ([one[seed] for seed in both] for one in (of_seed, other))
            gain.setdefault(curve.removeprefix("pretrained-"), []).append(
                {"events": events, "seeds": both, "figures": difference(ours, theirs, figures)}
            )
    return {"curves": found, "gain": gain, "level": LEVEL}


def panel(result: Mapping[str, Any], figure: str, *, title: str) -> Lines:
    """The curves of one figure, with their bands."""
    lines = []
    for name, of_curve in result["curves"].items():
        known = [point for point in of_curve if figure in point["figures"]]
        value, low, high = (
            np.array([point["figures"][figure][end] for point in known]) for end in ("value", "low", "high")
        )
        events = np.array([point["events"] for point in known], float)
        lines.append(Line(curve_title(name), events, value, (low, high)))
    return Lines(
        title=title, lines=lines, x=Axis("labelled events"), y=Axis(figure.replace("_", " ")), log_x=True
    )


def doubts_of(ledger: Ledger, done: Sequence[Point], runs: Path) -> list[str]:
    """Sentences on what spoils the comparison of points.

    They are of trainings to convergence that were still becoming better at their last update, and of those
    from scratch whose code or precision is not that of the fine-tuning beside them.
    """
    late = [point for point in done if point.converged and not ledger.told(point)["converged"]]
    others = [
        point
        for point in done
        if point.arm == "scratch"
        and len({_made(ledger, each, runs) for each in (point, point.partner)} - {None}) > 1
    ]
    found = []
    for points, sentence in (
        (late, "to convergence were still becoming better at their last update ({}); raise --converge"),
        (others, "from scratch have another code or precision than those fine-tuned ({})"),
    ):
        if points:
            some = ", ".join(point.name for point in points[:3]) + (", ..." if len(points) > 3 else "")
            found.append(f"{len(points)} trainings {sentence.format(some)}")
    return found


def _made(ledger: Ledger, point: Point, runs: Path) -> tuple[str, str] | None:
    """Code and precision of a point's training, where they are known."""
    path = runs / ledger.told(point).get("run", "") / "run.json"
    if not path.is_file():
        return None
    told = json.loads(path.read_bytes())
    return told.get("code", ""), told.get("effective", {}).get("precision", "")
