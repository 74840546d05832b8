"""How a pretrained encoder is adapted to a task: what of it is trained, and how fast."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from hepfm.api import Taught
from hepfm.errors import RecipeError
from hepfm.nn.lora import add_lora
from hepfm.recipe.schema import Recipe


def adapt(module: Any, recipe: Recipe) -> None:
    """Makes of a model, with the weights that its encoder begins with, the one that is trained.

    Args:
        module: A `hepfm.training.model.PretrainModule`.
        recipe: Its section ``model.adapt``.

    Raises:
        RecipeError: Nothing would be trained, or the model cannot be adapted so.
    """
    how = recipe.model.adapt
    if how.mode == "full":
        return
    if isinstance(module.objective, Taught):
        raise RecipeError(
            f"The objective '{recipe.objective.name}' teaches by a copy that follows the whole encoder.",
            where="model.adapt.mode",
            fix="set model.adapt.mode=full, or choose another objective",
        )
    module.encoder.requires_grad_(requires_grad=False)
    if how.mode == "frozen":
        module.encoder.frozen = True
        module.encoder.eval()
    else:
        add_lora(
            module.encoder.backbone, rank=how.rank, alpha=how.alpha, matrices=how.matrices, seed=recipe.seed
        )
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise RecipeError(
            f"With a frozen encoder the objective '{recipe.objective.name}' has nothing to train.",
            where="model.adapt.mode",
            fix="choose another mode",
        )


def rates(module: Any, decay: float) -> Iterator[tuple[nn.Parameter, float]]:
    """What the learning rate of each parameter is multiplied by, in the order of parameters.

    BEiT's layer-wise decay (Bao et al., arXiv:2106.08254): of L layers, layer i (from 1) learns with
    ``decay^(L + 1 - i)``; what lies below the first one with ``decay^(L + 1)``, tokenizers and part embedding
    among it; what comes after the last one, norm and head, with 1.

    Raises:
        RecipeError: The backbone does not show its layers.
    """
    if decay == 1:
        yield from ((parameter, 1.0) for parameter in module.parameters())
        return
    backbone = module.encoder.backbone
    lists = (n for n, child in backbone.named_children() if isinstance(child, nn.ModuleList))
    stack = next((name for name in lists if len(getattr(backbone, name)) == backbone.n_layers), None)
    if stack is None:
        raise RecipeError(
            f"The backbone {type(backbone).__name__} has no list of its {backbone.n_layers} layers.",
            where="model.adapt.layer_decay",
            fix="set it to 1, or let the backbone keep its layers in a torch.nn.ModuleList",
        )
    begins, layers, below = "encoder.backbone.", f"encoder.backbone.{stack}.", True
    for name, parameter in module.named_parameters():
        if name.startswith(layers):
            below = False  # parameters come in the order in which the backbone made them
            layer = int(name.removeprefix(layers).split(".")[0])
            yield parameter, decay ** (backbone.n_layers - layer)
        elif name.startswith(begins):
            yield parameter, decay ** (backbone.n_layers + 1) if below else 1.0
        else:
            yield parameter, decay ** (backbone.n_layers + 1) if name.startswith("encoder.") else 1.0
