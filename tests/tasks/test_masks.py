"""Masks of queries: what distances alone separate, and that only relative places count."""

from __future__ import annotations

from dataclasses import replace

import torch

from hepfm.api import Tokens
from hepfm_tasks.masks import MaskDecoder

WIDTH = 32


def rows(positions, offsets, width, seed):
    x = torch.randn(len(positions), width, generator=torch.Generator().manual_seed(seed))
    return Tokens(x=x, positions=positions, offsets=offsets, part=torch.zeros(len(x), dtype=torch.int64))


def event(n=30, n_tokens=9):
    generator = torch.Generator().manual_seed(3)
    place = torch.rand(n + n_tokens, 3, generator=generator) * 30
    points = rows(place[:n], torch.tensor([0, 10, 10, n]), WIDTH, 1)
    return points, rows(place[n:], torch.tensor([0, 4, 4, n_tokens]), 16, 2)


def decoder(layers=2):
    torch.manual_seed(0)
    return MaskDecoder(WIDTH, layers, 16)


def test_crossing_tracks_are_cut_by_the_axis_of_a_mask():
    along = torch.linspace(-20, 20, 81)[:, None]
    tracks = torch.cat((along * torch.tensor([[1.0, 0.0, 0.0]]), along * torch.tensor([[0.6, 0.8, 0.0]])))
    points, tokens = rows(tracks, torch.tensor([0, 162]), WIDTH, 1), event()[1]
    tokens = replace(tokens, offsets=torch.tensor([0, 9]))
    of = decoder()
    with torch.no_grad():
        of.mask.weight.zero_()
        of.mask.bias.zero_()
        # A logit of four; from it is taken thrice the distance from the axis near the anchor, and that of the
        # mask before.
        of.mask.bias[-5:] = torch.tensor([4.0, -30.0, 3.0, -30.0, 3.0])
        logits = of(points, tokens, torch.tensor([10, 100]), torch.tensor([0, 2]))
    for (layer,) in logits:
        for row, own in ((0, slice(0, 81)), (1, slice(81, 162))):
            mask = layer[row] > 0
            apart = points.positions.norm(dim=1) > 2
            assert mask[own].all()
            assert not mask[apart & ~torch.isin(torch.arange(162), torch.arange(own.start, own.stop))].any()


def test_only_relative_places_count():
    points, tokens = event()
    anchors, offsets = torch.tensor([2, 7, 15, 29]), torch.tensor([0, 2, 2, 4])
    moved = [
        replace(each, positions=each.positions + torch.tensor([5.0, -3.0, 8.0])) for each in (points, tokens)
    ]
    with torch.no_grad():
        for here, there in zip(
            decoder()(points, tokens, anchors, offsets), decoder()(*moved, anchors, offsets), strict=True
        ):
            assert [each.shape for each in here] == [(2, 10), (0, 0), (2, 20)]
            for a, b in zip(here, there, strict=True):
                torch.testing.assert_close(a, b, atol=2e-3, rtol=1e-3)


def test_tokens_and_masks_before_change_the_masks():
    points, tokens = event()
    anchors, offsets = torch.tensor([2, 15]), torch.tensor([0, 1, 1, 2])
    other = replace(tokens, x=tokens.x + torch.randn(9, 16, generator=torch.Generator().manual_seed(7)))
    with torch.no_grad():
        first, second = (decoder()(points, each, anchors, offsets) for each in (tokens, other))
    torch.testing.assert_close(first[0], second[0])  # made of the anchor alone
    assert not torch.allclose(first[-1][0], second[-1][0], atol=1e-3)
