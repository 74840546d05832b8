"""The solid angle of a rectangle, and straight light to it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepfm_lartpc.light.solid_angle import solid_angle, straight

mm = st.floats(-2000, 2000)
size = st.floats(5, 500)


def by_quadrature(x, y, z, half_width, half_height, free_mm=math.inf, n=200):
    """Integral of ``z / R^3`` (and the same with absorption, and times the way) over the rectangle."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    u, v = np.meshgrid(half_width * nodes - x, half_height * nodes - y, indexing="ij")
    r = np.sqrt(u**2 + v**2 + z**2)
    part = np.outer(weights, weights) * half_width * half_height * z / r**3 * np.exp(-r / free_mm)
    return part.sum(), (part * r).sum()


@pytest.mark.parametrize("distance", [1.0, 30.0, 200.0, 5000.0])
def test_on_the_axis_it_is_the_textbook_formula(distance):
    a, b = 60.0, 45.0
    expected = 4 * math.asin(a * b / math.sqrt((a * a + distance**2) * (b * b + distance**2)))
    assert solid_angle(0, 0, distance, a, b) == pytest.approx(expected, rel=1e-10)


@given(x=mm, y=mm, z=st.floats(60, 2000), a=size, b=size)
def test_it_is_the_integral_over_the_rectangle(x, y, z, a, b):
    assert solid_angle(x, y, z, a, b) == pytest.approx(by_quadrature(x, y, z, a, b)[0], rel=1e-6)


def test_it_is_what_rays_in_all_directions_hit():
    rng = np.random.default_rng(4)
    direction = rng.normal(size=(2_000_000, 3))
    point, a, b = np.array([70.0, -20.0, 40.0]), 100.0, 50.0
    hit = direction[:, 2] < 0
    landing = point[:2] - direction[hit, :2] * (point[2] / direction[hit, 2])[:, None]
    part = ((abs(landing[:, 0]) < a) & (abs(landing[:, 1]) < b)).sum() / len(direction)
    sigma = math.sqrt(part / len(direction))
    assert abs(solid_angle(*point, a, b) / (4 * math.pi) - part) < 4 * sigma


@given(x=st.floats(-3, 3), y=st.floats(-3, 3), z=st.floats(1e-9, 1e-3))
def test_close_to_the_plane_it_is_half_of_the_sphere_or_nothing(x, y, z):
    angle = solid_angle(x, y, z, 1.0, 2.0)
    assert 0.0 <= angle <= 2 * math.pi
    if abs(abs(x) - 1) > 0.1 and abs(abs(y) - 2) > 0.1:
        assert angle == pytest.approx(2 * math.pi if abs(x) < 1 and abs(y) < 2 else 0.0, abs=0.05)


@given(x=mm, y=mm, z=st.floats(-100, 0))
def test_from_behind_it_is_nothing(x, y, z):
    assert solid_angle(x, y, z, 100.0, 100.0) == 0.0


def test_far_away_it_falls_with_the_square_of_the_distance_and_the_cosine():
    near, far = solid_angle(300, 0, 4000, 5, 5), solid_angle(600, 0, 8000, 5, 5)
    assert near / far == pytest.approx(4, rel=1e-5)
    r = math.hypot(300, 4000)
    assert near == pytest.approx(10 * 10 * (4000 / r) / r**2, rel=1e-5)


def test_six_sides_of_a_box_are_the_whole_sphere():
    x, y, z = 0.3, -0.7, 0.1
    sides = [
        solid_angle(y, z, 1 - x, 1, 1), solid_angle(y, z, 1 + x, 1, 1),
        solid_angle(x, z, 1 - y, 1, 1), solid_angle(x, z, 1 + y, 1, 1),
        solid_angle(x, y, 1 - z, 1, 1), solid_angle(x, y, 1 + z, 1, 1),
    ]  # fmt: skip
    assert sum(sides) == pytest.approx(4 * math.pi, rel=1e-12)


@pytest.mark.parametrize("point", [(0, 0, 40), (120, -30, 60), (500, 200, 700), (-90, 60, 250)])
@pytest.mark.parametrize("free_mm", [500.0, 950.0])
def test_straight_light_is_absorbed_on_its_way_to_each_part(point, free_mm):
    probability, way = straight(*map(float, point), 150.0, 60.0, free_mm)
    exact, exact_way = by_quadrature(*point, 150.0, 60.0, free_mm)
    assert probability == pytest.approx(exact / (4 * math.pi), rel=0.015)
    assert way / probability == pytest.approx(exact_way / exact, rel=0.02)


@given(x=st.floats(-1, 1), y=st.floats(-1, 1), z=st.floats(0.05, 1), far=st.floats(9.1, 60))
def test_the_series_for_far_rectangles_is_the_solid_angle(x, y, z, far):
    # Nearest point of the rectangle beyond `far` half sides, so that the series serves.
    point = np.array([x, y, z]) / np.linalg.norm([x, y, z]) * (far + 1.5) * 50.0
    probability, way = straight(*point.tolist(), 50.0, 35.0, 1e15)
    assert 4 * math.pi * probability == pytest.approx(solid_angle(*point.tolist(), 50.0, 35.0), rel=5e-4)
    assert way / probability == pytest.approx(np.linalg.norm(point))
