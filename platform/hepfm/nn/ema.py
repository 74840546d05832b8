"""A moving average of weights, in float32 (Polyak and Juditsky, SIAM J. Control Optim. 30 (1992) 838)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from hepfm.errors import CheckpointError


class Ema:
    """The average of some tensors over updates; early ones count less than ``decay`` says.

    The first values should not linger: update n keeps the share ``min(decay, (1 + n) / (10 + n))``.

    Args:
        tensors: Names and the live tensors, which may be the local shards of a distributed model.
        decay: Share that an update keeps, in [0, 1).
    """

    def __init__(self, tensors: Iterable[tuple[str, Tensor]], decay: float) -> None:
        self.live = {name: tensor.detach() for name, tensor in tensors}
        self.average = {name: tensor.float().clone() for name, tensor in self.live.items()}
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the live tensors."""
        self.updates += 1
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        if self.live:
            live = [tensor.float() for tensor in self.live.values()]
            torch._foreach_lerp_(list(self.average.values()), live, 1 - keep)

    @contextmanager
    def swap(self) -> Iterator[None]:
        """Puts the average into the live tensors, in place, while the context lasts."""
        own = {name: tensor.clone() for name, tensor in self.live.items()}
        try:
            self._copy(self.average)
            yield
        finally:
            self._copy(own)

    @torch.no_grad()
    def _copy(self, values: dict[str, Tensor]) -> None:
        for name, tensor in self.live.items():
            tensor.copy_(values[name])

    def state_dict(self) -> dict[str, Any]:
        """The average (not copied) and the number of updates."""
        return {"updates": self.updates, "average": dict(self.average)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over a saved state.

        Raises:
            CheckpointError: If its tensors are not these, by name and shape.
        """
        saved = state["average"]
        shapes = {name: tuple(tensor.shape) for name, tensor in saved.items()}
        expected = {name: tuple(tensor.shape) for name, tensor in self.average.items()}
        if wrong := sorted(n for n in shapes.keys() | expected.keys() if shapes.get(n) != expected.get(n)):
            name = wrong[0]
            raise CheckpointError(
                f"the saved average does not fit the model: {len(wrong)} tensors differ",
                where=f"{name}: saved {shapes.get(name)}, in the model {expected.get(name)}",
                fix="resume with the recipe that the checkpoint was made with",
            )
        self.updates = int(state["updates"])
        for name, tensor in self.average.items():
            tensor.copy_(saved[name])
