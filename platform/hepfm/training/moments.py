"""AdamW's moments on disk, so that any number of ranks at any ZeRO stage can take them up.

Each rank writes the pieces that it holds, as ``adamw-00000.safetensors``; names and places in the model's own
parameters go along. A rank that reads finds by them what it needs, in however many files it lies.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from hepfm.errors import CheckpointError

_KEYS = ("exp_avg", "exp_avg_sq")
"""What `torch.optim.AdamW` calls first and second moment."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Successive elements of a parameter, whose optimiser state this rank holds.

    Attributes:
        name: The parameter's.
        start: The first of the elements, in the flattened parameter.
        numel: How many.
        held: The tensor that the optimiser knows, of one or many parameters.
        at: Where in it the elements are.
    """

    name: str
    start: int
    numel: int
    held: torch.Tensor
    at: int

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """A view of the elements in ``held``, or in a tensor like it."""
        return tensor.detach().view(-1)[self.at : self.at + self.numel]


def moments_of(
    pieces: Sequence[Piece], adam: torch.optim.AdamW
) -> tuple[list[tuple[str, torch.Tensor]], dict[str, str]]:
    """This rank's moments. A parameter that had no gradient yet has none, and is left out.

    Returns:
        Names and tensors (not copied), and the metadata of the file that they go into.
    """
    tensors: list[tuple[str, torch.Tensor]] = []
    about = {}
    for piece in pieces:
        if state := adam.state.get(piece.held):
            tensors += [(f"{key}/{piece.name}", piece.of(state[key])) for key in _KEYS]
            about[piece.name] = {"start": piece.start, "step": float(state["step"])}
    return tensors, {"pieces": json.dumps(about)}


def read_moments(pieces: Sequence[Piece], adam: torch.optim.AdamW, folder: Path) -> None:
    """Puts the moments that ranks wrote, each into its own file, into the pieces that this rank holds.

    Raises:
        CheckpointError: Nothing was written there, or not for the whole of a parameter.
    """
    adam.state.clear()
    with _opened(folder) as saved:
        for piece in pieces:
            found = [each for each in saved.get(piece.name, ()) if each.overlaps(piece)]
            if sum(each.shared(piece) for each in found) not in {0, piece.numel}:
                raise CheckpointError(
                    f"The checkpoint has AdamW's moments of a part of {piece.name} only.", where=str(folder)
                )
            if not found:
                continue
            state = adam.state[piece.held] or _zeros(piece.held)
            adam.state[piece.held] = state
            state["step"].fill_(max(float(state["step"]), *(each.step for each in found)))
            for each in found:
                for key in _KEYS:
                    each.copy_to(piece, key, piece.of(state[key]))


def _zeros(held: torch.Tensor) -> dict[str, torch.Tensor]:
    """The state that AdamW begins with; fused, it counts steps where the parameter is."""
    step = torch.zeros((), dtype=torch.float32, device=held.device)
    return {"step": step} | {key: torch.zeros_like(held, requires_grad=False) for key in _KEYS}


@dataclass(frozen=True)
class _Saved:
    """A piece in a file."""

    file: Any
    name: str
    start: int
    numel: int
    step: float

    def shared(self, piece: Piece) -> int:
        return min(self.start + self.numel, piece.start + piece.numel) - max(self.start, piece.start)

    def overlaps(self, piece: Piece) -> bool:
        return self.shared(piece) > 0

    def copy_to(self, piece: Piece, key: str, target: torch.Tensor) -> None:
        first, count = max(self.start, piece.start), self.shared(piece)
        values = self.file.get_slice(f"{key}/{self.name}")[first - self.start : first - self.start + count]
        target[first - piece.start : first - piece.start + count].copy_(values)


@contextmanager
def _opened(folder: Path) -> Iterator[dict[str, list[_Saved]]]:
    """Parameter name to its pieces in the files of a folder."""
    saved: dict[str, list[_Saved]] = {}
    files = sorted(folder.glob("adamw-*.safetensors"))
    if not files:
        raise CheckpointError(
            "There is no state of the optimiser in the checkpoint.",
            where=str(folder),
            fix="its weights can be used; to train on, begin again",
        )
    with ExitStack() as stack:
        for path in files:
            try:
                file = stack.enter_context(safe_open(path, framework="pt"))
            except SafetensorError as error:
                raise CheckpointError(
                    f"The optimiser's state cannot be read: {error}", where=str(path)
                ) from error
            for name, about in json.loads(file.metadata()["pieces"]).items():
                (numel,) = file.get_slice(f"{_KEYS[0]}/{name}").get_shape()
                saved.setdefault(name, []).append(_Saved(file, name, about["start"], numel, about["step"]))
        yield saved
