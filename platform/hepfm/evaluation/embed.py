"""What an encoder makes of events, as tables: of each event, of each token, or of each point."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hepfm.api import Batch, Column, Need, PartSchema, RaggedTable
from hepfm.data.tensors import tables_to_numpy
from hepfm.errors import RecipeError, did_you_mean
from hepfm.evaluation.predict import Tables, inputs
from hepfm.training.pretrained import Pretrained

EMBEDDING = "embedding"
"""Name and kind of the part."""
_TABLE = {"pooled": "events", "tokens": "tokens", "points": "points"}


def check_read(model: Pretrained, need: Need, part: str, layers: Sequence[int]) -> str:
    """The part that is read: of points, the only one where none is named.

    Raises:
        RecipeError: There is no such part or layer, or one of several has to be named.
    """
    parts, deepest = model.encoder.parts, model.encoder.backbone.n_layers
    if wrong := [layer for layer in layers if not 1 <= layer <= deepest]:
        raise RecipeError(f"There is no layer {wrong[0]}.", where="--layers", fix=f"1 to {deepest}")
    if part and part not in parts:
        raise RecipeError(f"There is no part '{part}'.", where="--part", fix=did_you_mean(part, parts))
    if need == "points" and not part:
        if len(parts) > 1:
            raise RecipeError(
                "Points are of one part.", where="--part", fix=f"name one of {', '.join(parts)}"
            )
        return parts[0]
    return part


def embedding_schemas(
    model: Pretrained, need: Need, part: str = "", layers: Sequence[int] = ()
) -> dict[str, PartSchema]:
    """The schema of the part ``embedding``.

    ``pooled``: a row for each event, of zeros where it is empty. ``tokens``, ``points``: a row for each, with
    its position and the number of its part.
    """
    width = model.encoder.width(need, part, layers=layers)
    columns = {"features": Column(dtype="float32", shape=(width,), doc=f"{need}, as a head reads them")}
    if need != "pooled":
        points = need == "points"
        axes = (model.modalities[part].n_positions if points else model.encoder.frame.n_positions,)
        columns["position"] = Column(dtype="float32", shape=axes, doc="as the encoder sees it, in units")
        columns["part"] = Column(dtype="int64", doc=f"number in {', '.join(model.encoder.parts)}")
    table = _TABLE[need]
    read = {"need": need, "part": part, "layers": list(layers)}
    return {EMBEDDING: PartSchema(kind=EMBEDDING, primary=table, tables={table: columns}, attributes=read)}


@torch.inference_mode()
def embed(model: Pretrained, batch: Batch, need: Need, part: str = "", layers: Sequence[int] = ()) -> Tables:
    """The tables of `embedding_schemas` (numpy), of a torch batch that is cut as the model's parts ask."""
    found = model.encoder.features(inputs(model, batch), needs=(need,), part=part, layers=layers)
    if found.pooled is not None:
        offsets = torch.arange(found.events + 1)
        return {EMBEDDING: tables_to_numpy({"events": RaggedTable({"features": found.pooled}, offsets)})}
    rows = found.points if need == "points" else found.tokens
    assert rows is not None
    columns = {"features": rows.x, "position": rows.positions, "part": rows.part}
    return {EMBEDDING: tables_to_numpy({_TABLE[need]: RaggedTable(columns, rows.offsets)})}
