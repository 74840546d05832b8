"""Units of other parts that overlap with a hidden one: against a loop over pairs, and what is told of them."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from hepfm.api import Pieces, Tokens
from hepfm.nn.frame import Frame
from hepfm.objectives import overlaps
from hepfm.objectives.overlaps import Overlaps, overlapping

N_AXES = 3


def tokens_of(lengths, seed):
    generator = torch.Generator().manual_seed(seed)
    n = sum(lengths)
    reach = torch.rand(n, N_AXES, generator=generator) * 3
    reach[torch.rand(n, N_AXES, generator=generator) < 0.3] = torch.inf
    return Tokens(
        x=torch.zeros(n, 8),
        positions=torch.rand(n, N_AXES, generator=generator) * 10,
        offsets=torch.tensor([0, *lengths]).cumsum(0),
        part=torch.randint(0, 2, (n,), generator=generator),
        reach=reach,
    )


def meet(a, b, i, j):
    if a.part[i] == b.part[j]:
        return False
    known = [k for k in range(N_AXES) if math.isfinite(a.reach[i, k]) and math.isfinite(b.reach[j, k])]
    apart = [abs(float(a.positions[i, k]) - float(b.positions[j, k])) for k in known]
    return bool(known) and all(
        d <= float(a.reach[i, k]) + float(b.reach[j, k]) for d, k in zip(apart, known, strict=True)
    )


ASKED, TOLD = tokens_of([5, 0, 7, 2], 1), tokens_of([6, 3, 9, 0], 2)


@pytest.mark.parametrize("most", [1, 20, overlaps.MOST_PAIRS])
def test_pairs_are_those_of_a_loop(monkeypatch, most):
    """However few are compared at a time."""
    monkeypatch.setattr(overlaps, "MOST_PAIRS", most)
    q, m = overlapping(ASKED, TOLD)
    wanted = [
        (i, j)
        for event in range(4)
        for i in range(int(ASKED.offsets[event]), int(ASKED.offsets[event + 1]))
        for j in range(int(TOLD.offsets[event]), int(TOLD.offsets[event + 1]))
        if meet(ASKED, TOLD, i, j)
    ]
    assert len(wanted) > 5
    assert list(zip(q.tolist(), m.tolist(), strict=True)) == wanted


def pieces_of(told, seed):
    """Of each visible unit three pieces, a third as long along each axis."""
    third = torch.arange(3).repeat(len(told.x))[:, None] - 1
    unit = torch.arange(len(told.x)).repeat_interleave(3)
    reach = told.reach[unit] / 3
    middle = told.positions[unit] + (2 * third * reach).where(reach.isfinite(), 0.0)
    features = torch.randn(len(unit), 6, generator=torch.Generator().manual_seed(seed))
    pieces = {}
    for index, part in enumerate("ab"):
        mine = told.part[unit] == index
        places = {axis: torch.stack((middle[mine, i], reach[mine, i]), 1) for i, axis in enumerate("xyz")}
        within = (told.part == index).cumsum(0)[unit[mine]] - 1
        pieces[part] = Pieces(features=features[mine].requires_grad_(), unit=within, places=places)
    return pieces


def module_of():
    torch.manual_seed(0)
    modalities = {
        part: SimpleNamespace(n_positions=3, axes=tuple("xyz"), piece_width=6, pieces=len) for part in "ab"
    }
    return Overlaps(8, Frame(modalities), modalities)


def test_a_query_hears_of_the_pieces_it_overlaps_with_and_of_nothing_else():
    module, pieces = module_of(), pieces_of(TOLD, 4)
    answer, heard = module(ASKED, TOLD, pieces), 0
    for row in range(len(ASKED.x)):
        gradients = torch.autograd.grad(
            answer[row].square().sum(), [of_part.features for of_part in pieces.values()], retain_graph=True
        )
        for index, (of_part, gradient) in enumerate(zip(pieces.values(), gradients, strict=True)):
            middle, reach = torch.stack([of_part.places[axis] for axis in "xyz"], 1).unbind(2)
            unit = (TOLD.part == index).nonzero()[of_part.unit, 0]
            event = torch.bucketize(unit, TOLD.offsets[1:], right=True)
            each = Tokens(x=middle, positions=middle, reach=reach, part=TOLD.part[unit], offsets=TOLD.offsets)
            mine = int(torch.bucketize(torch.tensor(row), ASKED.offsets[1:], right=True))
            wanted = [
                i for i in range(len(unit))
                if event[i] == mine and meet(ASKED, each, row, i) and meet(ASKED, TOLD, row, int(unit[i]))
            ]  # fmt: skip
            assert gradient.abs().sum(1).nonzero()[:, 0].tolist() == wanted
            heard += len(wanted)
    assert heard > 20


def test_answers_do_not_depend_on_where_the_frame_begins():
    module, pieces = module_of(), pieces_of(TOLD, 4)
    moved = [replace(t, positions=t.positions + 128.0) for t in (ASKED, TOLD)]
    shift = torch.tensor([128.0, 0.0])
    there = {
        part: replace(p, places={axis: place + shift for axis, place in p.places.items()})
        for part, p in pieces.items()
    }
    torch.testing.assert_close(module(*moved, there), module(ASKED, TOLD, pieces), rtol=0, atol=2e-4)


@pytest.mark.parametrize("lengths", [[], [0, 0]])
def test_without_pairs_every_parameter_has_a_gradient(lengths):
    module, none = module_of(), tokens_of(lengths, 3)
    module(none, none, pieces_of(none, 4)).sum().backward()
    assert [name for name, p in module.named_parameters() if p.grad is None] == []
