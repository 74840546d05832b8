"""The light of an event: from deposits and their photons to waveforms.

Legend: D deposits, K detectors, W waveforms, N samples of a waveform, S steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepfm_lartpc.event import Deposits
from hepfm_lartpc.light.config import LightReadout
from hepfm_lartpc.light.digitizer import Adc, Electronics
from hepfm_lartpc.light.panels import Volume
from hepfm_lartpc.light.photons import draw, expected_photoelectrons, spread_in_time
from hepfm_lartpc.light.sensor import charge, sensors_of
from hepfm_lartpc.light.trigger import spans, triggers
from hepfm_lartpc.light.visibility import Visibility, visibility_of
from hepfm_lartpc.streams import stream
from hepfm_lartpc.tpc import Point

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Light:
    """Waveforms of all photon detectors, once for each trigger.

    Attributes:
        detector: ``(W,)`` numbers from 0.
        trigger: ``(W,)`` rows of ``t0_ns``.
        t0_ns: ``(triggers,)`` time of the sample ``pretrigger``.
        adc: ``(W, N)``.
        signal_adc: ``(W, N)``, without pedestal and noise of the electronics, neither rounded nor clipped.
        photoelectrons: ``(W, N)`` of scintillation light that arrived during each sample; no dark counts,
            crosstalk or afterpulses.
    """

    detector: NDArray[np.int32]
    trigger: NDArray[np.int32]
    t0_ns: Floats
    adc: Adc
    photoelectrons: NDArray[np.float32]
    signal_adc: NDArray[np.float32]


class LightSimulation:
    """The photon detectors of one detector, ready for events.

    Args:
        readout: From the detector's file.
        low_mm: Lower corner of the argon.
        high_mm: Upper corner.
        visibility: In place of the file's (a trained surrogate, say).

    Attributes:
        readout: As given.
        position_mm: ``(K, 3)`` centres of the detectors.

    Raises:
        DataError: A file that the readout names cannot be used.
    """

    def __init__(
        self, readout: LightReadout, low_mm: Point, high_mm: Point, visibility: Visibility | None = None
    ) -> None:
        self.readout = readout
        panels, sensors = readout.panels(), readout.sensors()
        volumes = readout.volumes or [Volume(low_mm=low_mm, high_mm=high_mm)]
        self.position_mm = np.array([panel.position_mm for panel in panels], np.float64)
        self._visibility = visibility or visibility_of(panels, volumes, readout.optics)
        self._efficiency = np.array([panel.efficiency for panel in panels])
        self._spread_ns = np.array([sensor.transit_spread_ns for sensor in sensors])
        self._sensors = sensors_of(sensors)
        self._electronics = Electronics(sensors, readout.digitizer)
        self._singlet_fraction = readout.scintillation.singlet_fraction.by_species()

    def __call__(
        self, deposits: Deposits, species: NDArray[np.int32], photons: Floats, *, seed: int, event: int
    ) -> Light:
        """The waveforms of an event.

        Args:
            deposits: Of all its tracks.
            species: ``(D,)`` of the track of each deposit.
            photons: ``(D,)`` mean number that each deposit emits, in all directions.
            seed: Of the run.
            event: Its number.
        """
        digitizer, life = self.readout.digitizer, self.readout.scintillation
        step_ns, lead = digitizer.sample_ns / digitizer.steps, self._electronics.lead
        seen, delay_ns = self._visibility((deposits.start_mm + deposits.end_mm) / 2)
        seen = seen * self._efficiency
        fraction = self._singlet_fraction[species]
        photon_stream, sensor_stream, noise_stream = (
            stream(seed, purpose, event) for purpose in ("light", "light sensor", "light noise")
        )
        light_ns = deposits.time_ns[photons * seen.max(axis=1) > 0]
        t0_ns: list[float] = []
        adc: list[Adc] = []
        signal_adc: list[NDArray[np.float32]] = []
        truth: list[NDArray[np.float32]] = []
        for begin_ns, samples in spans(self.readout.trigger, digitizer, lead, light_ns, life.triplet_ns):
            steps = samples * digitizer.steps
            expected = expected_photoelectrons(
                photons,
                deposits.time_ns - begin_ns,
                fraction,
                seen,
                delay_ns,
                life.singlet_ns,
                life.triplet_ns,
                steps,
                step_ns,
            )
            spread_in_time(expected, self._spread_ns, step_ns)
            counts = draw(expected, photon_stream)
            charges = charge(counts, self._sensors, step_ns, digitizer.steps, sensor_stream)
            arrived = np.zeros((len(counts), samples), np.float32)
            for part in range(digitizer.steps):
                arrived += counts[:, part :: digitizer.steps]
            for sample in triggers(self.readout.trigger, digitizer, lead, charges):
                first = sample - digitizer.pretrigger
                last = first + digitizer.samples
                shown = charges[:, (first - lead) * digitizer.steps : last * digitizer.steps]
                t0_ns.append(begin_ns + sample * digitizer.sample_ns)
                counted, shaped = self._electronics.waveforms(shown, noise_stream)
                adc.append(counted)
                signal_adc.append(shaped.astype(np.float32))
                truth.append(arrived[:, first:last])
        detectors = len(self._efficiency)
        empty = (0, digitizer.samples)
        return Light(
            detector=np.tile(np.arange(detectors, dtype=np.int32), len(t0_ns)),
            trigger=np.repeat(np.arange(len(t0_ns), dtype=np.int32), detectors),
            t0_ns=np.array(t0_ns, np.float64),
            adc=np.concatenate([np.empty(empty, np.int16), *adc]),
            photoelectrons=np.concatenate([np.empty(empty, np.float32), *truth]),
            signal_adc=np.concatenate([np.empty(empty, np.float32), *signal_adc]),
        )
