"""Fourier features of positions."""

from __future__ import annotations

import torch

from hepfm.nn.position import PER_AXIS, PositionEmbedding, fourier_features


def test_features_tell_all_cells_of_a_grid_apart_and_neighbours_alike() -> None:
    line = torch.arange(512.0)[:, None]
    distance = torch.cdist(fourier_features(line), fourier_features(line))
    assert (distance + torch.eye(512) * 9).min() > 0.5
    assert (distance.diagonal(1) < distance.diagonal(64).min()).all()
    # |f(a) - f(b)|^2 is 2 * sum(1 - cos(w (a - b))): it depends on the difference alone.
    torch.testing.assert_close(distance.diagonal(5), distance[0, 5].expand(507), rtol=1e-3, atol=1e-3)


def test_each_axis_has_its_own_features() -> None:
    features = fourier_features(torch.tensor([[3.0, 8.0], [3.0, 9.0], [4.0, 8.0]])).view(3, 2, 2, PER_AXIS)
    assert torch.equal(features[0, :, 0], features[1, :, 0])
    assert torch.equal(features[0, :, 1], features[2, :, 1])
    assert not torch.equal(features[0, :, 1], features[1, :, 1])


def test_no_positions_embed_to_no_rows_and_still_give_gradients() -> None:
    embed = PositionEmbedding(3, 16)
    out = embed(torch.empty(0, 3))
    assert out.shape == (0, 16)
    out.sum().backward()
    assert all(p.grad is not None for p in embed.parameters())
