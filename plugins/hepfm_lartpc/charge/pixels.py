"""Pixel readout: from deposits and their electrons to self-triggered hits.

Legend: H hits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hepfm.errors import DataError
from hepfm_lartpc.charge.config import PixelReadout
from hepfm_lartpc.charge.drift import Drift, arrivals
from hepfm_lartpc.charge.pixel_currents import currents
from hepfm_lartpc.charge.pixel_response import CELLS, pixel_response
from hepfm_lartpc.charge.self_trigger import trigger
from hepfm_lartpc.event import Array, Deposits, Floats, Integers
from hepfm_lartpc.streams import Stream, stream
from hepfm_lartpc.tpc import Tpc


@dataclass(frozen=True, kw_only=True)
class PixelHits:
    """Hits in the order of pixels and times.

    Attributes:
        channel: ``(H,)`` pixel, counted through drift volumes, the second and the first axis of the face.
        tpc: ``(H,)`` drift volume.
        tick: ``(H,)`` of the trigger, from the event's time 0.
        adc: ``(H,)`` int16.
        charge_e: ``(H,)`` electrons that the counts stand for.
        electrons: ``(H,)`` that were integrated, without noise.
        position_mm: ``(H, 3)`` middle of the pixel; along the drift where electrons come from that are free
            at time 0 and arrive at the trigger.
    """

    channel: Integers
    tpc: Integers
    tick: Integers
    adc: Array
    charge_e: Floats
    electrons: Floats
    position_mm: Floats

    def __len__(self) -> int:
        return len(self.channel)


class PixelPlanes:
    """The pixelated anodes of a detector, made once for many events.

    Attributes:
        doubts: None; see `WirePlanes`.

    Raises:
        DataError: A bad pixel does not exist, or a volume is narrower than a pixel.
    """

    def __init__(self, readout: PixelReadout, tpcs: Sequence[Tpc], drift: Drift) -> None:
        self.readout, self.tpcs, self.drift = readout, list(tpcs), drift
        self.doubts: list[str] = []
        axes = [[axis for axis in range(3) if axis != tpc.axis] for tpc in tpcs]
        self.low_mm = np.array([np.array(t.low_mm)[a] for t, a in zip(tpcs, axes, strict=True)])
        high_mm = np.array([np.array(t.high_mm)[a] for t, a in zip(tpcs, axes, strict=True)])
        self.count = np.floor((high_mm - self.low_mm) / readout.pitch_mm + 1e-6).astype(np.int64)
        if (self.count < 1).any():
            raise DataError(
                f"a drift volume is narrower than a pixel of {readout.pitch_mm} mm",
                where="charge.pitch_mm",
                fix="make pitch_mm smaller",
            )
        self.first = np.concatenate([[0], np.cumsum(self.count.prod(axis=1))])
        if any(not 0 <= channel < self.first[-1] for channel in readout.bad_channels):
            raise DataError(
                "bad_channels names pixels that do not exist",
                where="charge.bad_channels",
                fix=f"give pixels from 0 to {self.first[-1] - 1}",
            )
        self._bad = np.zeros(self.first[-1], bool)
        self._bad[readout.bad_channels] = True
        longest_us = max(tpc.drift_mm for tpc in tpcs) / drift.velocity_mm_us
        widest_ns = 1e3 * math.sqrt(2.0 * drift.longitudinal_mm2_us * longest_us) / drift.velocity_mm_us
        self.response = pixel_response(readout, drift.velocity_mm_us, widest_ns)

    def read(
        self, deposits: Deposits, electrons: Floats, *, seed: int, event: int, s: Stream | None = None
    ) -> PixelHits:
        """The hits of an event.

        Args:
            deposits: Where electrons were set free.
            electrons: ``(D,)`` how many, after recombination.
            seed: Of the run; with the event, the key of the noise.
            event: Its number.
            s: Random numbers for electrons that are lost while drifting; without them, the mean is lost.
        """
        readout, response = self.readout, self.response
        arrived = arrivals(
            deposits,
            electrons,
            self.tpcs,
            self.drift,
            step_mm=2.0 * readout.pitch_mm / CELLS,
            drift_step_mm=2e-3 * readout.clock_ns * self.drift.velocity_mm_us,
            s=s,
        )
        wait = readout.sync_ticks + readout.hold_ticks
        channel, first_tick, offset, charge = currents(
            arrived.tpc,
            (arrived.across_mm - self.low_mm[arrived.tpc]) / readout.pitch_mm,
            arrived.time_ns / readout.clock_ns,
            arrived.electrons,
            arrived.sigma_mm / readout.pitch_mm,
            arrived.sigma_ns / readout.clock_ns,
            self.first,
            self.count,
            readout.neighbours,
            response.induced,
            response.first,
            response.width_ticks,
            wait + 1,
        )
        pixel, tick, measured, true = trigger(
            charge,
            offset,
            first_tick,
            readout.threshold_e,
            wait,
            readout.reset_ticks,
            readout.reset_noise_e,
            readout.readout_noise_e,
            stream(seed, "noise", event),
        )
        good = ~self._bad[channel[pixel]]
        pixel, tick, measured, true = pixel[good], tick[good], measured[good], true[good]
        adc = self._counts(measured)
        hit = channel[pixel]
        tpc = np.searchsorted(self.first, hit, side="right") - 1
        return PixelHits(
            channel=hit.astype(np.int32),
            tpc=tpc.astype(np.int32),
            tick=tick.astype(np.int32),
            adc=adc,
            charge_e=self._charge_e(adc),
            electrons=true,
            position_mm=self._positions(hit, tpc, tick),
        )

    def _counts(self, charge_e: Floats) -> Array:
        """Counts of the digitiser, clipped at its ends."""
        readout = self.readout
        share = 1e-3 * charge_e * readout.gain_mv_ke + readout.pedestal_mv - readout.v_cm_mv
        counts = np.floor(share / (readout.v_ref_mv - readout.v_cm_mv) * (1 << readout.bits))
        return np.clip(counts, 0, (1 << readout.bits) - 1).astype(np.int16)

    def _charge_e(self, adc: Array) -> Floats:
        """Electrons in the middle of a count."""
        readout = self.readout
        mv = (adc + 0.5) / (1 << readout.bits) * (readout.v_ref_mv - readout.v_cm_mv)
        return 1e3 * (mv + readout.v_cm_mv - readout.pedestal_mv) / readout.gain_mv_ke

    def _positions(self, channel: Array, tpc: Array, tick: Array) -> Floats:
        position = np.empty((len(channel), 3))
        within = channel - self.first[tpc]
        step_mm = 1e-3 * self.readout.clock_ns * self.drift.velocity_mm_us
        for t, volume in enumerate(self.tpcs):
            rows = tpc == t
            axes = [axis for axis in range(3) if axis != volume.axis]
            index = np.stack([within[rows] % self.count[t, 0], within[rows] // self.count[t, 0]], axis=-1)
            position[np.ix_(rows, axes)] = self.low_mm[t] + (index + 0.5) * self.readout.pitch_mm
            position[rows, volume.axis] = volume.anode_mm - volume.towards * step_mm * tick[rows]
        return position
