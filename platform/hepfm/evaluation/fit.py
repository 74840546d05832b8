"""Models of scikit-learn on frozen features, their strength chosen on other events than they are fitted to.

Features are centred and made independent of each other first: then the solvers are done in a tenth of the
rounds, and no model depends on the features' units.

Legend of shapes: N rows, D width of the features, E width that is kept, C classes, K values.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hepfm.errors import DataError
from hepfm.evaluation.frozen import Rows

Array = np.ndarray[Any, Any]
Kind = Literal["linear", "knn", "mlp", "svm"]
Answers = Literal["classes", "values"]

MOST_ROWS: Mapping[Kind, int] = {"linear": 200_000, "knn": 50_000, "mlp": 100_000, "svm": 20_000}
"""Rows that are fitted to by default: what one core does in about a minute, 300 features wide."""
_WIDTH: Mapping[Kind, int | None] = {"linear": None, "knn": 64, "mlp": None, "svm": 128}
"""Widest features, of the directions of largest variance: kNN and SVM take time in proportion."""
_RIDGE = 1e-3
"""Added to the variances, which are 1 before: directions that hold nothing are not blown up."""

STRENGTHS: Mapping[Kind, Sequence[Mapping[str, Any]]] = {
    "linear": [{"l2": value} for value in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)],
    "knn": [{"k": value} for value in (5, 15, 45)],
    "mlp": [{"l2": value} for value in (1e-4, 1e-2)],
    "svm": [{"C": value} for value in (5e-4, 5e-3, 5e-2)],
}
"""What is tried. ``l2`` is the weight of the squared norm, beside the mean loss of a row."""


@dataclass(frozen=True, kw_only=True)
class Whitening:
    """Features to independent ones of variance 1: ``(x - mean) @ matrix``."""

    mean: Array
    """``(D,)``"""
    matrix: Array
    """``(D, E)``"""

    @classmethod
    def of(cls, x: Array, width: int | None = None) -> Whitening:
        """Of features ``(N, D)``; only the ``width`` directions of largest variance, where it is given."""
        mean, spread = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
        scale = 1 / np.where(spread > 1e-6 * (1 + np.abs(mean)), spread, np.inf)  # a constant tells nothing
        scaled = ((x - mean.astype(np.float32)) * scale.astype(np.float32)).astype(np.float32)
        variance, directions = np.linalg.eigh((scaled.T @ scaled).astype(np.float64) / len(x))
        order = np.argsort(variance)[::-1][:width]
        matrix = scale[:, None] * directions[:, order] / np.sqrt(variance[order].clip(0) + _RIDGE)
        return cls(mean=mean.astype(np.float32), matrix=matrix.astype(np.float32))

    def __call__(self, x: Array) -> Array:
        """``(N, D)`` to ``(N, E)``, float32."""
        return np.asarray((x - self.mean) @ self.matrix)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A model that was fitted and chosen.

    Attributes:
        model: Of scikit-learn.
        whitening: Of its features.
        outputs_of: Classes (C) or values (K) that it tells.
        scale: Mean and spread of the values ``(2, K)``; None for classes.
        chosen: Its strength.
        tried: The score of each strength on the validation rows: macro F1, or R2.
    """

    model: Any
    whitening: Whitening
    outputs_of: int
    scale: Array | None
    chosen: Mapping[str, Any]
    tried: Sequence[tuple[Mapping[str, Any], float]]

    def outputs(self, x: Array) -> Array:
        """``(N, C)`` logarithms of probabilities (of an SVM: of nothing but its decision), or ``(N, K)``."""
        white = self.whitening(x)
        if self.scale is not None:
            values = np.asarray(self.model.predict(white), np.float32).reshape(len(x), -1)
            return np.asarray(values * self.scale[1] + self.scale[0], np.float32)
        if hasattr(self.model, "predict_proba"):
            with np.errstate(divide="ignore"):
                logs = np.log(self.model.predict_proba(white))
        else:
            decision = self.model.decision_function(white)
            logs = np.stack([-decision, decision], 1) if decision.ndim == 1 else decision
            logs = logs - np.logaddexp.reduce(logs, 1, keepdims=True)
        full = np.full((len(x), self.outputs_of), -np.inf, np.float32)
        full[:, self.model.classes_] = logs
        return full


def fit(kind: Kind, train: Rows, val: Rows, *, answers: Answers, outputs: int, seed: int) -> Fitted:
    """Fits a model with each strength, and keeps the one that does best on the validation rows.

    Args:
        kind: ``linear`` (logistic or ridge regression), ``knn``, ``mlp`` (a hidden layer of 128) or ``svm``.
        train: Rows to fit to.
        val: Rows to choose on.
        answers: Whether targets are classes or values.
        outputs: How many of them.
        seed: Of what the model draws.

    Raises:
        DataError: The training rows are all of one class.
    """
    y, scale = train.y, None
    if answers == "values":
        scale = np.stack([y.mean(0), y.std(0) + 1e-12]).astype(np.float32)
        y = (y - scale[0]) / scale[1]
    elif len(np.unique(y)) < 2:
        raise DataError(
            f"All {len(y)} training rows are of one class: there is nothing to tell apart.",
            fix="name more events to train on, with --train or --events",
        )
    whitening = Whitening.of(train.x, _WIDTH[kind])
    x = whitening(train.x)
    tried: list[tuple[Mapping[str, Any], float]] = []
    best: Fitted | None = None
    last: Any = None
    for strength in STRENGTHS[kind]:
        model = _model(kind, answers, strength, rows=len(x), seed=seed)
        if kind == "linear" and answers == "classes" and tried:  # begins where the stronger one ended
            model = copy.deepcopy(last).set_params(C=model.C, warm_start=True)
        with warnings.catch_warnings():
            # Rounds are bounded on purpose; what was not reached by then shows in the score.
            warnings.filterwarnings("ignore", category=_convergence())
            model.fit(x, y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y)
        made = Fitted(
            model=model, whitening=whitening, outputs_of=outputs, scale=scale, chosen=strength, tried=()
        )
        score, last = _score(made, val, answers), model
        if not tried or score > max(value for _, value in tried):
            best = made
        tried.append((strength, score))
    assert best is not None
    return Fitted(**{**best.__dict__, "tried": tried})


def _model(kind: Kind, answers: Answers, strength: Mapping[str, Any], *, rows: int, seed: int) -> Any:
    from sklearn import linear_model, multioutput, neighbors, neural_network, svm

    classes = answers == "classes"
    if kind == "linear":
        if classes:
            return linear_model.LogisticRegression(C=1 / (strength["l2"] * rows), max_iter=100)
        return linear_model.Ridge(alpha=strength["l2"] * rows)
    if kind == "knn":
        nearest = neighbors.KNeighborsClassifier if classes else neighbors.KNeighborsRegressor
        return nearest(min(strength["k"], rows), algorithm="brute")
    if kind == "mlp":
        network = neural_network.MLPClassifier if classes else neural_network.MLPRegressor
        batch = min(max(rows // 100, 32), 1024, rows)
        options = {"alpha": strength["l2"], "batch_size": batch, "max_iter": 20}
        return network(hidden_layer_sizes=(128,), random_state=seed, **options)
    if classes:
        return svm.LinearSVC(C=strength["C"], class_weight="balanced", random_state=seed)
    return multioutput.MultiOutputRegressor(svm.LinearSVR(C=strength["C"], random_state=seed))


def _convergence() -> type[Warning]:
    from sklearn.exceptions import ConvergenceWarning

    category: type[Warning] = ConvergenceWarning
    return category


def _score(fitted: Fitted, val: Rows, answers: Answers) -> float:
    from sklearn.metrics import f1_score, r2_score

    outputs = fitted.outputs(val.x)
    if answers == "values":
        return float(r2_score(val.y, outputs)) if len(val.y) > 1 else -float(np.square(outputs - val.y).sum())
    return float(f1_score(val.y, outputs.argmax(1), average="macro", zero_division=0.0))
