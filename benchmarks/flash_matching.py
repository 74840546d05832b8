"""Flash matching without a model: which of 32 events' light belongs to an image, and which image to light?

``hepfm evaluate RUN`` says what a run of ``lartpc/flash-tiny`` finds. ``python -m benchmarks.flash_matching``
prints, for the same validation events, what needs no model: the mean of both directions, with the interval of
95 % of 2,000 resamplings of the groups.

- chance;
- total charge against total light: a line between their logarithms, fitted on training events;
- pattern of light: the likelihood of each photon detector's light, given what the simulation's own map of
  visibility expects of the energies and electrons in the voxels. No analysis of real data knows as much.

Legend of shapes: B events, V voxels, K photon detectors, S samples.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepfm.api import Batch
from hepfm.data.source import Source, open_source
from hepfm.evaluation.matching import ranks
from hepfm.recipe.load import load_recipe
from hepfm.recipe.schema import Generated
from hepfm_lartpc import argon
from hepfm_lartpc.detector import Detector, load_detector
from hepfm_lartpc.light.panels import Volume
from hepfm_lartpc.light.visibility import visibility_of

GROUP, FIT_EVENTS = 32, 512
FANO = 1.2
"""Variance of a number of photoelectrons over its mean: Poisson's, with crosstalk and unequal pulses."""
SPREAD = 0.03
"""Relative error of what is expected: voxels below the cut are missing, and the others have one place."""
NOISE_PE = 2.0
"""Error of a detector's photoelectrons from electronics."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Facts:
    """What is seen of events without learning, of those that have voxels.

    Attributes:
        electrons: ``(B,)`` of all voxels.
        light_adc: ``(B, K)`` sum of a detector's samples above the pedestal.
        expected_pe: ``(B, K)`` photoelectrons that the voxels should give.
    """

    electrons: Floats
    light_adc: Floats
    expected_pe: Floats


def facts_of(batch: Batch, detector: Detector) -> Facts:
    """The facts of a numpy batch with the parts image3d and light."""
    assert detector.light is not None
    panels = detector.light.panels()
    volumes = detector.light.volumes or [Volume(low_mm=detector.low_mm, high_mm=detector.high_mm)]
    visibility = visibility_of(panels, volumes, detector.light.optics)
    voxels, light = batch.parts["image3d"]["voxels"], batch.parts["light"]
    there = voxels.lengths > 0
    event = np.repeat(np.arange(len(batch)), voxels.lengths)
    energy, electrons = (voxels.columns[name].astype(np.float64) for name in ("energy_mev", "electrons"))
    place_mm = np.array(detector.image.origin_mm) + (voxels.columns["voxel"] + 0.5) * detector.image.voxel_mm
    quanta = energy * 1e6 / argon.W_ION_EV * (1 + argon.EXCITON_RATIO)
    seen = visibility(place_mm)[0] * np.array([panel.efficiency for panel in panels])
    expected = np.zeros((len(batch), len(panels)))
    np.add.at(expected, event, np.maximum(quanta - electrons, 0.0)[:, None] * seen)
    traces, samples = light["traces"].columns, light["samples"].columns["adc"].astype(np.float64)
    start = np.cumsum(traces["n_samples"]) - traces["n_samples"]
    height = np.add.reduceat(samples, start) - traces["n_samples"] * traces["pedestal_adc"]
    of_detector = np.zeros_like(expected)
    np.add.at(
        of_detector,
        (np.repeat(np.arange(len(batch)), light["traces"].lengths), traces["channel"]),
        height,
    )
    charge = np.bincount(event, electrons, len(batch))
    return Facts(charge[there], of_detector[there], expected[there])


class TotalCharge:
    """Total light is a power of total charge, times a factor that spreads."""

    def __init__(self, fitted: Facts) -> None:
        charge, light = _logarithms(fitted)
        self.slope, self.offset = np.polyfit(charge, light, 1)

    def scores(self, facts: Facts) -> Floats:
        """``(B, B)``: how well the light of each event (column) fits the charge of each (row)."""
        charge, light = _logarithms(facts)
        distance: Floats = np.abs((self.slope * charge + self.offset)[:, None] - light)
        return -distance


class Pattern:
    """The light of each detector is what is expected of the voxels, within errors."""

    def __init__(self, fitted: Facts) -> None:
        self.adc_per_pe = np.median(fitted.light_adc.sum(1) / fitted.expected_pe.sum(1))

    def scores(self, facts: Facts) -> Floats:
        """``(B, B)``: log-likelihood of each event's light (column), given each image (row)."""
        found, expected = facts.light_adc / self.adc_per_pe, facts.expected_pe[:, None]
        variance = FANO * expected + (SPREAD * expected) ** 2 + NOISE_PE**2
        likelihood: Floats = -((found - expected) ** 2 / variance + np.log(variance)).sum(2) / 2
        return likelihood


def _logarithms(facts: Facts) -> tuple[Floats, Floats]:
    return np.log(np.maximum(facts.electrons, 1.0)), np.log(np.maximum(facts.light_adc.sum(1), 1.0))


def found_by(scores: Floats) -> float:
    """How many events' other side scores highest, alone: the mean of both directions."""
    return float(ranks(scores)[:, :, 0].sum()) / 2


def interval(found: Floats, of: Floats) -> tuple[float, float]:
    """Where 95 % of the shares lie when the groups are drawn again."""
    groups = np.random.default_rng(1).integers(0, len(of), (2000, len(of)))
    low, high = np.quantile(found[groups].sum(1) / of[groups].sum(1), (0.025, 0.975))
    return float(low), float(high)


def read(source: Source, n_events: int) -> Iterator[Batch]:
    """The first events, a group at a time."""
    for start in range(0, min(n_events, len(source)), GROUP):
        yield source.read(np.arange(start, min(start + GROUP, n_events, len(source))))


def main() -> None:
    """Prints a line for each method."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=2048, help="validation events (2048)")
    arguments = parser.parse_args()
    recipe = load_recipe("lartpc/flash-tiny").recipe
    made = recipe.data.val
    assert isinstance(made, Generated), "the references need the generator's detector"
    detector = load_detector(made.options()["detector"])
    train, val = (open_source(spec, parts=recipe.data.parts) for spec in (recipe.data.train, made))
    fitted = facts_of(train.read(np.arange(FIT_EVENTS)), detector)
    methods = {
        "total charge against total light": TotalCharge(fitted),
        "pattern of light": Pattern(fitted),
    }
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in ("chance", *methods)}
    for batch in read(val, arguments.events):
        facts = facts_of(batch, detector)
        found["chance"].append((1.0, len(facts.electrons)))
        for name, method in methods.items():
            found[name].append((found_by(method.scores(facts)), len(facts.electrons)))
    for name, groups in found.items():
        hits, of = np.array(groups, np.float64).T
        low, high = interval(hits, of)
        print(f"{name:33} {hits.sum() / of.sum():6.3f}  ({low:.3f} to {high:.3f}), {int(of.sum())} events")


if __name__ == "__main__":
    main()
