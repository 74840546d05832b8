"""What an encoder has learned: semantic classes of voxels by logistic regression on its frozen features.

``python -m benchmarks.linear_probe CHECKPOINT TRAIN TEST`` fits on the first 150 events of TRAIN (a folder or
file with labels) and prints log-loss and F1 on the first 100 of TEST, or on all if there are fewer;
``--untrained`` takes initial weights.

Legend of shapes: N voxels, F features, K classes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from hepfm.data.source import EventSource, open_source
from hepfm.data.tensors import to_torch
from hepfm.nn.encoder import Encoder
from hepfm.recipe.load import from_dict
from hepfm.recipe.schema import Recipe
from hepfm.training.model import build, resolve_precision
from hepfm.training.weights import load_weights

PART, COLUMN = "image3d", "semantic"
AT_ONCE = 10


@torch.no_grad()
def features(
    encoder: Encoder, source: EventSource, n_events: int, precision: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """``(N, F)`` float32 features of voxels, of three layers (second, middle, last); labels ``(N,)``."""
    last = encoder.backbone.n_layers
    layers = sorted({min(2, last), (last + 3) // 2, last})
    x, labels, n_events = [], [], min(n_events, len(source))
    for start in range(0, n_events, AT_ONCE):
        batch = source.read(np.arange(start, min(start + AT_ONCE, n_events)), labels=True)
        units = {PART: source.modalities[PART].units(to_torch(batch).parts[PART])}
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            points = encoder.features(units, needs=("points",), part=PART, layers=layers).points
            x.append(points.x.float())
        labels.append(torch.from_numpy(batch.labels[PART]["voxels"].columns[COLUMN].astype(np.int64)))
    return torch.cat(x), torch.cat(labels)


def fit(x: torch.Tensor, labels: torch.Tensor, n_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights ``(F, K)`` and biases ``(K,)`` of a logistic regression, on standardised features."""
    # On features without correlation, L-BFGS is done in tens of rounds.
    covariance = (x.T @ x).double() / len(x) + 1e-3 * torch.eye(x.shape[1], dtype=torch.float64)
    decorrelate = torch.linalg.inv(torch.linalg.cholesky(covariance)).T.float()
    weights, biases = torch.zeros(x.shape[1], n_classes), torch.zeros(n_classes)
    parameters = [weights.requires_grad_(), biases.requires_grad_()]
    search = torch.optim.LBFGS(parameters, max_iter=40, history_size=20, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        search.zero_grad()
        direct = decorrelate @ weights
        value = cross_entropy(x @ direct + biases, labels) + 1e-4 * direct.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    search.step(loss)  # type: ignore[no-untyped-call]
    return (decorrelate @ weights).detach(), biases.detach()


def f1(labels: torch.Tensor, found: torch.Tensor, n_classes: int) -> list[float]:
    """F1 of each class."""
    scores = []
    for c in range(n_classes):
        both = int(((labels == c) & (found == c)).sum())
        scores.append(2 * both / max(1, int((labels == c).sum()) + int((found == c).sum())))
    return scores


def main() -> None:
    """Prints one line of figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="a checkpoint's folder")
    parser.add_argument("train", help="labelled events to fit on")
    parser.add_argument("test", help="labelled events to test on")
    parser.add_argument("--untrained", action="store_true", help="initial weights, as a control")
    arguments = parser.parse_args()
    facts = json.loads((arguments.checkpoint / "model.json").read_text(encoding="utf-8"))
    recipe: Recipe = from_dict(facts["recipe"]).recipe
    train, test = (open_source(path, parts=recipe.data.parts) for path in (arguments.train, arguments.test))
    precision = resolve_precision(recipe.train.precision, torch.device("cpu"))
    model = build(recipe, train.modalities, precision).eval()
    if not arguments.untrained:
        load_weights(model, arguments.checkpoint / "model.safetensors")
    x, labels = features(model.encoder, train, 150, precision)
    mean, spread = x.mean(0), x.std(0) + 1e-6
    n_classes = len(train.parts[PART].vocabularies[COLUMN])
    weights, biases = fit((x - mean) / spread, labels, n_classes)
    x, labels = features(model.encoder, test, 100, precision)
    scores = ((x - mean) / spread) @ weights + biases
    classes = f1(labels, scores.argmax(1), n_classes)
    print(
        f"macro F1 {sum(classes) / n_classes:.3f} ({' '.join(f'{value:.3f}' for value in classes)}), "
        f"log-loss {float(cross_entropy(scores, labels)):.3f}, {len(labels)} voxels, {x.shape[1]} features"
    )


if __name__ == "__main__":
    main()
