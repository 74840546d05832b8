"""Weights as safetensors, and the hash by which two runs are compared."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from hepfm.errors import CheckpointError


def weights_sha256(weights: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over name, dtype, shape and bytes of each tensor, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].contiguous()
        digest.update(f"{name}\x1f{tensor.dtype}\x1f{tuple(tensor.shape)}\x1f".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_weights(weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Writes tensors as safetensors."""
    save_file(dict(weights), path)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file, on the CPU.

    Raises:
        CheckpointError: The file is none.
    """
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise CheckpointError(f"The weights cannot be read: {error}.", where=str(path)) from error


def load_weights(module: nn.Module, path: Path) -> None:
    """Puts a checkpoint's weights into a module of the same recipe.

    Raises:
        CheckpointError: The module has other tensors than the file.
    """
    weights = read_weights(path)
    own = {name: tuple(tensor.shape) for name, tensor in module.state_dict(keep_vars=True).items()}
    missing = [name for name, _ in module.named_parameters() if name not in weights]
    unfit = [name for name, tensor in weights.items() if own.get(name) != tuple(tensor.shape)]
    if missing or unfit:
        raise CheckpointError(
            f"The weights are of another model: {len(missing)} are missing, {len(unfit)} do not fit "
            f"({', '.join((missing + unfit)[:3])}, ...).",
            where=str(path),
            fix="build the model from the recipe in model.json beside the weights",
        )
    module.load_state_dict(weights, strict=False)
