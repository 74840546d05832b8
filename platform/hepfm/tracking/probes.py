"""What probes and few-shot curves found of runs, read from their folders: for comparisons and cards.

::

    runs/<run>/evaluations/<name>/
      figures.json      what was done with what, and the figures with their intervals
      settings.json     of a few-shot curve: what its points have in common
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hepfm.errors import RecipeError
from hepfm.tracking.evaluations import SideBySide, in_words
from hepfm.tracking.runs import RunDir

FIGURES = "figures.json"
SETTINGS = "settings.json"
CONVERGED = "converged-"
"""Before the most updates of trainings to convergence, in a curve's name."""
_WORDS = {"pretrained": "fine-tuned", "scratch": "from scratch", "probe": "linear probe"}

Found = Mapping[str, Any]
Row = tuple[str, tuple[str, ...]]


def probes_of(run: RunDir) -> list[dict[str, Any]]:
    """What ``figures.json`` says of each of a run's probes and few-shot curves, the oldest first.

    Raises:
        RecipeError: One cannot be read.
    """
    found = []
    there = (path for path in run.evaluations.glob(f"*/{FIGURES}") if not (path.parent / "run.json").exists())
    for path in sorted(there, key=lambda path: path.stat().st_mtime_ns):  # copies for MLflow are runs
        try:
            content = json.loads(path.read_bytes())
            settings = path.with_name(SETTINGS)
            digests = json.loads(settings.read_bytes())["data"] if settings.is_file() else {}
            made = {**content, "digests": digests, "folder": str(path.parent)}
            probe_tables([[made]])  # what can be shown alone can be shown beside others
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise RecipeError(
                f"an evaluation cannot be read: {type(error).__name__}: {error}",
                where=str(path),
                fix="remove its folder, or run the command again that made it",
            ) from error
        found.append(made)
    return found


def probe_tables(runs: Sequence[Sequence[Found]]) -> list[SideBySide]:
    """The newest of each run's probes and few-shot curves of one task on the same test events.

    Args:
        runs: Of each run, `probes_of`.
    """
    tables = []
    for key in dict.fromkeys(_key(each) for results in runs for each in results):
        newest = [{_key(each): each for each in results}.get(key) for results in runs]
        make = _probe if key[0] == "probe" else _curves
        tables.append(make([each for each in newest if each is not None], newest))
    return tables


def curve_title(name: str) -> str:
    """A curve's name for people."""
    arm, _, updates = name.partition("-")
    return f"{_WORDS[arm]}, {length_title(updates)}" if updates else _WORDS[arm]


def length_title(updates: str) -> str:
    """How long trainings were, for people: ``200``, or ``converged-5000``."""
    if updates.startswith(CONVERGED):
        return f"to convergence (at most {updates.removeprefix(CONVERGED)} updates)"
    return f"{updates} updates"


def _key(found: Found) -> tuple[str, ...]:
    if found["kind"] == "probe":
        return ("probe", json.dumps(found["task"]), found["probe"], found["data"][0]["test"]["digest"])
    return ("fewshot", json.dumps(found["task"]), found["digests"].get("test", ""))


def _probe(there: Sequence[Found], newest: Sequence[Found | None]) -> SideBySide:
    first = there[0]
    test = first["data"][0]["test"]
    title = (
        f"Probe {first['probe']}, task {first['task']['name']}, tested on {test['events']} events of "
        f"{test['named']} ({test['digest'][:12]}), intervals of {first.get('level', 0.68):.0%} by event"
    )
    columns = [_figures_of_probe(each) if each else {} for each in newest]
    names = dict.fromkeys(name for each in columns for name in each)
    fitted = tuple(str(each["data"][0]["train"]["events"]) if each else "" for each in newest)
    rows = [
        (name, tuple(in_words(each.get(name)) for each in columns)) for name in sorted(names, key=_of_a_class)
    ]
    before = [*_of_checkpoints(newest), ("events to fit to", fitted)]
    return SideBySide(title, [*before, *rows, *_to_be_known(newest)])


def _of_a_class(name: str) -> bool:
    """Whether a figure is of one class."""
    return "/" in name.removeprefix("untrained/").removeprefix("gain/")


def _figures_of_probe(found: Found) -> dict[str, Any]:
    arms = {"": found["figures"]["pretrained"], "untrained/": found["figures"].get("untrained", {})}
    arms["gain/"] = found.get("gain", {})
    return {arm + name: figure for arm, figures in arms.items() for name, figure in figures.items()}


def _curves(there: Sequence[Found], newest: Sequence[Found | None]) -> SideBySide:
    first = there[0]
    known = dict.fromkeys(
        name
        for each in there
        for curve in each["curves"].values()
        for point in curve
        for name in point["figures"]
    )
    figure = first.get("figure") or ("macro_f1" if "macro_f1" in known else next(iter(known), "no figure"))
    title = (
        f"Few labels, task {first['task']['name']}, {figure}, tested on {first['data']['test']} "
        f"({first['digests'].get('test', '')[:12]}), intervals of {first['level']:.0%} by event and seed"
    )
    columns = [dict(_points(each, figure)) if each else {} for each in newest]
    names = sorted({key for each in columns for key in each}, key=lambda key: (key[1], key[0]))
    rows = [
        (f"{events} events, {curve}", tuple(in_words(each.get((curve, events))) for each in columns))
        for curve, events in names
    ]
    return SideBySide(title, [*_of_checkpoints(newest), *rows, *_to_be_known(newest)])


def _points(found: Found, figure: str) -> Iterator[tuple[tuple[str, int], Any]]:
    gains = {f"gain, {length_title(updates)}": each for updates, each in found["gain"].items()}
    curves = {curve_title(name): each for name, each in found["curves"].items()} | gains
    for title, curve in curves.items():
        for point in curve:
            if figure in point["figures"]:
                yield (title, point["events"]), point["figures"][figure]


def _of_checkpoints(newest: Sequence[Found | None]) -> list[Row]:
    return [("step of the checkpoint", tuple(str(each["step"]) if each else "" for each in newest))]


def _to_be_known(newest: Sequence[Found | None]) -> list[Row]:
    """What was doubted, and what a run was shown."""
    texts = []
    for each in newest:
        shown = [f"the run was shown {each['saw']} in training"] if each and each["saw"] else []
        texts.append("; ".join([*shown, *each["doubts"]]) if each else "")
    return [("to be known", tuple(texts))] if any(texts) else []
