"""The module that is pretrained: an encoder, and the objective that teaches it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn

from hepfm.api import Modality, Plan, Taught
from hepfm.nn.encoder import Encoder
from hepfm.nn.frame import Frame
from hepfm.recipe.components import config_of
from hepfm.recipe.schema import Recipe

Precision = Literal["bf16", "fp32"]


class PretrainModule(nn.Module):
    """Encoder and objective in one module, so that one engine drives both.

    Attributes:
        encoder: What is kept after pretraining.
        objective: Its loss, with decoders and marginals.
        precision: Of matrix products; parameters, losses and what autocast keeps are float32.
        tokens: Tokens that the backbone has encoded so far, for throughput.
    """

    def __init__(self, encoder: Encoder, objective: Any, precision: Precision) -> None:
        super().__init__()
        self.encoder = encoder
        self.objective = objective
        self.precision = precision
        self.tokens = 0
        encoder.backbone.register_forward_pre_hook(self._count)

    def forward(
        self, plan: Plan, scales: Mapping[str, float]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of a micro-batch, and its parts.

        Args:
            plan: What the objective does with the micro-batch.
            scales: Loss term to what its sum is multiplied by.

        Returns:
            The scaled loss (a scalar, connected to every parameter), and the sum of each term, detached.
        """
        with torch.autocast(
            plan.draws.event_ids.device.type, torch.bfloat16, enabled=self.precision == "bf16"
        ):
            sums = self.objective(self.encoder, plan)
        loss = sum((sums[term].float() * scale for term, scale in scales.items()), torch.zeros(()))
        return loss, {term: sums[term].detach() for term in scales}

    def _count(self, _module: nn.Module, args: tuple[object, ...]) -> None:
        self.tokens += len(args[0].x)  # type: ignore[attr-defined]


def build(recipe: Recipe, modalities: Mapping[str, Modality], precision: Precision) -> PretrainModule:
    """A model with initial weights that depend on the recipe's seed alone.

    Args:
        recipe: Names backbone and objective.
        modalities: Part name to its modality, made for the schema of the data.
        precision: Of matrix products.

    Raises:
        PluginError: A component that is missing or broken.
        RecipeError: Options that a component refuses.
    """
    torch.manual_seed(recipe.seed)
    cls, config = config_of("backbone", recipe.model.backbone)
    backbone = cls(config, n_positions=Frame(modalities).n_positions)
    cls, config = config_of("objective", recipe.objective)
    encoder = Encoder(modalities, backbone, causal=getattr(cls, "causal", False))
    objective = cls(config, modalities=modalities, d_model=backbone.d_model)
    if isinstance(objective, Taught):
        objective.begin(encoder)
    return PretrainModule(encoder, objective, precision)


def resolve_precision(asked: str, device: torch.device) -> Precision:
    """``auto``: bf16 where the processor multiplies matrices in it, else fp32."""
    if asked == "auto":
        if device.type == "cuda":
            fast = torch.cuda.get_device_capability(device) >= (8, 0)
        else:
            fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001
        return "bf16" if fast else "fp32"
    return "bf16" if asked == "bf16" else "fp32"
