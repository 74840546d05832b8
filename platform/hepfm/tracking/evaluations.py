"""The record of evaluations: a folder in the run's own, and a child run in MLflow.

::

    runs/<run>/evaluations/<name>-<id>/
      evaluation.json    figures with intervals, data, checkpoint, what flatters
      statistics.npz     of each event: what the figures are made of; of each draw of events: the figures
      figures.png        the figures with their intervals
      run.json   recipe.yaml   metrics.jsonl   spool/     as of any run
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hepfm.errors import RecipeError
from hepfm.metrics.bootstrap import ends
from hepfm.tracking.files import replace
from hepfm.tracking.lines import plain
from hepfm.tracking.recorder import Recorder, as_metrics
from hepfm.tracking.runs import RunDir, create_run
from hepfm.tracking.sync import evaluations_of, store_of

RESULT = "evaluation.json"
STATISTICS = "statistics.npz"
REDRAWN = "redrawn/"
"""Before a figure's name in the statistics: its values in draws of events, the same for all models."""


def begin(run: RunDir, name: str) -> RunDir:
    """Makes the folder of an evaluation.

    Args:
        run: What is evaluated.
        name: Of the evaluation; eight random digits follow.

    Raises:
        RecipeError: It cannot be a folder's name, or nothing can be written there.
    """
    made = create_run(run.evaluations, name, run.recipe_path.read_text(encoding="utf-8"), run.name)
    made.checkpoints.rmdir()  # it has none
    return made


def record(
    evaluation: RunDir,
    result: Mapping[str, Any],
    statistics: Mapping[str, np.ndarray[Any, Any]],
    *,
    experiment: str,
    artifacts: Sequence[Path] = (),
) -> str:
    """Writes an evaluation's results, and sends them to MLflow.

    Args:
        evaluation: Of `begin`.
        result: What ``evaluation.json`` says: ``task``, ``checkpoint``, ``data`` (``named``, ``digest``,
            ``events``), ``figures`` (name to ``value``, ``low``, ``high``), and more.
        statistics: Name to ``(B, ...)``, with ``event_id`` among them; and ``redrawn/FIGURE`` to ``(R,)``.
        experiment: MLflow's, that of the run.
        artifacts: Further files, inside the evaluation's folder.

    Returns:
        An empty text, or a sentence on what MLflow did not take and how to send it.

    Raises:
        TrainingError: The folder cannot be written (disk full).
    """
    run = RunDir(evaluation.home / result["run"])
    data = result["data"]
    evaluation.update(
        pretrain=result["pretrain"], data_digest=data["digest"], plugins=result["plugins"], status="running"
    )
    np.savez_compressed(evaluation.path / STATISTICS, **statistics)  # type: ignore[arg-type]
    path = evaluation.path / RESULT
    replace(path, json.dumps(plain(result), indent=2).encode() + b"\n")
    return _send(
        evaluation,
        run,
        experiment=experiment,
        params={key: result[key] for key in ("task", "checkpoint", "weights_sha256", "level", "draws")}
        | {"data": data["named"], "events": data["events"]},
        tags={"hepfm.kind": "evaluation", "hepfm.task": result["task"]},
        dataset={"digest": data["digest"], "source": data["named"]},
        values={result["step"]: metrics(result["figures"])},
        files=(path, evaluation.path / STATISTICS, *artifacts),
    )


def tell(
    run: RunDir,
    folder: Path,
    *,
    about: Mapping[str, Any],
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    dataset: Mapping[str, str],
    metrics: Mapping[int, Mapping[str, float]],
    files: Sequence[str],
) -> str:
    """Sends an evaluation with a folder of its own, whose next one takes its place, to MLflow.

    Each is a new run below the run, with a record of its own (`begin`) that keeps copies of the files: what
    is sent later is what was recorded.

    Args:
        run: What was evaluated.
        folder: Of the evaluation, which names the record.
        about: ``model.json`` of its checkpoint.
        params: Headline parameters.
        tags: Of MLflow's run.
        dataset: ``digest`` and ``source`` of the test events.
        metrics: Step to name and value.
        files: Names of the artifacts in the folder; those that are not there are left out.

    Returns:
        See `record`.
    """
    evaluation = begin(run, folder.name)
    there = [name for name in files if (folder / name).is_file()]
    for name in there:
        shutil.copyfile(folder / name, evaluation.path / name)
    evaluation.update(
        pretrain=about["pretrain"], data_digest=dataset["digest"], plugins=about["plugins"], status="running"
    )
    return _send(
        evaluation,
        run,
        experiment=about["recipe"]["tracking"]["experiment"],
        params=params,
        tags=tags,
        dataset=dataset,
        values=metrics,
        files=[evaluation.path / name for name in there],
    )


def _send(
    evaluation: RunDir,
    run: RunDir,
    *,
    experiment: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    dataset: Mapping[str, str],
    values: Mapping[int, Mapping[str, float]],
    files: Sequence[Path],
) -> str:
    recorder = Recorder(
        evaluation,
        uri=store_of(run),
        experiment=experiment,
        params=params,
        tags=tags,
        dataset={"name": evaluation.name, "context": "evaluation", **dataset},
    )
    for step, figures in values.items():
        recorder.metrics(step, figures)
    for file in files:
        recorder.artifact(file)
    evaluation.update(status="done", steps=max(values))
    return recorder.close("done")


def metrics(figures: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Figures as metrics: ``NAME``, ``NAME_low`` and ``NAME_high``."""
    return {
        key + end: figure[at]
        for key, figure in as_metrics(figures).items()
        for end, at in (("", "value"), ("_low", "low"), ("_high", "high"))
        if at in figure
    }


def results_of(run: RunDir) -> list[dict[str, Any]]:
    """What ``evaluation.json`` says of each of a run's evaluations, the oldest first.

    Raises:
        RecipeError: One cannot be read.
    """
    found = []
    for each in evaluations_of(run):
        path = each.path / RESULT
        if not path.is_file():  # it failed, or goes on
            continue
        try:
            found.append(dict(json.loads(path.read_bytes())) | {"folder": str(each.path)})
        except ValueError as error:
            raise RecipeError(
                f"an evaluation cannot be read: {error}", where=str(path), fix="remove its folder"
            ) from error
    return found


@dataclass(frozen=True)
class SideBySide:
    """What several runs reach at one task, on the same events.

    Attributes:
        title: Task, events and intervals.
        rows: Checkpoint, figures and doubts; of each a text for every run, empty where it was not evaluated.
    """

    title: str
    rows: list[tuple[str, tuple[str, ...]]]


def side_by_side(runs: Sequence[Sequence[Mapping[str, Any]]]) -> list[SideBySide]:
    """The newest evaluation of each run, by task and the data's digest; of what each of them says.

    Args:
        runs: Of each run, `results_of`.
    """
    asked = dict.fromkeys((each["task"], each["data"]["digest"]) for results in runs for each in results)
    tables = []
    for task, digest in asked:
        newest = [
            {(each["task"], each["data"]["digest"]): each for each in results}.get((task, digest))
            for results in runs
        ]
        there = [each for each in newest if each is not None]
        data, levels = there[0]["data"], dict.fromkeys(f"{each['level']:.0%}" for each in there)
        title = (
            f"Task {task} on {data['events']} events of {data['named']} ({digest[:12]}), "
            f"intervals of {', '.join(levels)} by event"
            + ("; no differences, for the levels differ" if len(levels) > 1 else "")
        )
        names = dict.fromkeys(name for each in there for name in each["figures"])
        rows = [("checkpoint", tuple(each["checkpoint"] if each else "" for each in newest))]
        for name in sorted(names, key=lambda name: "/" in name):  # those of the whole before those of classes
            texts = (in_words(each["figures"].get(name)) if each else "" for each in newest)
            rows.append((name, tuple(texts)))
            if "/" not in name and any(paired := [_minus_first(newest, each, name) for each in newest]):
                rows.append((f"{name}, minus A", tuple(paired)))
        if any(each["doubts"] for each in there):
            rows.append(("to be known", tuple("; ".join(each["doubts"]) if each else "" for each in newest)))
        tables.append(SideBySide(title, rows))
    return tables


def _minus_first(newest: Sequence[Any], other: Any, name: str) -> str:
    """A figure minus that of the first run, where both were drawn alike; with an interval paired by event."""
    first = newest[0]
    if first is None or other is None or other is first or first["level"] != other["level"]:
        return ""
    paths = [Path(each["folder"]) / STATISTICS for each in (first, other)]
    if not all(path.is_file() for path in paths):
        return ""
    with np.load(paths[0]) as one, np.load(paths[1]) as two:
        if not all(REDRAWN + name in each for each in (one, two)):
            return ""
        a, b = one[REDRAWN + name], two[REDRAWN + name]
        if len(a) != len(b) or not np.array_equal(one["event_id"], two["event_id"]):
            return ""
    if not np.isfinite(b - a).any():
        return ""
    low, high = ends(b - a, first["level"])
    value = other["figures"][name]["value"] - first["figures"][name]["value"]
    return f"{value:+.4f}  {low:+.4f} to {high:+.4f}"


def in_words(figure: Mapping[str, float] | None) -> str:
    """A figure with its interval, and the spread over seeds where there is one."""
    if figure is None:
        return ""
    ends = f"  {figure['low']:.4f} to {figure['high']:.4f}" if "low" in figure else ""
    seeds = f" +- {figure['spread']:.4f}" if "spread" in figure else ""
    return f"{figure['value']:.4f}{ends}{seeds}"
