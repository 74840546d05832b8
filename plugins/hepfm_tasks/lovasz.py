"""The Lovasz softmax: a loss that goes with the overlap of true and predicted points of each class.

Berman, Triki and Blaschko, arXiv:1705.08790, equations 8 and 9.

Legend of shapes: N points, B events, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor


def lovasz_softmax(probability: Tensor, index: Tensor, offsets: Tensor) -> Tensor:
    """Summed over events that have points of a known class; of each, the mean over the classes in it.

    Args:
        probability: ``(N, C)``.
        index: ``(N,)`` true classes; points of a negative one count nowhere.
        offsets: ``(B+1,)``.
    """
    losses = [probability.sum() * 0.0]
    for first, last in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        known = index[first:last] >= 0
        if known.any():
            losses.append(_of_event(probability[first:last][known], index[first:last][known]))
    return torch.stack(losses).sum()


def _of_event(probability_NC: Tensor, index: Tensor) -> Tensor:
    classes, which = torch.unique(index, return_inverse=True)
    true_NC = which[:, None] == torch.arange(len(classes), device=index.device)
    error_NC = (true_NC.to(probability_NC.dtype) - probability_NC[:, classes]).abs()
    error_NC, order_NC = error_NC.sort(0, descending=True)
    true_NC = true_NC.gather(0, order_NC)
    # One less the overlap, when the points so far are taken for wrong.
    total = true_NC.sum(0)
    union = total + (~true_NC).cumsum(0)
    lost = 1.0 - (total - true_NC.cumsum(0)) / union
    grows = torch.cat((lost[:1], lost.diff(dim=0)))
    loss: Tensor = (error_NC * grows).sum(0).mean()
    return loss
