"""Low-rank adaptation: linear layers that stay as they are, each with a small product learned beside it.

Hu et al., "LoRA: low-rank adaptation of large language models" (arXiv:2106.09685).

Legend of shapes: T rows, I and O width into and out of a layer, R rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from hepfm.errors import RecipeError, did_you_mean

_A, _B = ".lora_a", ".lora_b"


class LoraLinear(nn.Module):
    """``x W^T + bias + (alpha / R) x A^T B^T``, with a linear layer's W and bias. B is zero at first.

    The weights that were there keep their names; those that are new stand beside them.

    Args:
        layer: Whose parameters are taken over, and no longer trained.
        rank: R.
        scale: ``alpha / R``.
        generator: Draws A, of variance ``1 / I``.
    """

    bias: nn.Parameter | None

    def __init__(self, layer: nn.Linear, *, rank: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = layer.weight.requires_grad_(False)
        self.register_parameter("bias", layer.bias)
        if self.bias is not None:
            self.bias.requires_grad_(False)
        self.scale = scale
        drawn = torch.randn(rank, layer.in_features, generator=generator) * layer.in_features**-0.5
        self.lora_a = nn.Parameter(drawn.to(self.weight))
        self.lora_b = nn.Parameter(self.weight.new_zeros(layer.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """``(T, O)`` for ``x (T, I)``."""
        out: Tensor = linear(x, self.weight, self.bias)
        return out + self.scale * linear(linear(x, self.lora_a), self.lora_b)


def add_lora(module: nn.Module, *, rank: int, alpha: float, matrices: Sequence[str], seed: int) -> None:
    """Freezes a module, and puts a `LoraLinear` in the place of each of its linear layers, or of those named.

    Args:
        module: Whose output does not change by this.
        rank: R, of no layer more than its narrower side.
        alpha: What the learned product is multiplied by is ``alpha / R``.
        matrices: Names of layers, or of what they lie in (``mlp``); none for all.
        seed: Of the initial A.

    Raises:
        RecipeError: A name that no linear layer has, or nothing to adapt.
    """
    module.requires_grad_(requires_grad=False)
    found = list(_linear_layers(module))
    names = {word for path, *_ in found for word in path if not word.isdigit()}
    if not found or (unknown := sorted(set(matrices) - names)):
        named = f" called {', '.join(unknown)}" if found else ""
        raise RecipeError(
            f"The backbone {type(module).__name__} has no linear layers{named}.",
            where="model.adapt.matrices",
            fix=did_you_mean(unknown[0], names) if found else "set model.adapt.mode=full",
        )
    generator = torch.Generator().manual_seed(seed)
    for path, parent, layer in found:
        if not matrices or set(matrices) & set(path):
            most = min(rank, layer.in_features, layer.out_features)
            adapted = LoraLinear(layer, rank=most, scale=alpha / most, generator=generator)
            setattr(parent, path[-1], adapted)


def _linear_layers(module: nn.Module) -> Iterator[tuple[list[str], nn.Module, nn.Linear]]:
    """Path, parent and layer. A kind of its own may use its weights in other ways, and is left alone."""
    for at, parent in list(module.named_modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Linear:
                yield [*filter(None, at.split(".")), name], parent, child


def merge_lora(weights: Mapping[str, Tensor], *, alpha: float) -> dict[str, Tensor]:
    """The weights of plain linear layers that give what adapted ones do; other weights as they are.

    Args:
        weights: Of a module's state, on any device.
        alpha: As of `add_lora`.
    """
    merged = {name: value for name, value in weights.items() if not name.endswith((_A, _B))}
    for name, a in weights.items():
        if name.endswith(_A):
            layer = name.removesuffix(_A)
            product = weights[layer + _B].double() @ a.double() * (alpha / len(a))
            weight = merged[f"{layer}.weight"]
            merged[f"{layer}.weight"] = (weight.double() + product).to(weight)
    return merged
