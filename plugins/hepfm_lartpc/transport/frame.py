"""Directions: turning one by an angle, and from a particle's own frame to the detector's."""

from __future__ import annotations

import math

from hepfm_lartpc.compiled import compiled


@compiled
def turned(ux: float, uy: float, uz: float, cos_theta: float, phi: float) -> tuple[float, float, float]:
    """The unit vector at polar angle theta and azimuth phi about the unit vector ``u``."""
    sin_theta = math.sqrt(max(0.0, (1.0 - cos_theta) * (1.0 + cos_theta)))
    return rotated(ux, uy, uz, sin_theta * math.cos(phi), sin_theta * math.sin(phi), cos_theta)


@compiled
def rotated(ux: float, uy: float, uz: float, vx: float, vy: float, vz: float) -> tuple[float, float, float]:
    """``v`` of a frame whose third axis is the unit vector ``u``, in the frame of ``u``.

    Duff et al., Building an orthonormal basis, revisited, J. Comput. Graph. Tech. 6 (2017) 1.
    """
    sign = 1.0 if uz >= 0.0 else -1.0
    a = -1.0 / (sign + uz)
    b = ux * uy * a
    wx = (1.0 + sign * ux * ux * a) * vx + b * vy + ux * vz
    wy = sign * b * vx + (sign + uy * uy * a) * vy + uy * vz
    wz = -sign * ux * vx - uy * vy + uz * vz
    scale = 1.5 - 0.5 * (wx * wx + wy * wy + wz * wz)  # a Newton step: rounding must not pile up over steps
    return wx * scale, wy * scale, wz * scale
