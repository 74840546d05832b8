"""Probes: how much of a task can be read off a frozen encoder by simple models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from hepfm.api import Ragged
from hepfm.data.batches import batches
from hepfm.errors import DataError, RecipeError
from hepfm.evaluation.checks import check_labels
from hepfm.evaluation.fit import MOST_ROWS, Fitted, Kind, fit
from hepfm.evaluation.frozen import Frozen, Split, freeze, labels_of, sample
from hepfm.evaluation.splits import Opened, Splits
from hepfm.metrics.bootstrap import Figures
from hepfm.nn.encoder import Encoder
from hepfm.training.model import build
from hepfm.training.pretrained import Pretrained

Array = np.ndarray[Any, Any]
Say = Callable[[str], object]

_MOST_TO_CHOOSE_ON = 20_000

Judged = tuple[dict[str, Array], dict[str, Any]]
"""Statistics of the test events ``(B, ...)``, and what the record says of the fit."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A way to probe.

    Attributes:
        summary: One line.
        train_events: Labelled events, the fifth to choose on among them; None for all.
        test_events: None for all.
        last_layer: Whether the encoder's output alone is read.
        run: Fits and tests, of frozen features, splits and a seed.
        figures: Makes figures of the summed statistics.
    """

    summary: str
    train_events: int | None = None
    test_events: int | None = None
    last_layer: bool = False
    run: Callable[[Frozen, Splits, int], Judged]
    figures: Callable[[Frozen], Figures]


def initial(model: Pretrained) -> Encoder:
    """The encoder of a model's recipe with initial weights: what was not learned."""
    encoder: Encoder = build(model.recipe, model.modalities, model.about["precision"]).eval().encoder
    return encoder.to(model.encoder.part_embedding.weight.device)


def refuse_told(model: Pretrained, *, allow: bool) -> str:
    """What a model saw that a detector does not give; refused unless allowed.

    Raises:
        RecipeError: It saw the truth or labels.
    """
    if model.saw and not allow:
        raise RecipeError(
            f"The run was shown {'the truth' if model.saw == 'truth' else 'labels'} in training: figures of "
            "what it learned without would flatter.",
            where=f"checkpoint {model.folder}",
            fix="name a run that saw the detector's data alone; or --allow-truth, and figures are marked",
        )
    return model.saw


def one_probe(
    frozen: Frozen,
    splits: Splits,
    *,
    kind: Kind,
    rows: int | None = None,
    seed: int,
    absent: Literal["refuse", "miss"] = "refuse",
) -> tuple[Fitted, dict[str, Array]]:
    """Fits a probe, and tests it on all test events.

    Args:
        frozen: Encoder and head.
        splits: Events that are apart.
        kind: See `fit`.
        rows: Rows to fit to at most; by default `MOST_ROWS`.
        seed: Of the rows that are drawn, and of what the probe draws.
        absent: ``refuse`` or ``miss``: what to do about a class that is in no training event.

    Returns:
        The probe, and the head's statistics of the test events ``(B, ...)``.

    Raises:
        DataError: Labels or classes are missing, or features are not finite.
    """
    if frozen.answers == "classes" and absent == "refuse":
        _refuse_absent(frozen, splits)
    most = MOST_ROWS[kind] if rows is None else rows
    train = sample(frozen, splits.train, rows=most, seed=seed, purpose="train")
    val = sample(frozen, splits.val, rows=min(most, _MOST_TO_CHOOSE_ON), seed=seed, purpose="val")
    fitted = fit(kind, train, val, answers=frozen.answers, outputs=frozen.head.outputs, seed=seed)
    return fitted, tested(frozen, fitted, splits.test)


def tested(frozen: Frozen, fitted: Fitted, split: Split) -> dict[str, Array]:
    """The head's statistics ``(B, ...)`` of a probe's predictions for all rows of a split's events."""
    found: dict[str, list[Array]] = {}
    for batch in batches(split.source, indices=split.indices.tolist()):
        features = frozen.features(batch)
        outputs = torch.from_numpy(fitted.outputs(features.values.numpy()))
        prediction = frozen.head.from_outputs(Ragged(outputs, features.offsets))
        for name, values in frozen.task.statistics(prediction, batch).items():
            found.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in found.items()}


def plain(kind: Kind, rows: int | None = None) -> Protocol:
    """A probe of this kind, of at most so many rows (by default `MOST_ROWS`), with the head's own figures."""

    def run(frozen: Frozen, splits: Splits, seed: int) -> Judged:
        fitted, statistics = one_probe(frozen, splits, kind=kind, rows=rows, seed=seed)
        tried = [[dict(strength), score] for strength, score in fitted.tried]
        return statistics, {"chosen": dict(fitted.chosen), "tried": tried}

    def figures(frozen: Frozen) -> Figures:
        made: Figures = frozen.head.figures
        return made

    return Protocol(summary=f"{kind} probe", run=run, figures=figures)


@dataclass(frozen=True, kw_only=True)
class Probing:
    """What came of `probe`.

    Attributes:
        statistics: ``pretrained`` (and ``untrained``) to the statistics of each seed.
        figures: Of their sums.
        layers: That were read.
        fits: Of each, what the protocol says of the fit, for every seed.
        splits: Of each seed.
    """

    statistics: Mapping[str, Sequence[Mapping[str, Array]]]
    figures: Figures
    layers: Sequence[int]
    fits: Mapping[str, Sequence[Mapping[str, Any]]]
    splits: Sequence[Splits]


def probe(
    model: Pretrained,
    head: Mapping[str, Any],
    opened: Opened,
    protocol: Protocol,
    *,
    events: int | None = None,
    layers: Sequence[int] = (),
    seeds: Sequence[int] = (1,),
    untrained: bool = False,
    say: Say = lambda _: None,
) -> Probing:
    """Probes a model, and on demand one with initial weights, for several seeds.

    Args:
        model: Of a checkpoint.
        head: Name and options.
        opened: Labelled events.
        protocol: How: `plain`, or one of others.
        events: Labelled events to use; by default as many as the protocol asks for. A seed draws them.
        layers: See `freeze`; by default the protocol's.
        seeds: Of events, rows and probe.
        untrained: Whether initial weights are probed, too.
        say: Told what is done.

    Raises:
        DataError: See `one_probe`, `Opened.of` and `hepfm.evaluation.checks.check_labels`.
        RecipeError: See `freeze`.
    """
    if protocol.last_layer and not layers:
        layers = [int(model.encoder.backbone.n_layers)]
    encoders = {"pretrained": model.encoder} | ({"untrained": initial(model)} if untrained else {})
    arms = {
        arm: freeze(model, head, opened.train.modalities, layers=layers, encoder=encoder)
        for arm, encoder in encoders.items()
    }
    for named, source in opened.sources.items():
        check_labels(arms["pretrained"].task, model.encoder, source, where=opened.told[named])
    statistics: dict[str, list[Mapping[str, Array]]] = {arm: [] for arm in arms}
    fits: dict[str, list[Mapping[str, Any]]] = {arm: [] for arm in arms}
    drawn = []
    for seed in seeds:
        wanted = protocol.train_events if events is None else events
        splits = opened.of(wanted, seed=seed, test_events=protocol.test_events)
        drawn.append(splits)
        for arm, frozen in arms.items():
            say(f"{protocol.summary}, {arm}, seed {seed}: {len(splits.train.indices)} events to fit to ...")
            found, told = protocol.run(frozen, splits, seed)
            statistics[arm].append(found)
            fits[arm].append(told)
    of = arms["pretrained"]
    return Probing(
        statistics=statistics, figures=protocol.figures(of), layers=of.layers, fits=fits, splits=drawn
    )


def _refuse_absent(frozen: Frozen, splits: Splits) -> None:
    """`DataError` where test events have rows of a class that no training event has."""
    counts = {}
    for name, split in (("train", splits.train), ("test", splits.test)):
        counts[name] = np.zeros(frozen.head.outputs, np.int64)
        for _, targets in labels_of(frozen, split):
            known = targets.values[targets.values >= 0].numpy()
            counts[name] += np.bincount(known, minlength=frozen.head.outputs)
    lacking = np.flatnonzero((counts["test"] > 0) & (counts["train"] == 0))
    if counts["train"].sum() and len(lacking):
        names = ", ".join(frozen.names[index] for index in lacking)
        raise DataError(
            f"No training event has a row of the class {names}, which test events have.",
            where=splits.train.places,
            fix="name more events to train on, with --train or --events, or draw others with --seeds",
        )
