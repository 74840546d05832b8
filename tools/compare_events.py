# ruff: noqa: INP001
"""What sets simulated 3D images apart from those of another simulation: figures of events, and a classifier.

``python tools/compare_events.py REFERENCE... --ours STORE --out FOLDER`` writes ``comparison.json``,
``comparison.md`` and a picture of the figures' distributions. Figures are of voxels above 0.13 MeV,
PILArNet's cut. The classifier (gradient-boosted trees on all figures, five folds) says how well the two can
be told apart: an area of 0.5 under its curve is not at all.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.spatial import cKDTree
from scipy.stats import ks_2samp, wasserstein_distance
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.inspection import permutation_importance
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from hepfm.readers.sniff import open_reader

CUT_MEV = 0.13
CLASSES = ("shower", "track", "Michel", "delta", "LED")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def events(paths: list[Path]) -> Iterator[dict[str, Any]]:
    """Voxels above the cut of each event, with their truth."""
    for path in paths:
        reader = open_reader(path)
        for start in range(0, len(reader), 100):
            batch = reader.read(np.arange(start, min(start + 100, len(reader))))
            for row in range(len(batch)):
                sample = batch.event(row)
                voxels = sample.parts["image3d"]["voxels"] | sample.labels["image3d"]["voxels"]
                kept = voxels["energy_mev"] > CUT_MEV
                yield {name: column[kept] for name, column in voxels.items()}


def figures(event: dict[str, Any]) -> dict[str, float]:
    """Summary figures of an event."""
    xyz, energy = event["voxel"].astype(float), event["energy_mev"].astype(float)
    semantic, fragment, group = event["semantic"], event["fragment"], event["group"]
    found = {"voxels": float(len(energy)), "energy [MeV]": energy.sum()}
    for value, name in enumerate(CLASSES):
        rows = semantic == value
        found[f"{name} voxels"] = float(rows.sum())
        found[f"{name} energy [MeV]"] = energy[rows].sum()
        found[f"{name} fragments"] = float(len(np.unique(fragment[rows])))
        if name in ("shower", "track", "LED"):
            for q in QUANTILES:
                value_mev = np.quantile(energy[rows], q) if rows.sum() > 5 else np.nan
                found[f"{name} voxel energy, {100 * q:g} % [MeV]"] = value_mev
    charge = event["electrons"].sum() / max(energy.sum(), 1e-9)
    found["electrons per MeV"] = charge
    if len(xyz) > 1:
        near = cKDTree(xyz).query_ball_point(xyz, 1.8, return_length=True) - 1
        for value, name in ((0, "shower"), (1, "track")):
            rows = semantic == value
            found[f"{name} neighbours"] = near[rows].mean() if rows.any() else np.nan
    led, objects = semantic == 4, semantic != 4
    if led.any() and objects.any():
        distance, _ = cKDTree(xyz[objects]).query(xyz[led])
        found["LED to nearest object, median [voxels]"] = float(np.median(distance))
        found["LED to nearest object, 90 % [voxels]"] = float(np.quantile(distance, 0.9))
    for value, name in ((0, "shower"), (1, "track")):
        found |= _shape(xyz, energy, group, semantic == value, name)
    return found


def _shape(xyz: Any, energy: Any, group: Any, rows: Any, name: str) -> dict[str, float]:
    """Length and spread of the largest group of a class."""
    if rows.sum() < 10:
        return {}
    groups, counts = np.unique(group[rows], return_counts=True)
    chosen = rows & (group == groups[counts.argmax()])
    if chosen.sum() < 10:
        return {}
    at, weight = xyz[chosen], energy[chosen]
    centred = at - np.average(at, axis=0, weights=weight)
    covariance = np.cov(centred.T, aweights=weight)
    values, axes = np.linalg.eigh(covariance)
    along = centred @ axes[:, -1]
    across = np.linalg.norm(centred - np.outer(along, axes[:, -1]), axis=1)
    return {
        f"largest {name}, voxels": float(chosen.sum()),
        f"largest {name}, length [voxels]": float(np.ptp(along)),
        f"largest {name}, spread along [voxels]": float(np.sqrt(values[-1])),
        f"largest {name}, spread across [voxels]": float(np.sqrt(values[0] + values[1])),
        f"largest {name}, 90 % of energy within [voxels]": float(_weighted_quantile(across, weight, 0.9)),
        f"largest {name}, energy a voxel [MeV]": float(weight.mean()),
    }


def _weighted_quantile(values: Any, weights: Any, q: float) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, q * total[-1])])


def table_of(paths: list[Path]) -> tuple[list[str], Any]:
    """Names of figures, and their values ``(events, figures)``."""
    rows = [figures(event) for event in events(paths)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return names, np.array([[row.get(name, np.nan) for name in names] for row in rows])


def auc(ours: Any, theirs: Any) -> tuple[float, float, Any]:
    """Area under the curve of the classifier, its bootstrap error, and each figure's importance."""
    x = np.concatenate((ours, theirs))
    y = np.repeat((1, 0), (len(ours), len(theirs)))
    model = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.06, random_state=0)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    score = cross_val_predict(model, x, y, cv=folds, method="predict_proba")[:, 1]
    rng = np.random.default_rng(0)
    spread = [roc_auc_score(y[some], score[some]) for some in rng.integers(0, len(y), (200, len(y)))]
    importance = permutation_importance(
        model.fit(x[::2], y[::2]), x[1::2], y[1::2], scoring="roc_auc", n_repeats=3, random_state=0
    ).importances_mean
    return float(roc_auc_score(y, score)), float(np.std(spread)), importance


def main() -> None:
    """Compares, and writes what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reference", nargs="+", type=Path)
    parser.add_argument("--ours", nargs="+", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    names, theirs = table_of(given.reference)
    our_names, ours = table_of(given.ours)
    ours = ours[:, [our_names.index(name) for name in names]]
    area, error, importance = auc(ours, theirs)
    lines = []
    for k, name in enumerate(names):
        a, b = (values[np.isfinite(values[:, k]), k] for values in (ours, theirs))
        test = ks_2samp(a, b)
        lines.append(
            {
                "figure": name,
                "ours": [float(a.mean()), float(a.std() / np.sqrt(len(a)))],
                "reference": [float(b.mean()), float(b.std() / np.sqrt(len(b)))],
                "ks": float(test.statistic),
                "p": float(test.pvalue),
                "wasserstein over spread": float(wasserstein_distance(a, b) / max(b.std(), 1e-12)),
                "importance": float(importance[k]),
            }
        )
    result = {"events": [len(ours), len(theirs)], "auc": area, "auc_error": error, "figures": lines}
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "comparison.json").write_text(json.dumps(result, indent=1) + "\n")
    (given.out / "comparison.md").write_text(_markdown(result))
    _picture(names, ours, theirs, given.out / "comparison.png")
    print(_markdown(result))  # noqa: T201


def _markdown(result: dict[str, Any]) -> str:
    head = (
        "| figure | hepfm | reference | KS | p | Wasserstein / spread | importance |\n|" + 7 * "---|" + "\n"
    )
    rows = (
        f"| {line['figure']} | {line['ours'][0]:.4g} ± {line['ours'][1]:.1g} | {line['reference'][0]:.4g} ± "
        f"{line['reference'][1]:.1g} | {line['ks']:.3f} | {line['p']:.1g} | "
        f"{line['wasserstein over spread']:.3f} | {line['importance']:.3f} |\n"
        for line in sorted(result["figures"], key=lambda line: -line["ks"])
    )
    ours, theirs = result["events"]
    return (
        f"Classifier: area under the curve {result['auc']:.3f} ± {result['auc_error']:.3f} "
        f"({ours} events of hepfm, {theirs} of the reference).\n\n{head}{''.join(rows)}"
    )


def _picture(names: list[str], ours: Any, theirs: Any, path: Path) -> None:
    columns = 6
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.4 * rows), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    for k, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, k + 1)
        both = [values[np.isfinite(values[:, k]), k] for values in (ours, theirs)]
        low, high = np.quantile(np.concatenate(both), [0.005, 0.995])
        bins = np.linspace(low, high + 1e-9, 30)
        for values, label, colour in zip(both, ("hepfm", "reference"), ("#0072B2", "#E69F00"), strict=True):
            axes.hist(values, bins, density=True, histtype="step", label=label, color=colour)
        axes.set_title(name, fontsize=8)
        axes.tick_params(labelsize=7)
    figure.axes[0].legend(fontsize=7)
    figure.savefig(path)


if __name__ == "__main__":
    main()
