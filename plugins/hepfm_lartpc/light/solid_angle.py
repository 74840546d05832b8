"""How large a rectangle looks from a point, and how much light comes straight from there.

Legend: D points, K detectors.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hepfm_lartpc.compiled import compiled

Floats = NDArray[np.float64]

MOST_PIECES = 8
"""Into which a side is cut, at most, for the way of the light to its parts."""

FAR2 = 81.0
"""Square of the distance, in half sides, from where a series serves for the solid angle (exact to 5e-4)."""


@compiled
def solid_angle(x: float, y: float, z: float, half_width: float, half_height: float) -> float:
    """Solid angle in sr of a rectangle around the origin in the plane z = 0, from a point; 0 from behind.

    It is the sum of ``arctan(X Y / (z R))`` over the corners with alternating signs, (X, Y, z) from the point
    to the corner and R its length; here with one arctangent, of the product of the complex ``z R + i X Y``.
    """
    if z <= 0.0:
        return 0.0
    left, right = -half_width - x, half_width - x
    low, high = -half_height - y, half_height - y
    left2, right2, low2, high2 = left * left + z * z, right * right + z * z, low * low, high * high
    a_re, a_im = z * math.sqrt(right2 + high2), right * high
    b_re, b_im = z * math.sqrt(left2 + high2), -left * high
    c_re, c_im = z * math.sqrt(right2 + low2), -right * low
    d_re, d_im = z * math.sqrt(left2 + low2), left * low
    ab_re, ab_im = a_re * b_re - a_im * b_im, a_re * b_im + a_im * b_re
    cd_re, cd_im = c_re * d_re - c_im * d_im, c_re * d_im + c_im * d_re
    sine, cosine = ab_re * cd_im + ab_im * cd_re, ab_re * cd_re - ab_im * cd_im
    tangent = sine / cosine
    if cosine > 0.0 and 0.0 < tangent < 0.15:
        # The series of the arctangent, exact to 1e-11 here, is faster.
        t2 = tangent * tangent
        inner = 0.2 - t2 * (1.0 / 7.0 - t2 * (1.0 / 9.0 - t2 / 11.0))
        return tangent * (1.0 - t2 * (1.0 / 3.0 - t2 * inner))
    angle = math.atan2(sine, cosine)
    if angle < 0.0:
        # Above pi only from straight in front of the rectangle; elsewhere a negative is a rounded 0.
        in_front = left < 0.0 < right and low < 0.0 < high
        angle = angle + 2.0 * math.pi if in_front else 0.0
    return angle


@compiled
def straight(
    x: float, y: float, z: float, half_width: float, half_height: float, free_mm: float
) -> tuple[float, float]:
    """Probability that a photon from a point goes straight to a rectangle, and that times its way in mm.

    Args:
        x: Of the point from the rectangle's centre, along its width.
        y: Along its height.
        z: Along its normal.
        half_width: In mm.
        half_height: In mm.
        free_mm: Mean free path. A rectangle that is larger than it is far is cut, as the way to its parts
            differs; the way is that to the middle of a part.
    """
    if z <= 0.0:
        return 0.0, 0.0
    beside_x, beside_y = max(0.0, abs(x) - half_width), max(0.0, abs(y) - half_height)
    nearest2 = beside_x * beside_x + beside_y * beside_y + z * z
    if 4.0 * max(half_width, half_height) ** 2 <= nearest2:
        square = x * x + y * y + z * z
        way = math.sqrt(square)
        if nearest2 < FAR2 * max(half_width, half_height) ** 2:
            angle = solid_angle(x, y, z, half_width, half_height)
        else:
            # Taylor's series of z / R^3 over the rectangle.
            bent_x = half_width * half_width * (2.5 * x * x / square - 0.5)
            bent_y = half_height * half_height * (2.5 * y * y / square - 0.5)
            angle = 4.0 * half_width * half_height * z / (square * way) * (1.0 + (bent_x + bent_y) / square)
        probability = angle / (4.0 * math.pi) * math.exp(-way / free_mm)
        return probability, probability * way
    nearest = math.sqrt(nearest2)
    across = int(min(2.0 * half_width / nearest, MOST_PIECES - 1.0)) + 1
    along = int(min(2.0 * half_height / nearest, MOST_PIECES - 1.0)) + 1
    part_width, part_height = half_width / across, half_height / along
    probability = times_way = 0.0
    for i in range(across):
        part_x = x + half_width - (2 * i + 1) * part_width
        for j in range(along):
            part_y = y + half_height - (2 * j + 1) * part_height
            way = math.sqrt(part_x * part_x + part_y * part_y + z * z)
            angle = solid_angle(part_x, part_y, z, part_width, part_height)
            part = angle / (4.0 * math.pi) * math.exp(-way / free_mm)
            probability += part
            times_way += part * way
    return probability, times_way


@compiled
def straight_to(
    x_mm: float, y_mm: float, z_mm: float, frame: Floats, k: int, free_mm: float
) -> tuple[float, float]:
    """`straight` from a point of the argon to detector ``k`` of `hepfm_lartpc.light.panels.frames`."""
    dx, dy, dz = x_mm - frame[k, 0], y_mm - frame[k, 1], z_mm - frame[k, 2]
    x = dx * frame[k, 3] + dy * frame[k, 4] + dz * frame[k, 5]
    y = dx * frame[k, 6] + dy * frame[k, 7] + dz * frame[k, 8]
    z = dx * frame[k, 9] + dy * frame[k, 10] + dz * frame[k, 11]
    return straight(x, y, z, frame[k, 12], frame[k, 13], free_mm)
