"""How unlike ordinary events an event is, in the eyes of a pretrained model: scores, and what they are worth.

Reference events say what is usual. The scores of further ordinary events, to which nothing was fitted, turn a
score into a p-value: of an event like them it is even between 0 and 1, whatever the score (conformal p-value;
Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", Springer 2005).

Legend of shapes: B events, N reference events, D width of the features, S scores, R draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hepfm.errors import DataError
from hepfm.evaluation.evaluate import Evaluated
from hepfm.evaluation.scored import SCORED
from hepfm.metrics.bootstrap import ends
from hepfm.metrics.ranking import told_apart
from hepfm.readers.store import StoreReader

Array = np.ndarray[Any, Any]

FEWEST = 20
"""Reference events, and ordinary ones: with 19 no p-value is below .05."""
_ALIKE = 100
"""Reference events of an event's size, of which it is known what to expect."""
_NEIGHBOUR = 10
_RARE = 0.05
_SAME = "are the same for all reference events"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a model made of events.

    Attributes:
        event_ids: ``(B,)`` uint64.
        features: ``(B, D)`` pooled.
        units: ``(B,)`` of all parts; 0 for an empty event.
        error: ``(B,)`` mean loss of what was hidden; NaN where nothing was.
    """

    event_ids: Array
    features: Array
    units: Array
    error: Array

    @classmethod
    def read(cls, folder: Path) -> Seen:
        """Of a store that `hepfm.evaluation.writing` filled.

        Raises:
            DataError: Features of an event are not finite.
        """
        with StoreReader(folder) as reader:
            columns = reader.read(range(len(reader))).parts[SCORED]["events"].columns
            event_ids = reader.event_ids()
        features, units = columns["features"].astype(np.float64), columns["units"]
        wrong = event_ids[(units > 0) & ~np.isfinite(features).all(1)]
        if len(wrong):
            raise DataError(
                f"The model's features of {len(wrong)} of {len(event_ids)} events are not finite, so nothing "
                "can be said of them.",
                where=f"{folder}, event {wrong[0]:#018x}",
                fix="if it is all events, the weights are broken: choose another step with --step; else see "
                "what is odd about the event (hepfm data check), leave it out, and remove the folder",
            )
        error = np.where(columns["predicted"] > 0, columns["error"], np.nan)
        return cls(event_ids=event_ids, features=features, units=units, error=error)


class Usual:
    """What reference events say is usual.

    Scores, of which more is stranger:

    - ``error``: the loss of hidden units, less what is expected of an event of so many units, in units of the
      spread about that. Both are of the 100 reference events of the most similar number of units: a line over
      its logarithm, and 1.48 times the median distance from it;
    - ``gaussian``: the Mahalanobis distance of the pooled features from the reference's mean, with a shrunk
      covariance (Ledoit and Wolf, J. Multivariate Anal. 88 (2004) 365);
    - ``knn``: the distance to the tenth nearest reference event, each feature in units of its spread;
    - ``size``: how far the logarithm of the number of units is from its median. It needs no model: what the
      others are to be compared with.

    Features that are the same for all reference events are left out; where all are, only ``error`` and
    ``size`` are scores.

    Args:
        reference: Events, with finite features, of which the empty ones are left out.

    Raises:
        DataError: There are fewer than `FEWEST`.
    """

    def __init__(self, reference: Seen) -> None:
        from sklearn.covariance import LedoitWolf

        there = reference.units > 0
        if there.sum() < FEWEST:
            raise DataError(
                f"{there.sum()} reference events are not empty: too few to say what is usual.",
                fix=f"name {FEWEST} or more with --reference, better several hundred",
            )
        self._ids, features = reference.event_ids[there], reference.features[there]
        spread = features.std(0)
        self._kept = spread > 1e-6 * (1 + np.abs(features.mean(0)))  # a constant tells nothing
        self._scale = 1 / spread[self._kept]
        self._x = features[:, self._kept] * self._scale
        self._fitted = LedoitWolf().fit(self._x) if self.width else None
        self._log_units = float(np.median(np.log(reference.units[there])))
        known = np.isfinite(reference.error)
        self._units, self._error = np.log(reference.units[known]), reference.error[known]
        self._error_ids = reference.event_ids[known]

    @property
    def width(self) -> int:
        """Features that are not the same for all reference events."""
        return int(self._kept.sum())

    def doubts(self) -> list[str]:
        """What weakens the scores of features, in sentences."""
        if self._fitted is None:
            return [f"there are no scores 'gaussian' and 'knn': all features {_SAME}"]
        found, constant = [], len(self._kept) - self.width
        if constant:
            found.append(f"{constant} of {len(self._kept)} features {_SAME} and are left out")
        if len(self._x) < self.width:
            found.append(
                f"{len(self._x)} reference events are fewer than the {self.width} features: the "
                f"covariance is shrunk by {self._fitted.shrinkage_:.0%}"
            )
        return found

    def scores(self, seen: Seen) -> dict[str, Array]:
        """Score to ``(B,)`` float64; NaN where an event is empty, or nothing of it was hidden.

        A reference event among them is not compared with itself.
        """
        there = seen.units > 0
        full = {"error": self._unexpected(seen)} if len(self._error) >= FEWEST else {}
        found = {}
        if self._fitted is not None:
            x = seen.features[there][:, self._kept] * self._scale
            away, precision = x - self._fitted.location_, self._fitted.precision_
            found["gaussian"] = np.sqrt(np.einsum("bi,ij,bj->b", away, precision, away, optimize=True))
            found["knn"] = self._to_neighbour(x, seen.event_ids[there])
        found["size"] = np.abs(np.log(seen.units[there]) - self._log_units)
        for name, values in found.items():
            full[name] = np.full(len(there), np.nan)
            full[name][there] = values
        return full

    def _unexpected(self, seen: Seen) -> Array:
        score = np.full(len(seen.error), np.nan)
        for row in np.flatnonzero(np.isfinite(seen.error)):
            others = self._error_ids != seen.event_ids[row]
            away = self._units - np.log(seen.units[row])
            # Ties go by the error, so that the order of the reference events does not matter.
            order = np.lexsort((self._error, np.abs(away)))
            alike = order[others[order]][:_ALIKE]
            error, away = self._error[alike], away[alike] - away[alike].mean()
            slope = away @ error / max(away @ away, 1e-12)
            rest = error - error.mean() - slope * away
            spread = max(1.4826 * float(np.median(np.abs(rest))), 1e-12)
            at = np.log(seen.units[row]) - self._units[alike].mean()
            score[row] = (seen.error[row] - error.mean() - slope * at) / spread
        return score

    def _to_neighbour(self, x: Array, ids: Array) -> Array:
        from sklearn.neighbors import NearestNeighbors

        if not len(x):
            return np.empty(0)
        nearest = min(_NEIGHBOUR, len(self._x) - 1)
        found = NearestNeighbors(n_neighbors=nearest + 1, algorithm="brute").fit(self._x)
        distance, which = found.kneighbors(x)
        itself = self._ids[which] == ids[:, None]
        passed = np.where(itself, np.inf, distance)
        passed.sort(axis=1)
        last: Array = passed[:, nearest - 1]
        return last


def p_values(score: Array, ordinary: Array) -> Array:
    """``(B,)``: how likely an ordinary event scores as much or more; NaN for a score that is NaN.

    At least 1 over one more than there are ordinary events. See the module's docstring.

    Args:
        score: ``(B,)``.
        ordinary: Scores of ordinary events, to which nothing was fitted; NaN are left out.
    """
    known = np.sort(ordinary[np.isfinite(ordinary)])
    above = len(known) - np.searchsorted(known, score, "left")
    return np.where(np.isfinite(score), (1 + above) / (1 + len(known)), np.nan)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Scores of events, and what they are worth.

    Attributes:
        scores: Score to ``(B,)``.
        p: Score to the p-values ``(B,)``.
        ordinary: Score to those of the ordinary events.
        evaluated: Areas under the ROC curve, and shares of rare events, with intervals.
    """

    scores: Mapping[str, Array]
    p: Mapping[str, Array]
    ordinary: Mapping[str, Array]
    evaluated: Evaluated


def judge(usual: Usual, events: Seen, ordinary: Seen, *, level: float, draws: int, seed: int = 1) -> Judged:
    """Scores events, and compares them with ordinary ones.

    Figures: ``auc/SCORE``, how likely an event scores above an ordinary one; ``rare/SCORE``, the share of
    events with a p-value of .05 or less, of ordinary ones .05.

    Args:
        usual: Of reference events.
        events: To be scored.
        ordinary: Events that are no reference events.
        level: Probability that an interval covers.
        draws: R. Events of either kind are drawn again; events of one id, which are in both, together.
        seed: Of the draws.

    Raises:
        DataError: There are too few ordinary events, or all others are empty.
    """
    if (there := int((ordinary.units > 0).sum())) < FEWEST:
        raise DataError(
            f"Only {there} ordinary events are not empty: no p-value could be below {1 / (1 + there):.2g}.",
            fix=f"name {FEWEST} or more with --against, better several hundred",
        )
    if not events.units.any():
        raise DataError("All events are empty: there is nothing to score.", fix="name others with --data")
    scores, usually = usual.scores(events), usual.scores(ordinary)
    scores = {name: each for name, each in scores.items() if np.isfinite(each).any()}
    usually = {name: usually[name] for name in scores}
    p = {name: p_values(each, usually[name]) for name, each in scores.items()}
    figures, redrawn = {}, {}
    for name, score in scores.items():
        found = told_apart(
            score,
            usually[name],
            rare=_RARE,
            signal_ids=events.event_ids,
            background_ids=ordinary.event_ids,
            draws=draws if len(score) > 1 else 0,
            seed=seed,
        )
        for column, figure in enumerate(("auc", "rare")):
            figures[f"{figure}/{name}"] = float(found[0, column])
            if len(found) > 1:
                redrawn[f"{figure}/{name}"] = found[1:, column]
    statistics = {f"score/{name}": each for name, each in scores.items()}
    statistics |= {f"p/{name}": each for name, each in p.items()}
    statistics |= {"ordinary/event_id": ordinary.event_ids}
    statistics |= {f"ordinary/{name}": each for name, each in usually.items()}
    evaluated = Evaluated(
        figures=figures,
        intervals={name: ends(each, level) for name, each in redrawn.items()},
        redrawn=redrawn,
        statistics=statistics,
        event_ids=events.event_ids,
        counted=int((events.units > 0).sum()),
    )
    return Judged(scores=scores, p=p, ordinary=usually, evaluated=evaluated)
