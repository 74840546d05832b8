"""Pixel response: the charge that an electron induces on a pixel, tick by tick, until it arrives.

Legend: B widths in time, Q cells along a quarter of the surroundings, T ticks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hepfm_lartpc.charge.config import PixelReadout
from hepfm_lartpc.event import Array, Floats

CELLS = 10
"""Cells along a pixel, for where on it an electron arrives (0.44 mm, as in larnd-sim)."""
_WIDTHS = 16
_HEIGHT_PITCHES = 5.0
"""Height from which induction is followed; less than 1 % is induced above."""


@dataclass(frozen=True, kw_only=True)
class PixelResponse:
    """Induced charge in that of an electron, for electrons spread over times of arrival.

    Attributes:
        induced: ``(B, Q, Q, T)`` float32, in each tick; Q counts cells from the pixel's middle, along either
            axis. The sum is 1 within the pixel (the first ``CELLS / 2`` cells) and 0 outside of it.
        first: The first of the T ticks, from that of the arrival.
        width_ticks: Sigma of arrival, from one row of B to the next.
    """

    induced: Array
    first: int
    width_ticks: float


def pixel_response(readout: PixelReadout, velocity_mm_us: float, widest_ns: float) -> PixelResponse:
    """Response of square pixels without gaps, far from the cathode, to electrons that drift straight.

    A pixel's weighting potential is the solid angle that it fills, over 2 pi (theorem of Shockley and Ramo).

    Args:
        readout: Pitch, clock and neighbours.
        velocity_mm_us: Drift velocity.
        widest_ns: Largest sigma in time that occurs.
    """
    step_mm = 1e-3 * readout.clock_ns * velocity_mm_us
    early = int(np.ceil(_HEIGHT_PITCHES * readout.pitch_mm / step_mm))
    width = max(widest_ns / readout.clock_ns, 1e-3) / (_WIDTHS - 1)
    late = int(np.ceil(4.0 * width * (_WIDTHS - 1))) + 1
    cells = CELLS // 2 + CELLS * readout.neighbours
    middle_mm = (np.arange(cells) + 0.5) * readout.pitch_mm / CELLS
    # Edges of ticks: an electron that arrives at 0 lies `early` ticks above the plane at the first edge.
    height_mm = step_mm * np.arange(early, -1, -1).astype(np.float64)
    potential = weighting_potential(
        middle_mm[:, None, None], middle_mm[None, :, None], height_mm, readout.pitch_mm
    )
    # What an electron from far away has induced by the first edge is spread over the ticks that follow.
    potential -= potential[..., :1] * np.linspace(1.0, 0.0, early + 1)
    sharp = np.pad(np.diff(potential, axis=-1), ((0, 0), (0, 0), (late, late)))
    ticks = np.arange(-late, late + 1)
    induced = np.empty((_WIDTHS, *sharp.shape), np.float32)
    transform = np.fft.rfft(sharp, axis=-1)
    for b in range(_WIDTHS):
        spread = np.exp(-0.5 * (ticks / max(b * width, 1e-3)) ** 2)
        circular = np.zeros(sharp.shape[-1])
        circular[ticks % len(circular)] = spread / spread.sum()
        induced[b] = np.fft.irfft(transform * np.fft.rfft(circular), sharp.shape[-1], axis=-1)
    return PixelResponse(induced=induced, first=-early - late, width_ticks=width)


def weighting_potential(x_mm: Floats, y_mm: Floats, z_mm: Floats, pitch_mm: float) -> Floats:
    """Solid angle of a square at the origin, over 2 pi, from points at a height z above its plane.

    Shapes broadcast. On the plane it is 1 within the square and 0 outside.
    """

    def corner(u: Floats, v: Floats) -> Floats:
        return np.arctan2(u * v, z_mm * np.sqrt(u * u + v * v + z_mm * z_mm))

    half = 0.5 * pitch_mm
    total: Floats = (
        corner(half + x_mm, half + y_mm)
        + corner(half - x_mm, half + y_mm)
        + corner(half + x_mm, half - y_mm)
        + corner(half - x_mm, half - y_mm)
    )
    return total / (2.0 * np.pi)
