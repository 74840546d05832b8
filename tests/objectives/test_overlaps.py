"""Units of other parts that overlap with a hidden one: against a loop over pairs, and what is told of them."""

from __future__ import annotations

import math

import pytest
import torch

from hepfm.api import Tokens
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


def test_pairs_are_those_of_a_loop():
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


def test_a_query_hears_of_what_it_overlaps_with_and_of_nothing_else():
    torch.manual_seed(0)
    module, memory = Overlaps(8, N_AXES), torch.randn(18, 8, requires_grad=True)
    answer = module(ASKED, memory, TOLD)
    q, m = overlapping(ASKED, TOLD)
    row = int(q[0])
    (gradient,) = torch.autograd.grad(answer[row].square().sum(), memory)
    assert gradient.abs().sum(1).nonzero()[:, 0].tolist() == m[q == row].tolist()
    alone = [i for i in range(14) if i not in q.tolist()]
    assert alone
    torch.testing.assert_close(answer[alone], answer[alone[0]].expand(len(alone), -1))


def test_answers_do_not_depend_on_where_the_frame_begins():
    torch.manual_seed(0)
    module, memory = Overlaps(8, N_AXES), torch.randn(18, 8)
    moved = [Tokens(**{**vars(t), "positions": t.positions + 128.0}) for t in (ASKED, TOLD)]
    torch.testing.assert_close(
        module(moved[0], memory, moved[1]), module(ASKED, memory, TOLD), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("lengths", [[], [0, 0]])
def test_without_pairs_every_parameter_has_a_gradient(lengths):
    module, none = Overlaps(8, N_AXES), tokens_of(lengths, 3)
    module(none, torch.zeros(0, 8), none).sum().backward()
    assert [name for name, p in module.named_parameters() if p.grad is None] == []
