"""Wire readout: from deposits and their electrons to the frames of all planes.

Legend: K channels, A of them with charge, W neighbouring wires, F frequencies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hepfm.errors import DataError
from hepfm_lartpc.charge.config import WireReadout
from hepfm_lartpc.charge.drift import Drift, arrivals
from hepfm_lartpc.charge.electronics import digitise
from hepfm_lartpc.charge.noise import coherent_power_adc2, draw, power_adc2, random_words
from hepfm_lartpc.charge.projection import project, wire_geometry
from hepfm_lartpc.charge.response import garfield, parametric, tick_kernel
from hepfm_lartpc.compiled import compiled
from hepfm_lartpc.event import Array, Deposits, Floats, Integers
from hepfm_lartpc.streams import Stream
from hepfm_lartpc.tpc import Tpc

_BLOCK = 64
"""Wires at a time: their spectra stay in the processor's cache."""


@dataclass(frozen=True, kw_only=True)
class Frames:
    """What all channels read of an event.

    Attributes:
        adc: ``(K, ticks)`` int16, with pedestal and noise.
        signal_adc: ``(K, ticks)`` float32, without either, and neither rounded nor clipped; None where it was
            not asked for.
        electrons: ``(K, ticks)`` float32, that arrived at the anode at each wire and tick.
        channel: ``(K,)`` from 0.
        tpc: ``(K,)`` drift volume.
        plane: ``(K,)`` row of the readout's planes.
        pedestal_adc: ``(K,)``.
        position_mm: ``(K, 3)`` middle of the wire.
        good: ``(K,)`` bool; false for a bad channel.
    """

    adc: Array
    electrons: Array
    channel: Integers
    tpc: Integers
    plane: Integers
    pedestal_adc: Floats
    position_mm: Floats
    good: Array
    signal_adc: Array | None = None


class WirePlanes:
    """The wire planes of a detector, made once for many events.

    Attributes:
        kernels_adc: Of each plane ``(W, n)``: what an electron leaves in the samples of a wire and its
            neighbours.
        first_ticks: Of each plane, the first of the n samples, from that of the electron's arrival.
        kinds: Of each plane, what the response makes of it: ``induction`` or ``collection``.
        doubts: Where that is not what the readout says of the plane.

    Raises:
        DataError: The field response cannot be read, or a bad channel does not exist.
    """

    def __init__(self, readout: WireReadout, tpcs: Sequence[Tpc], drift: Drift) -> None:
        self.readout, self.tpcs, self.drift = readout, list(tpcs), drift
        self.geometry = wire_geometry(readout, tpcs)
        channels = len(self.geometry.plane)
        self.good = np.ones(channels, bool)
        unknown = [channel for channel in readout.bad_channels if channel >= channels]
        if unknown:
            raise DataError(
                f"bad_channels names {unknown[:5]}, the readout has {channels} channels",
                where="charge.bad_channels",
                fix=f"give channels from 0 to {channels - 1}",
            )
        self.good[readout.bad_channels] = False
        electronics = readout.electronics
        induction = np.array([plane.kind == "induction" for plane in readout.planes])
        self.pedestal_adc = np.where(
            induction, electronics.induction_pedestal_adc, electronics.collection_pedestal_adc
        )[self.geometry.plane]
        responses = (
            garfield(readout.response, readout.planes)
            if readout.response
            else parametric(readout, drift.velocity_mm_us)
        )
        self.kinds = [response.kind for response in responses]
        self.doubts = [
            f"charge: plane {plane.name} is given as {plane.kind}, but by its field response "
            f"{response.collected:.0%} of the electrons end on it; plane_kinds says {response.kind}"
            for plane, response in zip(readout.planes, responses, strict=True)
            if response.kind != plane.kind
        ]
        kernels = [tick_kernel(response, electronics, readout.tick_ns) for response in responses]
        self.kernels_adc = [kernel for kernel, _ in kernels]
        self.first_ticks = [first for _, first in kernels]
        # Charge that arrives `before` the first sample or `after` the last one still shows in the frame.
        self._after = max(0, *(-first for first in self.first_ticks))
        self._before = max(
            0, *(k.shape[1] + first for k, first in zip(self.kernels_adc, self.first_ticks, strict=True))
        )
        self._n = _fast_length(readout.ticks + self._before + self._after)
        self._transfer = [
            _transfer(k, first, self._n) for k, first in zip(self.kernels_adc, self.first_ticks, strict=True)
        ]
        noise = readout.noise
        if noise:
            self._power = power_adc2(noise, electronics, self._n, readout.tick_ns)
            self._rms = np.where(induction, noise.induction_rms_adc, noise.collection_rms_adc)
            if noise.coherent:
                self._coherent = coherent_power_adc2(noise.coherent, self._n, readout.tick_ns)

    def read(
        self,
        deposits: Deposits,
        electrons: Floats,
        *,
        seed: int,
        event: int,
        s: Stream | None = None,
        with_signal: bool = False,
    ) -> Frames:
        """The frames of an event.

        Args:
            deposits: Where electrons were set free.
            electrons: ``(D,)`` how many, after recombination.
            seed: Of the run; with the event, the key of the noise.
            event: Its number.
            s: Random numbers for electrons that are lost while drifting; without them, the mean is lost.
            with_signal: Whether the signals without noise are told, too.
        """
        readout = self.readout
        tick_mm = 1e-3 * readout.tick_ns * self.drift.velocity_mm_us
        arrived = arrivals(
            deposits,
            electrons,
            self.tpcs,
            self.drift,
            step_mm=0.5 * float(self.geometry.pitch_mm.min()),
            drift_step_mm=tick_mm,
            s=s,
        )
        charge = np.zeros((len(self.good), self._n), np.float32)
        project(
            arrived,
            self.geometry,
            tick_ns=readout.tick_ns,
            offset_ticks=readout.trigger_offset_ticks,
            before=self._before,
            after=readout.ticks + self._after,
            out=charge,
        )
        adc = np.empty((len(self.good), readout.ticks), np.int16)
        signal_adc = np.zeros(adc.shape, np.float32) if with_signal else None
        random = random_words(seed, "noise", event)
        for tpc in range(len(self.tpcs)):
            for plane in range(len(readout.planes)):
                first = self.geometry.first[tpc, plane]
                rows = slice(first, first + self.geometry.count[plane])
                self._digitise(random, plane, charge[rows], self.good[rows], adc[rows])
                if signal_adc is not None:
                    self._shape(plane, charge[rows], self.good[rows], signal_adc[rows])
        return Frames(
            adc=adc,
            electrons=charge[:, : readout.ticks],
            channel=np.arange(len(self.good), dtype=np.int32),
            tpc=self.geometry.tpc,
            plane=self.geometry.plane,
            pedestal_adc=self.pedestal_adc,
            position_mm=self.geometry.position_mm,
            good=self.good,
            signal_adc=signal_adc,
        )

    def _digitise(self, random: np.random.Philox, plane: int, charge: Array, good: Array, adc: Array) -> None:
        """Fills the counts ``(wires, ticks)`` of a plane from its charge ``(wires, n)``, block by block."""
        electronics, noise = self.readout.electronics, self.readout.noise
        kind = self.readout.planes[plane].kind
        pedestal = getattr(electronics, f"{kind}_pedestal_adc")
        active, transfer = np.asarray(charge.any(axis=1)), self._transfer[plane]
        if noise and noise.coherent:
            groups = -(-len(charge) // noise.coherent.group)
            shared = draw(random, groups, self._coherent, noise.coherent.rms_adc, self._n)
        for low in range(0, len(charge), _BLOCK):
            high = min(low + _BLOCK, len(charge))
            spectra = (
                draw(random, high - low, self._power, float(self._rms[plane]), self._n)
                if noise
                else np.zeros((high - low, *transfer.shape[1:]), np.float32)
            )
            if noise and noise.coherent:
                spectra += shared[np.arange(low, high) // noise.coherent.group]
            _add_signals(charge, active, transfer, low, spectra)
            signal = self._in_time(spectra, good[low:high])
            digitise(signal, pedestal, (1 << electronics.bits) - 1, adc[low:high])

    def _shape(self, plane: int, charge: Array, good: Array, signal_adc: Array) -> None:
        """Fills what charge ``(wires, n)`` alone makes of the samples ``(wires, ticks)`` of a plane."""
        # By itself: taken out of the sum with the noise, it would be right to the noise's rounding only.
        active, transfer = np.asarray(charge.any(axis=1)), self._transfer[plane]
        for low in range(0, len(charge), _BLOCK):
            high = min(low + _BLOCK, len(charge))
            spectra = np.zeros((high - low, *transfer.shape[1:]), np.float32)
            if _add_signals(charge, active, transfer, low, spectra):
                signal_adc[low:high] = self._in_time(spectra, good[low:high])[:, : signal_adc.shape[1]]

    def _in_time(self, spectra: Array, good: Array) -> Array:
        """Samples ``(wires, n)`` of spectra ``(wires, 2, F)``; bad channels have none."""
        joined = np.empty((len(spectra), spectra.shape[2]), np.complex64)
        joined.real, joined.imag = spectra[:, 0], spectra[:, 1]
        signal: Array = np.fft.irfft(joined, self._n, axis=1)
        signal[~good] = 0.0
        return signal


def _add_signals(charge: Array, active: Array, transfer: Array, low: int, spectra: Array) -> bool:
    """Adds signals to the spectra of wires from ``low`` on; whether there are any."""
    high, reach = low + len(spectra), len(transfer) // 2
    near = max(0, low - reach) + np.flatnonzero(active[max(0, low - reach) : high + reach])
    if len(near):
        _convolve(_parts(np.fft.rfft(charge[near], axis=1)), near - low, transfer, spectra)
    return bool(len(near))


def _transfer(kernel: Floats, first: int, n: int) -> Array:
    """``(W, 2, F)`` float32: the transform of a kernel whose first sample is at ``first``, modulo n."""
    circular = np.zeros((len(kernel), n))
    circular[:, np.arange(first, first + kernel.shape[1]) % n] = kernel
    return _parts(np.fft.rfft(circular, axis=1))


def _parts(spectra: Array) -> Array:
    """Real and imaginary parts apart, ``(..., 2, F)`` float32: so the processor takes several at once."""
    return np.stack([spectra.real, spectra.imag], axis=-2).astype(np.float32, copy=False)


def _fast_length(n: int) -> int:
    """The smallest even number from n on that has no prime factor above 5."""
    n += n % 2
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 2


@compiled
def _convolve(charge: Array, wire: Array, transfer: Array, out: Array) -> None:
    """Adds to each wire's spectrum what charge on it and its neighbours makes there.

    Args:
        charge: ``(A, 2, F)`` float32, real and imaginary parts.
        wire: ``(A,)`` of each row of charge.
        transfer: ``(W, 2, F)`` from the neighbour W // 2 below to the one above.
        out: ``(wires, 2, F)``, added to.
    """
    reach = len(transfer) // 2
    for a in range(len(wire)):
        re, im = charge[a, 0], charge[a, 1]
        for d in range(-reach, reach + 1):
            row = wire[a] + d
            if row < 0 or row >= len(out):
                continue
            tr, ti = transfer[d + reach, 0], transfer[d + reach, 1]
            real, imaginary = out[row, 0], out[row, 1]
            for f in range(len(re)):
                real[f] += re[f] * tr[f] - im[f] * ti[f]
                imaginary[f] += re[f] * ti[f] + im[f] * tr[f]
