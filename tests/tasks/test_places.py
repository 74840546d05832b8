"""Places of an event's points as seen from anchors, against the same in float64, pair by pair."""

from __future__ import annotations

import numpy as np
import torch

from hepfm_tasks.places import LEAST, NEAR, Places, directions

RNG = np.random.default_rng(5)
POINTS = RNG.uniform(0, 100, 3) + RNG.normal(0, (20, 3, 1), (40, 3))
ANCHORS = [3, 17, 3]


def places():
    return Places(torch.from_numpy(POINTS).float(), torch.tensor(ANCHORS))


def of_weights(weight):
    """Log distances of each point from the middle and from the axis of weighted points."""
    mean = weight @ POINTS / weight.sum()
    apart = POINTS - mean
    spread = (apart * weight[:, None]).T @ apart / weight.sum() + LEAST**2 * np.eye(3)
    length, axes = np.linalg.eigh(spread)
    share = length**4 / (length**4).sum()  # one for the axis of a line, a third for each of a ball
    blob = [np.log1p(each @ np.linalg.solve(spread, each)) / 2 for each in apart]
    line = [np.log1p(np.sum((1 - share) * (each @ axes) ** 2) / LEAST**2) / 2 for each in apart]
    return np.array(blob), np.array(line)


def test_distances_are_from_anchor_and_its_axis_and_from_mask_and_its_axis():
    logits = RNG.normal(0, 3, (3, 40))
    found, first = places().distances(torch.from_numpy(logits).float()), places().distances(None)
    assert found.shape == first.shape == (3, 4, 40)
    for row, anchor in enumerate(ANCHORS):
        apart = np.linalg.norm(POINTS - POINTS[anchor], axis=1)
        near = of_weights(np.maximum(np.exp(-((apart / NEAR) ** 2)), np.exp(-20)))
        mask = of_weights(1 / (1 + np.exp(-logits[row])) ** 2)
        from_anchor = np.log1p((apart / LEAST) ** 2) / 2
        np.testing.assert_allclose(found[row], [from_anchor, near[1], *mask], atol=2e-3)
        np.testing.assert_allclose(first[row], [from_anchor, near[1], *near], atol=2e-3)


def test_directions_keep_distances_apart_along_diagonals():
    place = torch.tensor([[1.0, 1.0, 0.0], [1.0, -1.0, 0.0]])
    half = 2**0.5 / 2
    expected = [
        [1, 1, 0, 2 * half, half, half, 0, half, half],
        [1, -1, 0, 0, half, -half, 2 * half, half, -half],
    ]
    torch.testing.assert_close(directions(place), torch.tensor(expected))
    assert directions(place[:, :1]).tolist() == [[1.0], [1.0]]
