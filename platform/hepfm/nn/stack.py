"""What stacks of residual blocks share, whatever mixes their rows: branches, drop-path, layers to read out.

Drop-path: Huang et al., arXiv:1603.09382, drawn here for each event from its own random numbers.

Legend of shapes: T rows, D model width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from hepfm.errors import RecipeError
from hepfm.nn.init import linear
from hepfm.random import Draws


def drop_path_of(layer: int, n_layers: int, last: float) -> float:
    """Probability that an event skips a branch of a layer, counted from 1; 0 at first, ``last`` at last."""
    return last * (layer - 1) / max(1, n_layers - 1)


def two_layers(d_model: int, *, gain: float) -> nn.Sequential:
    """The network of a block's second branch, four times as wide within."""
    return nn.Sequential(linear(d_model, 4 * d_model), nn.GELU(), linear(4 * d_model, d_model, gain=gain))


def add_branches(
    x: Tensor,
    mix: Callable[[Tensor], Tensor],
    feed: Callable[[Tensor], Tensor],
    *,
    event: Tensor | None,
    draws: Draws | None,
    purpose: str,
    drop_path: float,
) -> Tensor:
    """``(T, D)`` for ``x (T, D)``: each branch is added to what went into it.

    Args:
        x: Rows of the events.
        mix: The first branch, of all rows.
        feed: The second branch.
        event: ``(T,)`` the event of each row; with draws.
        draws: The events' random numbers for drop-path; None switches it off.
        purpose: Of the draws.
        drop_path: Probability that an event skips a branch.
    """
    if draws is None or not drop_path:
        x = x + mix(x)
        return x + feed(x)
    assert event is not None
    kept = draws.per_event(purpose, 2) >= drop_path
    share_T2 = (kept / (1 - drop_path)).to(x.dtype).index_select(0, event)
    x = x + mix(x) * share_T2[:, :1]
    fed: Tensor = feed(x) * share_T2[:, 1:]
    return x + fed


def check_layers(layers: Sequence[int], n_layers: int) -> None:
    """Refuses with `RecipeError` layers (1 to n_layers) that there are not."""
    if unknown := sorted(set(layers) - set(range(1, n_layers + 1))):
        raise RecipeError(
            f"there is no layer {', '.join(map(str, unknown))} to read out",
            where="layers",
            fix=f"choose from 1 to {n_layers}",
        )


def through(
    x: Tensor,
    blocks: Iterable[nn.Module],
    step: Callable[[nn.Module, Tensor], Tensor],
    norm: nn.Module,
    layers: Sequence[int],
) -> Tensor:
    """``x (T, D)`` after all blocks, normalised; or the layers (from 1) asked for, side by side in width."""
    read = {}
    for layer, block in enumerate(blocks, 1):
        x = step(block, x)
        if layer in layers:
            read[layer] = norm(x)
    out: Tensor = torch.cat([read[layer] for layer in layers], 1) if layers else norm(x)
    return out
