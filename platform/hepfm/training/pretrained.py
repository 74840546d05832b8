"""A checkpoint opened for use: its model in evaluation, and what it says of itself. Reads no pickles."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hepfm.api import Modality, PartSchema
from hepfm.errors import CheckpointError
from hepfm.nn.encoder import Encoder
from hepfm.nn.frame import Frame
from hepfm.nn.lora import merge_lora
from hepfm.readers.layout import parts_from_json
from hepfm.recipe.components import config_of
from hepfm.recipe.load import from_dict
from hepfm.recipe.schema import Recipe
from hepfm.training import checkpoint
from hepfm.training.model import PretrainModule, build
from hepfm.training.weights import put_weights, read_weights

_OF_PART = re.compile(r"encoder\.tokenizers\.(\d+)\.")
_PARTS = "encoder.part_embedding.weight"


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A model with the weights of a checkpoint; of averaged ones where the run had them.

    Attributes:
        folder: The checkpoint's.
        about: Its ``model.json``.
        manifest: Its ``manifest.json``: step, validation loss, hashes.
        recipe: That it was trained with.
        parts: Part name to the schema of the data that it was trained on.
        module: Encoder and objective, in evaluation.
    """

    folder: Path
    about: Mapping[str, Any]
    manifest: Mapping[str, Any]
    recipe: Recipe
    parts: Mapping[str, PartSchema]
    module: PretrainModule

    @property
    def encoder(self) -> Encoder:
        """What pretraining taught."""
        return self.module.encoder

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """Part name to its modality."""
        modalities: Mapping[str, Modality] = self.module.objective.modalities
        return modalities

    @property
    def saw(self) -> str:
        """What the weights were shown that a detector does not give: ``truth``, ``labels``, or nothing."""
        told = self.about.get("pretrain", {})
        return "truth" if told.get("saw_truth") else "labels" if told.get("labels") else ""


def open_checkpoint(folder: Path, *, device: torch.device | str = "cpu") -> Pretrained:
    """Opens a checkpoint of whatever run, and checks each of its files.

    Raises:
        CheckpointError: It is damaged.
        PluginError: What it was made with is not installed.
    """
    manifest = checkpoint.verify(folder)
    about = checkpoint.read_json(folder / "model.json")
    recipe, parts, modalities = _made_of(folder, about)
    module = build(recipe, modalities, about["precision"])
    put_weights(module, plain_weights(folder), where=folder)
    return Pretrained(
        folder=folder,
        about=about,
        manifest=manifest,
        recipe=recipe,
        parts=parts,
        module=module.to(device).eval(),
    )


def _made_of(
    folder: Path, about: Mapping[str, Any]
) -> tuple[Recipe, dict[str, PartSchema], dict[str, Modality]]:
    """Recipe, schemas and modalities of what ``model.json`` describes."""
    parts = parts_from_json(json.dumps(about["parts"]), path=folder / "model.json")
    recipe = from_dict(about["recipe"], label=str(folder / "model.json")).recipe
    modalities = {}
    for name, part in recipe.data.parts.items():
        cls, config = config_of("modality", part)
        modalities[name] = cls(config, parts[name])
    return recipe, parts, modalities


def weights_file(folder: Path) -> Path:
    """The weights to use: averaged ones where the run had them."""
    averaged = folder / "model_ema.safetensors"
    return averaged if averaged.exists() else folder / "model.safetensors"


def plain_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights to use; what LoRA learned is added to the matrices that it stands beside."""
    weights = read_weights(weights_file(folder))
    adapt = checkpoint.read_json(folder / "model.json")["recipe"].get("model", {}).get("adapt", {})
    return merge_lora(weights, alpha=adapt["alpha"]) if adapt.get("mode") == "lora" else weights


def load_encoder(encoder: Encoder, folder: Path) -> None:
    """Puts the weights of a checkpoint's encoder into one of the same backbone, and of any of its parts.

    Raises:
        CheckpointError: The checkpoint is damaged, or of another backbone, or has no such part.
    """
    checkpoint.verify(folder)
    about = checkpoint.read_json(folder / "model.json")
    theirs = list(about["recipe"]["data"]["parts"])
    for part in encoder.parts:
        if part not in theirs:
            raise CheckpointError(
                f"The recipe reads the part '{part}', and the checkpoint knows {', '.join(theirs)} alone.",
                where=str(folder),
                fix="take a recipe of that part, or a run that was pretrained with the other "
                "(names of parts are those in data.parts)",
            )
    axes = Frame(_made_of(folder, about)[2]).axes
    if axes != encoder.frame.axes:
        raise CheckpointError(
            f"The checkpoint's parts {', '.join(theirs)} share the axes {', '.join(axes) or '(none)'}, and "
            f"those of data.parts, {', '.join(encoder.parts)}, {', '.join(encoder.frame.axes) or '(none)'}.",
            where=str(folder),
            fix="name all parts in data.parts (an event may lack any of them), of data with the same axes "
            "(attribute frame)",
        )
    given = _of_parts(plain_weights(folder), theirs, encoder.parts)
    shapes, wanted = (
        {name: tensor.shape for name, tensor in state.items()} for state in (given, encoder.state_dict())
    )
    unfit = [name for name in {**wanted, **shapes} if shapes.get(name) != wanted.get(name)]
    if unfit:
        raise CheckpointError(
            f"The checkpoint's encoder is another one: {len(unfit)} of {len(wanted)} weights differ "
            f"({', '.join(unfit[:3])}, ...).",
            where=str(folder),
            fix="give data.parts and model.backbone the options that it was trained with",
        )
    encoder.load_state_dict(given)


def _of_parts(
    weights: Mapping[str, torch.Tensor], theirs: Sequence[str], ours: Sequence[str]
) -> dict[str, torch.Tensor]:
    """A checkpoint's encoder, its tokenizers and part embedding in the order of other parts."""
    place = {str(theirs.index(part)): str(index) for index, part in enumerate(ours)}
    found = {}
    for name, tensor in weights.items():
        if of_part := _OF_PART.match(name):
            if of_part[1] in place:
                found[f"tokenizers.{place[of_part[1]]}.{name[of_part.end() :]}"] = tensor
        elif name == _PARTS:
            found["part_embedding.weight"] = tensor[[theirs.index(part) for part in ours]]
        elif name.startswith("encoder."):
            found[name.removeprefix("encoder.")] = tensor
    return found
