"""Loads a model that ``hepfm export`` wrote, and predicts: python load.py EVENTS

It needs hepfm for the model's parts, and nothing of its training: neither Ray, DeepSpeed nor MLflow.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from hepfm.api import Batch, Features
from hepfm.data.source import open_source
from hepfm.data.tensors import to_torch
from hepfm.nn.encoder import Encoder
from hepfm.objectives.task import with_inputs
from hepfm.readers.layout import parts_from_json
from hepfm.recipe.components import config_of, configured
from hepfm.recipe.load import from_dict


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An encoder, its part name to modality, and the head on it, if any, with the layers that it reads."""

    encoder: Encoder
    modalities: dict[str, Any]
    head: Any = None
    layers: Sequence[int] = ()

    @torch.no_grad()
    def features(self, batch: Batch) -> Features:
        """What the head needs of events, and tokens."""
        units = {part: modality.units(batch.parts[part]) for part, modality in self.modalities.items()}
        needs = {"tokens", *(self.head.needs if self.head else ())}
        part = self.head.part if self.head else ""
        features = self.encoder.features(units, needs=needs, part=part, layers=self.layers)
        return with_inputs(features, self.head, batch) if self.head else features

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, torch.Tensor]:
        """``tokens (T, W)``, and what the head says: ``part/table/column``, with offsets of tables."""
        features = self.features(batch)
        assert features.tokens is not None
        found = {"tokens": features.tokens.x}
        return found | (columns(self.head.predict(self.head(features))) if self.head else {})


def columns(predicted: Any) -> dict[str, torch.Tensor]:
    """Tables of predictions as ``part/table/column``."""
    found: dict[str, torch.Tensor] = {}
    for part, tables in predicted.items():
        for name, table in tables.items():
            found |= {f"{part}/{name}/{column}": values for column, values in table.columns.items()}
            found[f"{part}/{name}/offsets"] = table.offsets
    return found


def load(folder: Path) -> Exported:
    """The model in a folder, in float32."""
    about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    recipe, export = from_dict(about["recipe"]).recipe, about["export"]
    parts = parts_from_json(json.dumps(about["parts"]), path=folder / "model.json")
    modalities = {}
    for name, part in recipe.data.parts.items():
        cls, config = config_of("modality", part)
        modalities[name] = cls(config, parts[name])
    cls, config = config_of("backbone", recipe.model.backbone)
    backbone = cls(config, n_positions=max(modality.n_positions for modality in modalities.values()))
    encoder, head = Encoder(modalities, backbone, causal=export["causal"]), None
    if export["head"]:
        options = {key: value for key, value in export["head"].items() if key != "name"}
        cls, config = configured("heads", export["head"]["name"], options, label="the head in model.json")

        def d_in(need: Any, part: str) -> int:
            return encoder.width(need, part, layers=export["layers"])

        head = cls(config, schema={part: m.schema for part, m in modalities.items()}, d_in=d_in)
    model = torch.nn.ModuleDict({"encoder": encoder} | ({"head": head} if head else {})).eval()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return Exported(encoder=encoder, modalities=modalities, head=head, layers=export["layers"])


if __name__ == "__main__":
    here = Path(__file__).parent
    parts = from_dict(
        json.loads((here / "model.json").read_text(encoding="utf-8"))["recipe"]
    ).recipe.data.parts
    events = open_source(sys.argv[1], parts=parts)
    for name, values in load(here).predict(to_torch(events.read([0, 1], labels=False))).items():
        print(name, tuple(values.shape), values.dtype)  # noqa: T201  this is what the example shows
