"""What filters without learning make of waveforms: the references of the tasks ``denoise`` and ``unfold``.

``python -m benchmarks.waveform_filters tasks/unfold --set data.train=TRAIN --set data.val=VAL`` takes the
label and the bins of a recipe of the head ``sample-values``, and prints its figures on validation events, for

- the waveform as it is (of counts);
- a threshold: what is within four times the plane's noise is zero, the rest counts; of light, times
  photoelectrons over height (on induction wires, heights add up to nothing);
- a Wiener filter of known response: the detector's own response to a charge on the wire itself, the spectrum
  of the noise, and that of the charge in training events;
- the best of all linear filters that are the same everywhere: Wiener's, with spectra of truth and waveform
  measured on training events with their truth, plane by plane.

Filters work in frequency space on each trace, with zeros around it.

Legend of shapes: N samples, F frequencies, n samples of the transform.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hepfm.api import Batch
from hepfm.data.source import Source, open_source
from hepfm.recipe.load import load_recipe
from hepfm.recipe.schema import Recipe
from hepfm_lartpc.charge.config import WireReadout
from hepfm_lartpc.charge.drift import drift_of
from hepfm_lartpc.charge.noise import coherent_power_adc2, power_adc2
from hepfm_lartpc.charge.wires import WirePlanes
from hepfm_lartpc.detector import Detector, load_detector
from hepfm_tasks.sample_values import SampleValues
from hepfm_tasks.traces import Heights, truth_of

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]

THRESHOLD = 4.0
"""In units of the noise."""


class Events:
    """Traces of a source, in order.

    Args:
        source: With labels.
        head: Says which.
    """

    def __init__(self, source: Source, head: SampleValues) -> None:
        self.source, self.head = source, head

    def batches(self) -> Iterator[tuple[Batch, Heights, torch.Tensor, torch.Tensor]]:
        """Events one by one: the batch, heights, truth and whether both are known."""
        head = self.head
        for index in range(len(self.source)):
            batch = self.source.read(np.array([index]), labels=True)
            heights = Heights.of(batch.parts[head.part], head.table)
            truth = truth_of(batch, head.part, head.table, head.config.label)
            yield batch, heights, truth, heights.known & truth.isfinite()

    def traces(self) -> Iterator[tuple[int, Floats, Floats]]:
        """Plane, heights and truth of each trace."""
        for batch, heights, truth, known in self.batches():
            plane = batch.parts[self.head.part]["traces"].columns["plane"]
            ends = heights.trace.bincount(minlength=len(plane)).cumsum(0).tolist()
            height, true = heights.values.double().numpy(), truth.where(known, 0.0).double().numpy()
            for k, (start, stop) in enumerate(zip([0, *ends], ends, strict=False)):
                yield int(plane[k]), height[start:stop], true[start:stop]


class Spectra:
    """Of each plane, sums over the traces: power of heights and truth, and truth times heights conjugated.

    Args:
        events: Of training.
        n: Of the transforms; longer than any trace and response together.
    """

    def __init__(self, events: Events, n: int) -> None:
        self.n, self.samples = n, dict[int, int]()
        self.height: dict[int, Floats] = {}
        self.truth: dict[int, Floats] = {}
        self.cross: dict[int, Complex] = {}
        self.above: dict[int, Floats] = {}
        for plane, height, truth in events.traces():
            h, t = np.fft.rfft(height, n), np.fft.rfft(truth, n)
            zero = np.zeros(n // 2 + 1)
            self.samples[plane] = self.samples.get(plane, 0) + len(height)
            self.height[plane] = self.height.get(plane, zero) + np.abs(h) ** 2
            self.truth[plane] = self.truth.get(plane, zero) + np.abs(t) ** 2
            self.cross[plane] = self.cross.get(plane, zero) + t * h.conj()

    def best(self) -> dict[int, Complex]:
        """Of each plane the filter whose result is nearest to the truth in the mean square."""
        return {plane: cross / self.height[plane] for plane, cross in self.cross.items()}

    def known(self, response: Mapping[int, Complex], noise_adc2: Mapping[int, Floats]) -> dict[int, Complex]:
        """Of each plane the same, if the waveform were the truth's response and noise.

        Args:
            response: ``(F,)`` of the detector.
            noise_adc2: ``(F,)`` power of the noise for each sample.
        """
        filters = {}
        for plane, r in response.items():
            truth = self.truth[plane] / self.samples[plane]
            filters[plane] = r.conj() * truth / (np.abs(r) ** 2 * truth + noise_adc2[plane])
        return filters


def filtered(filters: Mapping[int, Complex], n: int) -> Callable[[int, Floats], Floats]:
    """A trace of a plane times the plane's filter."""
    return lambda plane, height: np.fft.irfft(np.fft.rfft(height, n) * filters[plane], n)[: len(height)]


def threshold(events: Events, noise: Mapping[int, float], *, counts: bool) -> Callable[[int, Floats], Floats]:
    """Heights above the threshold, times each plane's true amount over them in training events.

    Counts as they are.

    Args:
        events: Of training.
        noise: Of each plane, its standard deviation.
        counts: Whether counts are the truth.
    """

    def above(plane: int, height: Floats) -> Floats:
        return np.where(np.abs(height) > THRESHOLD * noise[plane], height, 0.0)

    sums: dict[int, Floats] = {}
    for plane, height, truth in () if counts else events.traces():
        each = np.array([truth.sum(), above(plane, height).sum()])
        sums[plane] = sums.get(plane, np.zeros(2)) + each
    factor = {plane: truth / found for plane, (truth, found) in sums.items()}
    return lambda plane, height: factor.get(plane, 1.0) * above(plane, height)


def figures_of(events: Events, answer: Callable[[int, Floats], Floats]) -> dict[str, float]:
    """The head's figures of answers for each trace."""
    head, sums = events.head, dict[str, Any]()
    for batch, heights, truth, known in events.batches():
        plane = batch.parts[head.part]["traces"].columns["plane"]
        lengths = heights.trace.bincount(minlength=len(plane)).tolist()
        pieces = heights.values.double().split(lengths)
        found = [answer(int(p), piece.numpy()) for p, piece in zip(plane, pieces, strict=True)]
        values = torch.from_numpy(np.concatenate([np.empty(0), *found]))
        for name, each in head.figures_of.statistics(values, truth, known, heights).items():
            sums[name] = sums.get(name, 0.0) + each.sum(0)
    return head.figures(sums)


def wires_of(detector: Detector) -> WirePlanes:
    """The wires of a detector."""
    assert isinstance(detector.charge, WireReadout)
    drift = drift_of(
        detector.charge.drift,
        field_kv_cm=detector.field_kv_cm,
        temperature_k=detector.temperature_k,
        lifetime_ms=detector.lifetime_ms,
    )
    return WirePlanes(detector.charge, detector.tpcs, drift)


def response_of(detector: Detector, part: str, n: int) -> tuple[dict[int, Complex], dict[int, Floats]]:
    """Of each plane, ``(F,)`` what one charge makes of the samples, and the noise's power for each sample."""
    if part == "light":
        light = detector.light
        assert light is not None
        pulse = light.sipm.pulse.sampled(light.digitizer.sample_ns, 0)
        middle = 0.5 * (np.append(pulse, 0.0) + np.append(0.0, pulse))
        noise = light.digitizer.noise_rms_adc**2 + 1 / 12
        return {0: np.fft.rfft(middle, n)}, {0: np.full(n // 2 + 1, noise)}
    planes = wires_of(detector)
    readout, noise_of = planes.readout, planes.readout.noise
    assert noise_of is not None
    response, power = {}, {}
    for k, (kernel, first) in enumerate(zip(planes.kernels_adc, planes.first_ticks, strict=True)):
        circular = np.zeros(n)
        circular[np.arange(first, first + kernel.shape[1]) % n] = kernel[len(kernel) // 2]
        response[k] = np.fft.rfft(circular)
        kind = readout.planes[k].kind
        rms = noise_of.induction_rms_adc if kind == "induction" else noise_of.collection_rms_adc
        own = power_adc2(noise_of, readout.electronics, n, readout.tick_ns) * rms**2
        if noise_of.coherent:
            shared = coherent_power_adc2(noise_of.coherent, n, readout.tick_ns)
            own = own + shared * noise_of.coherent.rms_adc**2
        # From the variance in each frequency, of both signs, to that of a transform per sample.
        power[k] = 0.5 * n * own + 1 / 12
    return response, power


def compare(recipe: Recipe, detector: Detector) -> dict[str, dict[str, float]]:
    """Method to its figures."""
    options = recipe.objective.options()["head"]
    options = {key: value for key, value in options.items() if key != "name"}
    sources = [open_source(data, parts=recipe.data.parts) for data in (recipe.data.train, recipe.data.val)]
    config = SampleValues.Config.model_validate(options)
    head = SampleValues(config, schema=dict(sources[0].parts), d_in=lambda *_: 1)
    train, val = (Events(source, head) for source in sources)
    longest = max(len(height) for each in (train, val) for _, height, _ in each.traces())
    n = 1 << (longest + 512).bit_length()
    spectra = Spectra(train, n)
    response, noise_adc2 = response_of(detector, head.part, n)
    noise = {plane: float(np.sqrt(power.mean())) for plane, power in noise_adc2.items()}
    counts = head.figures_of.counts
    if counts:  # the truth is what the charge makes of the samples, not the charge
        response = {plane: np.ones(n // 2 + 1, np.complex128) for plane in spectra.truth}
    methods = {
        **({"as it is": lambda _, height: height} if counts else {}),
        **({"threshold": threshold(train, noise, counts=counts)} if counts or head.part == "light" else {}),
        "Wiener, known response": filtered(spectra.known(response, noise_adc2), n),
        "best linear filter": filtered(spectra.best(), n),
    }
    return {name: figures_of(val, answer) for name, answer in methods.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", help="of the head sample-values")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the recipe")
    parser.add_argument("--detector", default="wire", help="that the events are of")
    given = parser.parse_args(arguments)
    recipe = load_recipe(given.recipe, given.set).recipe
    print(json.dumps(compare(recipe, load_detector(given.detector)), indent=1))


if __name__ == "__main__":
    main()
