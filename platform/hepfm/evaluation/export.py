"""A checkpoint's model for use elsewhere, and how far its outputs are from those of the model itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hepfm.api import Batch, Tokens
from hepfm.errors import HepfmError, RecipeError
from hepfm.evaluation import exported
from hepfm.evaluation.exported import Exported, load
from hepfm.evaluation.graphs import (
    SUFFIX,
    BackboneGraph,
    Graph,
    GraphFormat,
    HeadGraph,
    check_onnx,
    features_of,
    read_graph,
    tensors_of,
    write_graph,
)
from hepfm.nn.encoder import Encoder
from hepfm.training.checkpoint import write_file
from hepfm.training.pretrained import Pretrained
from hepfm.training.weights import to_safetensors

Format = Literal["safetensors", "torch-export", "onnx"]

TOLERANCE = 1e-4
"""Largest difference that is taken for rounding, of the largest value; and share of whole numbers."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """An output of what was exported, beside the model's.

    Attributes:
        output: ``tokens``, or ``part/table/column``.
        rows: Compared.
        largest: Absolute value of the model's.
        difference: The largest one; of whole numbers, the share of rows that differ.
    """

    output: str
    rows: int
    largest: float
    difference: float


def export(model: Pretrained, batches: Sequence[Batch], to: Format, out: Path) -> list[Compared]:
    """Writes a model, reads it back, and compares what both make of events, in float32.

    In the folder are ``model.safetensors``, ``model.json`` and ``load.py``; and of the graphs that
    `hepfm.evaluation.graphs` tells of, ``backbone`` and ``head``.

    Args:
        model: Of a checkpoint.
        batches: Torch batches of real events; of the first one graphs are made.
        to: Format.
        out: Folder that is made, whole or not at all.

    Raises:
        HepfmError: What was written gives other outputs.
        RecipeError: The folder is there, or the model cannot be written in this format.
    """
    if out.exists():
        raise RecipeError("The folder is there already.", where=str(out), fix="name another one with --out")
    if to == "onnx":
        check_onnx()
    aside = out.with_name(f".{out.name}-part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
    except OSError as error:
        raise RecipeError(
            f"The folder cannot be made: {error.strerror}.", where=str(out), fix="name another one with --out"
        ) from error
    try:
        compared = _write(model, batches, to, aside)
        aside.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return compared


def _write(model: Pretrained, batches: Sequence[Batch], to: Format, folder: Path) -> list[Compared]:
    objective = model.module.objective
    head = getattr(objective, "head", None)
    eager = Exported(
        encoder=model.encoder,
        modalities=dict(model.modalities),
        head=head,
        layers=[] if head is None else objective.config.layers,
    )
    kept = nn.ModuleDict({"encoder": model.encoder} | ({} if head is None else {"head": head})).state_dict()
    write_file(folder / "model.safetensors", to_safetensors({n: w.contiguous() for n, w in kept.items()}))
    about: dict[str, Any] = {
        "head": None if head is None else model.recipe.objective.options()["head"],
        "layers": list(eager.layers),
        "causal": model.encoder.causal,
    }

    def describe() -> None:
        text = json.dumps({**model.about, "export": about}, indent=1)
        (folder / "model.json").write_text(text, encoding="utf-8")

    describe()
    shutil.copyfile(exported.__file__, folder / "load.py")
    if to == "safetensors":
        predict: Callable[[Batch], dict[str, Tensor]] = load(folder).predict
    else:
        predict, about["graphs"] = _graphs(eager, batches[0], to, folder)
    pairs = []
    for batch in batches:
        try:
            pairs.append((eager.predict(batch), predict(batch)))
        except RecipeError:
            if len(batch.event_ids) > 1:
                raise
            about["fewest_events"] = 2  # torch may take a single one for a case of its own
    compared = _compare(pairs)
    about["compared"] = [asdict(each) for each in compared]
    describe()
    return compared


def _graphs(
    eager: Exported, batch: Batch, to: GraphFormat, folder: Path
) -> tuple[Callable[[Batch], dict[str, Tensor]], dict[str, Any]]:
    """Writes them. Returns the model with them in its parts' places, and what goes into and out of each."""
    encoder, head, told = eager.encoder, eager.head, {}

    def graph(name: str, module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> Graph:
        part = getattr(module, name)
        path = folder / f"{name}.{SUFFIX[to]}"
        write_graph(module, f"The {name} {type(part).__name__}", inputs, outputs, path)
        shapes = {key: ["any", *value.shape[1:]] for key, value in inputs.items()}
        told[path.name] = {"inputs": shapes, "outputs": list(outputs)}
        return read_graph(path)

    seen: list[Tokens] = []
    hook = encoder.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    features, outputs = eager.features(batch), list(eager.predict(batch))[1:]
    hook.remove()
    layers = (*eager.layers, encoder.backbone.n_layers)
    backbone = graph("backbone", BackboneGraph(encoder.backbone, layers), tensors_of(seen[0]), ["encoded"])
    in_place: Any = _InPlace(encoder.backbone, backbone)
    again = Encoder(eager.modalities, in_place, causal=encoder.causal)
    again.tokenizers, again.part_embedding = encoder.tokenizers, encoder.part_embedding
    stands_in = replace(eager, encoder=again)
    if head is None:
        return stands_in.predict, told
    if "inputs" in head.needs:
        raise RecipeError(
            f"The head {type(head).__name__} begins with the events themselves, a graph with their tokens.",
            fix="export it with --to safetensors",
        )
    run = graph("head", HeadGraph(head), features_of(features, head.needs), outputs)

    def predict(batch: Batch) -> dict[str, Tensor]:
        features = stands_in.features(batch)
        assert features.tokens is not None
        said = run(features_of(features, head.needs))
        return {"tokens": features.tokens.x, **dict(zip(outputs, said, strict=True))}

    return predict, told


class _InPlace(nn.Module):
    """A backbone's graph as a `hepfm.api.Backbone`."""

    def __init__(self, backbone: Any, graph: Graph) -> None:
        super().__init__()
        self.d_model, self.n_layers, self.graph = backbone.d_model, backbone.n_layers, graph
        self.causal = False

    def forward(self, tokens: Tokens, **_: Any) -> Tokens:
        (x,) = self.graph(tensors_of(tokens))
        return replace(tokens, x=x)


def _compare(outputs: Sequence[tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]) -> list[Compared]:
    compared = []
    for name in outputs[0][0]:
        pairs = [(model[name], found[name]) for model, found in outputs]
        if unlike := [(a.shape, b.shape) for a, b in pairs if a.shape != b.shape or a.dtype != b.dtype]:
            raise _other(
                f"'{name}' has the shape {tuple(unlike[0][1])}, and the model's {tuple(unlike[0][0])}"
            )
        model, found = (torch.cat([each.double() for each in side]) for side in zip(*pairs, strict=True))
        whole = not pairs[0][0].is_floating_point()
        apart = (model != found).double() if whole else (model - found).abs()
        largest = float(model.abs().max()) if model.numel() else 0.0
        difference = float(apart.mean() if whole else apart.max()) if apart.numel() else 0.0
        compared.append(Compared(output=name, rows=len(model), largest=largest, difference=difference))
        if not difference <= TOLERANCE * (1.0 if whole else max(1.0, largest)):
            how = f"in {difference:.1%} of rows" if whole else f"by up to {difference:.2g}, of {largest:.2g}"
            raise _other(f"'{name}' differs {how}")
    return compared


def _other(how: str) -> HepfmError:
    return HepfmError(
        f"What was exported gives other outputs than the model: {how}.",
        fix="export it in another format; please report it with the run's recipe",
    )
