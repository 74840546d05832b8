"""Masks to instances: against clustering by brute force, and rules that are seen by eye."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hepfm.api import Tokens
from hepfm_tasks.grouping import covered, grouped, linked


def joined_one_by_one(alike):
    """Groups of anchors: the two that are most alike on average are joined, as long as this is above one half."""
    both = (alike + alike.T) / 2
    groups = [[row] for row in range(len(alike))]
    while len(groups) > 1:
        pairs = [(i, j) for i in range(len(groups)) for j in range(i)]
        mean = [both[np.ix_(groups[i], groups[j])].mean() for i, j in pairs]
        if max(mean) < 0.5:
            break
        i, j = pairs[int(np.argmax(mean))]
        groups[j] += groups.pop(i)
    return {frozenset(group) for group in groups}


@pytest.mark.parametrize("seed", range(4))
def test_anchors_are_joined_by_average_linkage(seed):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 4, 20)
    alike = np.clip((true[:, None] == true) * 0.6 + 0.2 + rng.normal(0, 0.3, (20, 20)), 0, 1)
    found = linked(torch.from_numpy(alike))
    assert {frozenset((found == group).nonzero()[:, 0].tolist()) for group in found.unique()} == (
        joined_one_by_one(alike)
    )
    assert found.unique().tolist() == list(range(int(found.max()) + 1))
    assert linked(torch.ones(1, 1)).tolist() == [0]


def test_points_go_to_the_group_that_is_surest_on_average():
    masks = torch.tensor(
        [
            [0.9, 0.8, 0.9, 0.3, 0.1, 0.0],
            [0.7, 0.8, 0.1, 0.1, 0.1, 0.0],
            [0.1, 0.1, 0.6, 0.8, 0.9, 0.1],
            [0.2, 0.0, 0.0, 0.0, 0.0, 0.6],
        ]
    )
    group = torch.tensor([0, 0, 1, 2])
    probability, instance = covered(masks, group, most=9, smallest=1)
    assert instance.tolist() == [1, 1, 0, 0, 0, 2]  # the largest comes first
    assert probability.tolist() == pytest.approx([0.8, 0.8, 0.6, 0.8, 0.9, 0.6])
    with torch.autocast("cpu", torch.bfloat16):
        half = covered(masks.bfloat16(), group, most=9, smallest=1)
        assert torch.equal(covered(masks, group, most=9, smallest=1)[0], probability)
    assert (half[0].dtype, half[1].tolist()) == (torch.float32, instance.tolist())
    # A group of one point is too small, and then one of two.
    assert covered(masks, group, most=9, smallest=2)[1].tolist() == [1, 1, 0, 0, 0, 0]
    assert covered(masks, group, most=1, smallest=1)[1].tolist() == [0] * 6
    assert covered(masks, group, most=9, smallest=50)[1].tolist() == [0] * 6  # the largest one stays


def test_the_largest_comes_first_when_small_ones_have_lost_their_points():
    sure, second = (
        torch.eye(5)[[0, 0, 0, 0, 1, 1, 1, 2, 2, 3]].T,
        torch.eye(5)[[4, 4, 4, 4, 4, 4, 4, 1, 1, 1]].T,
    )
    masks = (0.6 * sure + 0.3 * second)[:4]
    assert covered(masks, torch.arange(4), most=9, smallest=3)[1].tolist() == [1] * 4 + [0] * 6


def test_what_no_mask_covers_gets_anchors_of_its_own():
    rng = np.random.default_rng(1)
    middles = np.arange(6).reshape(2, 3) * 10.0
    blob = np.array([0] * 40 + [1] + [0, 0, -1, 1, 0])  # of three events, the second one empty
    places = torch.from_numpy(middles[blob] + rng.uniform(-0.4, 0.4, (46, 3))).float()
    offsets = torch.tensor([0, 41, 41, 46])
    points = Tokens(x=places, positions=places, offsets=offsets, part=torch.zeros(46, dtype=torch.int64))
    asked = []

    def near(points, tokens, anchors, of_events):
        asked.append(anchors)
        rows, mine = points.offsets.tolist(), of_events.tolist()
        return [
            [
                9.0 * (2 - torch.cdist(points.x[anchors[a:b]], points.x[first:last]))
                for a, b, first, last in zip(mine, mine[1:], rows, rows[1:], strict=False)
            ]
        ]

    inside = torch.from_numpy(blob >= 0)
    found = grouped(points, points, inside, near, queries=2, smallest=1)
    assert 40 not in asked[0]  # two of forty: the single one is seen when these are covered
    assert 40 in asked[1]
    assert [instance.tolist() for instance, _ in found] == [[0] * 40 + [1], [], [0, 0, -1, 1, 0]]
    assert found[2][1][2] == 0
    assert found[2][1][0] > 0.9
    one = grouped(points, points, inside, near, queries=1, smallest=1)
    assert one[0][0].tolist() == [0] * 41  # no more instances than queries
