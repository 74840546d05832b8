"""Field response: the current on a wire and its neighbours while an electron comes to it and past it.

By the theorem of Shockley and Ramo an electron induces the charge of the weighting potential where it is.
Legend: W wires from -H to H around the one that the electron comes to, S samples in time.
"""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hepfm.errors import DataError
from hepfm_lartpc.charge.config import WireElectronics, WirePlane, WireReadout
from hepfm_lartpc.charge.electronics import pulse_adc, pulse_length_us
from hepfm_lartpc.event import Array, Floats

_COLLECTS = 0.1
"""Share of the electrons from which on a plane collects; files show some percent for planes that do not."""
_OPENERS: dict[str, Any] = {".bz2": bz2.open, ".gz": gzip.open}


@dataclass(frozen=True, kw_only=True)
class FieldResponse:
    """Of one plane, the mean over where within its pitch an electron comes to a wire.

    Attributes:
        induced: ``(W, S)`` charge induced up to each time, in that of an electron, from 0 on; positive for
            electrons that are collected.
        time_us: ``(S,)`` from when the electron would reach the anode's face at its drift velocity.
    """

    induced: Floats
    time_us: Floats

    @property
    def collected(self) -> float:
        """Share of the electrons that come to a wire and end on it."""
        return float(self.induced[len(self.induced) // 2, -1])

    @property
    def kind(self) -> Literal["induction", "collection"]:
        """Whether electrons pass the plane, or a good part of them ends on it."""
        return "collection" if self.collected > _COLLECTS else "induction"


def parametric(readout: WireReadout, velocity_mm_us: float, *, wires: int = 2) -> list[FieldResponse]:
    """Response of planes of strips without gaps, for wires, to electrons that keep their velocity.

    A strip between grounded planes has the weighting potential

        ``(F(x + p/2) - F(x - p/2)) / pi``, ``F(x) = arctan(cot(pi z / 2 g) tanh(pi x / 2 g))``

    at the distance x along the pitch p and the height z below the grounded plane at g (Blum, Riegler and
    Rolandi, Particle Detection with Drift Chambers, 2nd ed. (2008), section 5.3). Grounded planes are the
    neighbouring planes of the readout; before the first one, a grid at the distance of the next.

    Args:
        readout: Its planes.
        velocity_mm_us: Drift velocity.
        wires: H, neighbours on either side.
    """
    heights = [plane.height_mm for plane in readout.planes]
    gaps = -np.diff(heights) if len(heights) > 1 else np.array([readout.planes[0].pitch_mm])
    return [
        _strips(
            plane,
            float(gaps[max(k - 1, 0)]),
            float(gaps[min(k, len(gaps) - 1)]) if plane.kind == "induction" else 0.0,
            velocity_mm_us,
            wires,
        )
        for k, plane in enumerate(readout.planes)
    ]


def _strips(
    plane: WirePlane, before_mm: float, behind_mm: float, velocity_mm_us: float, wires: int
) -> FieldResponse:
    """Of a plane with a grounded one before it and, where electrons pass, one behind it."""
    z_mm = np.concatenate(
        [np.linspace(before_mm, 0.0, 201), -np.linspace(0.0, behind_mm, 201)[1:] if behind_mm else []]
    )
    within = (np.arange(20) + 0.5) / 20 - 0.5
    x_mm = plane.pitch_mm * (np.arange(-wires, wires + 1)[:, None] + within)
    gap = np.where(z_mm >= 0, before_mm, behind_mm or 1.0)
    height = np.clip(np.abs(z_mm) / gap, 1e-9, 1.0)
    cotangent = 1.0 / np.tan(0.5 * np.pi * height)
    edges = [
        np.arctan(cotangent * np.tanh(0.5 * np.pi * (x_mm[..., None] + side * plane.pitch_mm / 2) / gap))
        for side in (1, -1)
    ]
    return FieldResponse(
        induced=((edges[0] - edges[1]) / np.pi).mean(1),
        time_us=-(z_mm + plane.height_mm) / velocity_mm_us,
    )


def garfield(path: Path, planes: Sequence[WirePlane]) -> list[FieldResponse]:
    """Response of a file in Wire-Cell's format: currents on a wire for electrons that start along the pitch.

    Currents are normalised such that an electron that comes to a wire's region is collected once. Time 0 is
    the peak of the current on the plane that collects most: then charge arrives, as in `parametric`. The
    file's own ``origin / speed`` is a drift in one field, which that between planes is not: it may be 16 us
    early.

    Args:
        path: JSON, as it is or compressed (``.bz2``, ``.gz``).
        planes: Of the readout, as many as in the file and of the same pitch to 10 %.

    Raises:
        DataError: The file cannot be read, or is of other planes.
    """
    try:
        with _OPENERS.get(path.suffix, open)(path.expanduser(), "rt", encoding="utf-8") as file:
            content = json.load(file)["FieldResponse"]
        period_us = 1e-3 * content["period"]
        found = [plane["PlaneResponse"] for plane in content["planes"]]
        currents = [_regions(plane) for plane in sorted(found, key=lambda plane: plane["planeid"])]
        pitches = [float(plane["pitch"]) for plane in found]
    except (OSError, EOFError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"the field response cannot be read: {type(error).__name__}: {error}",
            where=str(path),
            fix="give a file in Wire-Cell's format of GARFIELD responses, or leave out `response`",
        ) from error
    if len(found) != len(planes):
        raise DataError(
            f"the field response is of {len(found)} planes, the readout has {len(planes)}",
            where=str(path),
            fix="give the response of this readout, or leave out `response`",
        )
    for plane, pitch in zip(planes, pitches, strict=True):
        if abs(pitch / plane.pitch_mm - 1) > 0.1:
            raise DataError(
                f"the field response is of a pitch of {pitch} mm, plane {plane.name} has {plane.pitch_mm} mm",
                where=str(path),
                fix="give the response of this readout, or leave out `response`",
            )
    middle = [current[len(current) // 2] for current in currents]
    charge = np.array([current.sum() for current in middle])
    collected = float(charge.sum())
    if not np.isfinite(collected) or collected == 0:
        raise DataError("no electron of the field response is collected", where=str(path))
    arrival = int(np.argmax(middle[int(np.argmax(charge / collected))] / collected))
    return [
        FieldResponse(
            induced=np.pad(np.cumsum(current, axis=1), ((0, 0), (1, 0))) / collected,
            time_us=period_us * (np.arange(current.shape[1] + 1) - arrival - 0.5),
        )
        for current in currents
    ]


def _regions(plane: dict[str, Any]) -> Floats:
    """``(W, S)`` currents, the mean over each wire's region, whose other half is its mirror image."""
    pitch = float(plane["pitch"])
    paths = [path["PathResponse"] for path in plane["paths"]]
    position = np.array([float(path["pitchpos"]) for path in paths]) / pitch
    current = np.array([path["current"]["array"]["elements"] for path in paths], np.float64)
    position, current = np.concatenate([position, -position]), np.concatenate([current, current])
    wires = int(np.floor(np.abs(position).max()))
    out = np.empty((2 * wires + 1, current.shape[1]))
    for wire in range(-wires, wires + 1):
        inside = np.abs(position - wire) <= 0.5 + 1e-6
        where, row = np.unique(np.round(position[inside], 6), return_inverse=True)
        mean = np.zeros((len(where), current.shape[1]))
        np.add.at(mean, row, current[inside])
        mean /= np.bincount(row)[:, None]
        out[wire + wires] = np.trapezoid(mean, where, axis=0) / (where[-1] - where[0])
    return out


def tick_kernel(response: FieldResponse, electronics: WireElectronics, tick_ns: float) -> tuple[Array, int]:
    """What an electron leaves in the samples of a wire and its neighbours.

    Electrons of a tick arrive evenly from half a tick before its sample to half a tick after it.

    Args:
        response: Of the plane.
        electronics: Its pulse follows the induced current.
        tick_ns: Time between two samples.

    Returns:
        ``(W, n)`` float64 ADC counts for an electron, and the first of the n samples, counted from the one
        of the electron's arrival at the anode.
    """
    fine = 2 * max(1, round(tick_ns / 200.0))
    step_us = 1e-3 * tick_ns / fine
    first = int(np.floor(response.time_us[0] * 1e3 / tick_ns)) - 1
    last = int(np.ceil((response.time_us[-1] + pulse_length_us(electronics)) * 1e3 / tick_ns)) + 1
    edges_us = step_us * np.arange(first * fine - fine // 2, last * fine + fine // 2 + 1)
    pulse = pulse_adc(edges_us - edges_us[0] + 0.5 * step_us, electronics)
    padded = 2 * len(edges_us)
    charge = np.array([np.diff(np.interp(edges_us, response.time_us, row)) for row in response.induced])
    signal = np.fft.irfft(np.fft.rfft(charge, padded) * np.fft.rfft(pulse, padded), padded)
    # Sample k of `signal` is at the edge k + 1; the trapezoid over a tick is the mean over times of arrival.
    signal = np.pad(signal, ((0, 0), (1, 0)))[:, : len(edges_us)]
    weights = np.r_[0.5, np.ones(fine - 1), 0.5] / fine
    windows = np.lib.stride_tricks.sliding_window_view(signal, fine + 1, axis=1)[:, ::fine]
    return windows @ weights, first
