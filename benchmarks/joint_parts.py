"""What does a model of several parts learn of one part from the others?

``python -m benchmarks.joint_parts CHECKPOINT`` takes a run of ``lartpc/joint-tiny`` (or another of the
objective ``masked`` over several parts). Of each part it hides all, and shows the others whole: the event's
own, or those of the event after it. It prints each loss term, in its own units, on validation events: for a
prediction that knows only how units are on average, from the event's own parts, and from the other event's.
What is learned of one part from the others is the difference of the last two.

Beside the difference stands its error: the standard deviation of the mean over batches.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hepfm.api import Batch
from hepfm.data.source import Source, open_source
from hepfm.data.tensors import to_torch
from hepfm.objectives.masked import Masked
from hepfm.objectives.masks import PartMask
from hepfm.recipe.load import from_dict
from hepfm.training.model import PretrainModule, build, resolve_precision
from hepfm.training.validate import validation_plan
from hepfm.training.weights import load_weights

BATCH = 16

Floats = NDArray[np.float64]


def batches(source: Source, n_events: int, part: str) -> list[tuple[Batch, Batch]]:
    """Events as they are, and with the part of their own but all others of the next event."""
    made = []
    for start in range(0, n_events, BATCH):
        rows = np.arange(start, min(start + BATCH, n_events))
        own, other = source.read(rows), source.read(np.roll(rows, -1))
        mixed = {name: (own if name == part else other).parts[name] for name in own.parts}
        made.append((own, replace(own, parts=mixed)))
    return made


@torch.no_grad()
def sums_of(model: PretrainModule, batch: Batch, seed: int) -> dict[str, Floats]:
    """Of each term its sum as predicted, its sum without learning, and its count."""
    assert isinstance(model.objective, Masked)
    plan = validation_plan(model, to_torch(batch), seed, torch.device("cpu"))
    _, sums = model(plan, dict.fromkeys(model.objective.weights, 1.0))
    nothing = model.objective.baseline(plan)
    return {term: np.array([float(sums[term]), float(nothing[term]), plan.counts[term]]) for term in sums}


def main() -> None:
    """Prints a line for each term of each part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="a checkpoint's folder")
    parser.add_argument("--events", type=int, default=512, help="validation events (512)")
    arguments = parser.parse_args()
    about = json.loads((arguments.checkpoint / "model.json").read_text(encoding="utf-8"))
    recipe = from_dict(about["recipe"]).recipe
    assert recipe.data.val is not None, "the run had no validation events"
    source = open_source(recipe.data.val, parts=recipe.data.parts)
    precision = resolve_precision(recipe.train.precision, torch.device("cpu"))
    model = build(recipe, source.modalities, precision)
    load_weights(model, arguments.checkpoint / "model.safetensors")
    model.eval()
    objective = model.objective
    assert isinstance(objective, Masked)
    print(f"{'term':20} {'nothing':>9} {'own':>9} {'other':>9} {'other - own':>12}")
    for part in source.modalities:
        others = {name: PartMask(hide=0.0) for name in source.modalities if name != part}
        objective.config = objective.config.model_copy(update={"whole": {part: 1.0}, "parts": others})
        found: defaultdict[str, list[list[Floats]]] = defaultdict(list)
        for pair in batches(source, min(arguments.events, len(source)), part):
            of_own, of_other = (sums_of(model, batch, recipe.seed) for batch in pair)
            for term in of_own:
                if term.startswith(f"{part}/"):
                    found[term].append([of_own[term], of_other[term]])
        for term, pairs in found.items():
            own, other = np.array(pairs).transpose(1, 2, 0)
            value, nothing, swapped = own[0].sum(), own[1].sum(), other[0].sum()
            n = own[2].sum()
            # Each batch's difference from what its number of predictions makes expected.
            differs = other[0] - own[0] - (swapped - value) / n * own[2]
            error = np.sqrt((differs**2).sum()) / n
            print(
                f"{term:20} {nothing / n:9.4f} {value / n:9.4f} {swapped / n:9.4f} "
                f"{(swapped - value) / n:8.4f} +- {error:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
