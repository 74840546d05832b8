"""Weights as safetensors, and the hash by which two runs are compared."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from hepfm.errors import CheckpointError
from hepfm.training.checkpoint import Buffer

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""As safetensors calls them."""


def weights_sha256(weights: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over name, dtype, shape and bytes of each tensor, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name]
        digest.update(f"{name}\x1f{tensor.dtype}\x1f{tuple(tensor.shape)}\x1f".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def to_safetensors(
    tensors: Mapping[str, torch.Tensor], about: Mapping[str, str] | None = None
) -> list[Buffer]:
    """The content of a safetensors file, without a copy: its header, and views of tensors on the CPU.

    Args:
        tensors: Contiguous; those of larger elements lie first, so that all are aligned.
        about: Metadata.
    """
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header: dict[str, Any] = {"__metadata__": dict(about)} if about else {}
    end = 0
    for name, tensor in ordered:
        start, end = end, end + tensor.nbytes
        entry = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        header[name] = entry
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return [struct.pack("<Q", len(text)), text, *(_bytes(tensor) for _, tensor in ordered)]


def _bytes(tensor: torch.Tensor) -> memoryview:
    return tensor.detach().flatten().view(torch.uint8).numpy().data


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
    """Puts a checkpoint's weights into a module of the same recipe; raises as the two that it calls."""
    put_weights(module, read_weights(path), where=path)


def put_weights(module: nn.Module, weights: Mapping[str, torch.Tensor], *, where: Path) -> None:
    """Puts weights that were read into a module.

    Args:
        module: Of the recipe that they were trained with.
        weights: Of all its parameters, and of none that it does not have.
        where: They were read from, for the message.

    Raises:
        CheckpointError: The module has other tensors.
    """
    own = {name: tuple(tensor.shape) for name, tensor in module.state_dict(keep_vars=True).items()}
    missing = [name for name, _ in module.named_parameters() if name not in weights]
    unfit = [name for name, tensor in weights.items() if own.get(name) != tuple(tensor.shape)]
    if missing or unfit:
        raise CheckpointError(
            f"The weights are of another model: {len(missing)} are missing, {len(unfit)} do not fit "
            f"({', '.join((missing + unfit)[:3])}, ...).",
            where=str(where),
            fix="build the model from the recipe in model.json beside the weights",
        )
    module.load_state_dict(dict(weights), strict=False)
