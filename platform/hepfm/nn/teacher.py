"""A teacher: a copy of a module that follows it, as a moving average of its weights.

As in "mean teachers" (Tarvainen and Valpola, arXiv:1703.01780) and BYOL (Grill et al., arXiv:2006.07733).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn


class Teacher(nn.Module):
    """The copy. What are parameters of the module are buffers here: saved, never trained, whole on each rank.

    Buffers of the module itself are taken for constants.

    Args:
        module: With its initial weights, float32.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.copy = copy.deepcopy(module)
        for part in self.copy.modules():
            for name in list(part._parameters):  # noqa: SLF001  named_parameters would not tell whose they are
                parameter = part._parameters.pop(name)  # noqa: SLF001
                part.register_buffer(name, None if parameter is None else parameter.detach())
        super().train(mode=False)

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002
        """Does nothing: a teacher is evaluated, also while its module is trained."""
        return self

    @torch.no_grad()
    def forward(self, *args: Any, **options: Any) -> Any:
        """What the module would give, without gradients."""
        return self.copy(*args, **options)

    @torch.no_grad()
    def follow(self, weights: Iterable[tuple[str, Tensor]], keep: float) -> None:
        """Moves towards the module's weights.

        Args:
            weights: Their names in the module, and values; others are passed over.
            keep: Share of the teacher's own weights that stays.
        """
        own = dict(self.copy.named_buffers())
        for name, value in weights:
            if name in own:
                own[name].lerp_(value.to(own[name].dtype), 1 - keep)
