"""How others probe, step by step, so that figures can be set beside theirs.

Legend of shapes: B events, N points, T tokens, W width, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch

from hepfm.api import Batch, Ragged
from hepfm.data.batches import batches
from hepfm.errors import DataError, RecipeError
from hepfm.evaluation.fit import fit
from hepfm.evaluation.frozen import Frozen, Split, drawn_rows, sample
from hepfm.evaluation.probe import Judged, Protocol
from hepfm.evaluation.splits import Splits
from hepfm.metrics.bootstrap import Figures
from hepfm.metrics.classes import class_figures, confusion
from hepfm.nn.ragged import only_part
from hepfm.objectives.units import units_as_they_are
from hepfm.random import Draws

Array = np.ndarray[Any, Any]
_WITHOUT = "led"
"""The class of low-energy deposits, which PoLAr-MAE leaves out."""
_TOKENS = 15_000
_TRAIN_EACH, _TEST_EACH = 4_000, 1_000
"""Points of a class: 5,000, split as the events are, four to one."""
_ALL_ROWS = 2**62


def polar_mae_svm(frozen: Frozen, splits: Splits, seed: int) -> Judged:
    """Which classes a token contains, by linear SVMs (PoLAr-MAE; Young et al., arXiv:2502.02558).

    Nothing is hidden. A token's target is the set of classes of its points, low-energy deposits (LED) left
    out; tokens without any are left out. At most 15,000 tokens a side are drawn, features are reduced to 128
    by PCA, and each class has a linear SVM of its own with C = .005 and balanced weights. Nothing is chosen,
    so the validation events are fitted to, as well.

    Raises:
        DataError: A class is in no, or in every, training token.
        RecipeError: The head's points are not in tokens.
    """
    from sklearn.decomposition import PCA
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.svm import LinearSVC

    kept = _kept(frozen)
    sides = (splits.train, splits.val)
    total = sum(len(side.indices) for side in sides)
    x, y = [], []
    for side in sides:
        share = round(_TOKENS * len(side.indices) / total)
        for _, features, classes, keep in _tokens(frozen, side, share, seed, "train"):
            x.append(features.values[keep])
            y.append(classes[keep])
    x_TW, y_TC = np.concatenate(x), np.concatenate(y)
    for column, name in zip(y_TC.T, (frozen.names[index] for index in kept), strict=True):
        if column.all() or not column.any():
            raise DataError(
                f"{'Every' if column.any() else 'No'} training token contains the class {name}: there is "
                "nothing to tell apart.",
                where=f"{splits.train.place(0)}, and {total - 1} further events",
                fix="name other or more events with --train",
            )
    reduced = PCA(min(128, *x_TW.shape), random_state=0).fit(x_TW)
    machines = OneVsRestClassifier(LinearSVC(C=0.005, class_weight="balanced", random_state=0))
    machines.fit(reduced.transform(x_TW), y_TC)
    counts = []
    for batch, features, classes, keep in _tokens(frozen, splits.test, _TOKENS, seed, "test"):
        event = np.repeat(np.arange(len(batch)), features.lengths)[keep]
        hits_BC3 = np.zeros((len(batch), len(kept), 3))
        if len(event):
            truth, found = classes[keep], machines.predict(reduced.transform(features.values[keep])) > 0
            for column, which in enumerate((truth & found, ~truth & found, truth & ~found)):
                np.add.at(hits_BC3[:, :, column], event, which)
        counts.append(hits_BC3)
    return {"hits": np.concatenate(counts)}, {"tokens": len(x_TW), "pca": int(reduced.n_components_)}


def _polar_figures(frozen: Frozen) -> Figures:
    names = [frozen.names[index] for index in _kept(frozen)]

    def figures(sums: Mapping[str, Array]) -> dict[str, float]:
        found, f1 = {}, []
        for name, (right, wrong, missed) in zip(names, sums["hits"], strict=True):
            if right + wrong + missed:
                f1.append(float(2 * right / (2 * right + wrong + missed)))
                found[f"f1/{name}"] = f1[-1]
        return found | ({"macro_f1": sum(f1) / len(f1)} if f1 else {})

    return figures


def _bnl(kind: Literal["svm", "mlp"]) -> Callable[[Frozen, Splits, int], Judged]:
    def run(frozen: Frozen, splits: Splits, seed: int) -> Judged:
        """Points of all classes in equal numbers, 400 events against 100."""
        train = sample(
            frozen, splits.train, rows=_ALL_ROWS, per_class=_TRAIN_EACH, seed=seed, purpose="train"
        )
        val = sample(frozen, splits.val, rows=_ALL_ROWS, per_class=_TEST_EACH, seed=seed, purpose="val")
        n_classes = frozen.head.outputs
        fitted = fit(kind, train, val, answers="classes", outputs=n_classes, seed=seed)
        keep = drawn_rows(
            frozen, splits.test, rows=_ALL_ROWS, per_class=_TEST_EACH, seed=seed, purpose="test"
        )
        tables, first = [], 0
        for batch in batches(splits.test.source, indices=splits.test.indices.tolist()):
            features = frozen.features(batch)
            drawn = keep[first : first + len(features.values)]
            first += len(drawn)
            truth = np.where(drawn, frozen.head.targets(batch).values.numpy(), -1)
            found = fitted.outputs(features.values.numpy()).argmax(1)
            tables.append(confusion(truth, found, features.offsets.numpy(), n_classes))
        return {"confusion": np.concatenate(tables)}, {"rows": len(train.y), "chosen": dict(fitted.chosen)}

    return run


def _class_figures(frozen: Frozen) -> Figures:
    return lambda sums: class_figures(sums["confusion"], frozen.names)


_BNL = Protocol(
    summary="",
    train_events=400,
    test_events=100,
    run=_bnl("svm"),
    figures=_class_figures,
)
PROTOCOLS: Mapping[str, Protocol] = {
    "polar-mae-svm": Protocol(
        summary="PoLAr-MAE's token SVM: which classes a token contains",
        last_layer=True,
        run=polar_mae_svm,
        figures=_polar_figures,
    ),
    "bnl-svm": replace(_BNL, summary="BNL's unified probe, 400 against 100 events, linear SVM"),
    "bnl-mlp": replace(_BNL, summary="BNL's unified probe, 400 against 100 events, MLP", run=_bnl("mlp")),
}
"""Name to protocol."""


def _kept(frozen: Frozen) -> list[int]:
    if frozen.answers != "classes":
        raise RecipeError("The protocol is of classes, and the task's answers are values.", where="--task")
    return [index for index, name in enumerate(frozen.names) if name.casefold() != _WITHOUT]


def _tokens(
    frozen: Frozen, split: Split, most: int, seed: int, purpose: str
) -> Iterator[tuple[Batch, Ragged, Array, Array]]:
    """Batches of events: tokens ``(T, W)``, classes in each ``(T, C)`` bool, and which are drawn ``(T,)``."""
    numbers = []
    for batch in batches(split.source, indices=split.indices.tolist()):
        _, classes, offsets = _classes_of_tokens(frozen, batch)
        draws = Draws(seed=seed, epoch=purpose, event_ids=batch.event_ids.numpy())
        numbers.append(np.where(classes.any(1), draws.per_item("token", offsets.numpy()), np.inf))
    number = np.concatenate(numbers)
    keep = np.zeros(len(number), bool)
    keep[np.argsort(number, kind="stable")[:most]] = True
    keep &= np.isfinite(number)
    first = 0
    for batch in batches(split.source, indices=split.indices.tolist()):
        x, classes, offsets = _classes_of_tokens(frozen, batch)
        yield batch, Ragged(x.numpy(), offsets.numpy()), classes, keep[first : first + len(x)]
        first += len(x)


@torch.no_grad()
def _classes_of_tokens(frozen: Frozen, batch: Batch) -> tuple[torch.Tensor, Array, torch.Tensor]:
    """Encoded tokens ``(T, W)`` of the head's part, the classes in each ``(T, C)``, and their offsets."""
    encoder, part = frozen.encoder, frozen.head.part
    tokenizer: Any = list(encoder.tokenizers)[encoder.parts.index(part)] if part else None
    if "points" not in frozen.head.needs or not hasattr(tokenizer, "unit"):
        raise RecipeError(
            "The protocol is of tokens that contain points, and the task's are none.",
            where="--task, --protocol",
            fix="name a task of points in cells, such as semantic on a 3D image",
        )
    units = units_as_they_are(batch, frozen.task.modalities, frozen.device)
    encoded = encoder(units, layers=frozen.layers)
    tokens = only_part(encoded, encoder.parts.index(part)) if len(encoder.parts) > 1 else encoded
    in_token = tokenizer.unit(encoded.points[part])[:, None]
    unit = tokenizer.rows(units[part], in_token).values[:, 0].cpu()
    target = frozen.head.targets(batch).values
    known = target >= 0
    classes = torch.zeros(len(tokens.x), frozen.head.outputs, dtype=torch.bool)
    classes[unit[known], target[known]] = True
    return tokens.x.float().cpu(), classes[:, _kept(frozen)].numpy(), tokens.offsets.cpu()
