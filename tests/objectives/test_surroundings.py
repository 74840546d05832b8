"""The loss on what is around points, and its baseline, against numpy."""

from __future__ import annotations

import numpy as np
import torch

from hepfm.objectives.surroundings import Surroundings


def test_loss_and_baseline_are_mean_squares() -> None:
    rng = np.random.default_rng(0)
    points, truth = rng.normal(size=(50, 6)), rng.normal(1.0, 2.0, size=(50, 4))
    around = Surroundings(6, 4).double()
    weight, bias = (p.detach().numpy() for p in (around.out.weight, around.out.bias))
    found = around(torch.from_numpy(points), torch.from_numpy(truth))
    wanted = ((points @ weight.T + bias - truth) ** 2).mean(1).sum()
    np.testing.assert_allclose(float(found.detach()), wanted, rtol=1e-5)  # predictions are taken in float32

    for rows in (slice(20), slice(20, 50)):
        around.observe(torch.from_numpy(truth[rows]))
    np.testing.assert_allclose(
        float(around.baseline(torch.from_numpy(truth))), 50 * truth.var(0).mean(), rtol=1e-6
    )


def test_without_points_there_is_no_loss_and_every_weight_is_connected() -> None:
    around = Surroundings(6, 4)
    loss = around(torch.zeros(0, 6), torch.zeros(0, 4))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert all(p.grad is not None and not p.grad.any() for p in around.parameters())
    around.observe(torch.zeros(0, 4))
    assert float(around.baseline(torch.zeros(0, 4))) == 0.0
