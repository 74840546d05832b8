"""A checkpoint opened for use, and an encoder that begins with its weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hepfm.errors import CheckpointError
from hepfm.nn.encoder import Encoder
from hepfm.nn.transformer import Transformer, TransformerConfig
from hepfm.objectives.task import Task
from hepfm.readers.layout import parts_to_json
from hepfm.training.pretrained import load_encoder, open_checkpoint
from hepfm.training.weights import read_weights
from hepfm.training.worker import train
from hepfm_image3d.modality import Image3D, Image3DConfig
from hepfm_image3d.schema import image3d_schema

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)
TASK = {"name": "task", "head": {"name": "semantic"}}


def trained(make_run, **changes):
    run, request = make_run(train__warmup_steps=1, **changes)
    train(request)
    return run, Path(run.json()["checkpoint"])


def test_a_task_begins_with_the_encoder_of_another_run_and_says_what_it_saw(make_run):
    _, first = trained(make_run, train__steps=2)
    opened = open_checkpoint(first)
    averaged = read_weights(first / "model_ema.safetensors")
    assert opened.saw == ""
    assert not opened.module.training
    for name, value in opened.encoder.state_dict().items():
        assert torch.equal(value, averaged[f"encoder.{name}"]), name
    _, second = trained(make_run, train__steps=0, objective=TASK, model__weights=str(first))
    begun = open_checkpoint(second)
    assert begun.saw == "labels"
    for name, value in begun.encoder.state_dict().items():
        assert torch.equal(value, averaged[f"encoder.{name}"]), name
    with pytest.raises(CheckpointError, match=r"another one: .* weights differ"):
        trained(make_run, objective=TASK, model__weights=str(first), model__backbone__d_model=16)


def test_a_teacher_begins_with_the_weights_that_its_encoder_is_given(make_run):
    _, first = trained(make_run, train__steps=1)
    jepa = {"name": "jepa", "decoder_layers": 1}
    _, second = trained(make_run, train__steps=0, objective=jepa, model__weights=str(first))
    given, begun = open_checkpoint(first).encoder.state_dict(), read_weights(second / "model.safetensors")
    for name, value in given.items():
        assert torch.equal(begun[f"objective.teacher.copy.{name}"], value), name


def test_a_task_is_judged_by_its_figures_and_goes_on_exactly(make_run, figures, monkeypatch):
    """Figures stand beside the loss, and there is no baseline; stopped half-way, it ends the same."""
    whole, _ = trained(make_run, objective=TASK)
    scores = figures(whole, "val/macro_f1")
    assert list(scores) == [3, 6]
    assert all(0 < value < 1 for value in scores.values())
    assert figures(whole, "val/loss_baseline") == {}
    assert whole.json()["val_loss_baseline"] is None
    with monkeypatch.context() as patch:  # classes of other data have names that MLflow refuses
        patch.setattr(Task, "figures", lambda _: {"f1/pi+": 0.25, "f1/pi*": 0.5})
        run, other = trained(make_run, objective=TASK, seed=2)
    assert [figures(run, f"val/f1/{name}")[6] for name in ("pi_", "pi__")] == [0.25, 0.5]
    half, request = make_run(train__warmup_steps=1, objective=TASK, train__time_limit_minutes=1e-9)
    with pytest.raises(Exception, match="time limit"):
        train(request)
    assert half.json()["steps"] == 1
    recipe = {**request.recipe, "train": {**request.recipe["train"], "time_limit_minutes": None}}
    train(type(request)(recipe=recipe, run_dir=str(half.path)))
    assert half.json()["weights_sha256"] == whole.json()["weights_sha256"]
    assert (
        json.loads((other / "manifest.json").read_text())["weights_sha256"] != half.json()["weights_sha256"]
    )


def encoder_of(*parts, seed, **attributes):
    torch.manual_seed(seed)
    schema = image3d_schema(voxels=("voxel", "energy_mev"), grid=(24, 24, 24))
    schema = replace(schema, attributes={**schema.attributes, **attributes})
    modalities = {part: Image3D(Image3DConfig(voxel_width=8, point_width=8), schema) for part in parts}
    backbone = Transformer(TransformerConfig(d_model=16, n_layers=1, n_heads=1), n_positions=3)
    return Encoder(modalities, backbone)


def test_parts_are_found_by_name(tmp_path, monkeypatch):
    """A checkpoint of two parts serves an encoder of one, or of both in another order."""
    given = encoder_of("charge", "light", seed=1)
    weights = {f"encoder.{name}": value for name, value in given.state_dict().items()}
    schema = image3d_schema(voxels=("voxel", "energy_mev"), grid=(24, 24, 24))
    parts = {"charge": {"kind": "image3d"}, "light": {"kind": "image3d"}}
    recipe = {"name": "two", "data": {"train": "here", "parts": parts}, "objective": {"name": "masked"}}
    about = {"recipe": recipe, "parts": json.loads(parts_to_json(dict.fromkeys(parts, schema)))}
    (tmp_path / "model.json").write_text(json.dumps(about))
    monkeypatch.setattr("hepfm.training.checkpoint.verify", lambda _folder: {})
    monkeypatch.setattr("hepfm.training.pretrained.read_weights", lambda _path: weights)
    for parts in (("light",), ("light", "charge")):
        encoder = encoder_of(*parts, seed=2)
        load_encoder(encoder, tmp_path)
        found = encoder.state_dict()
        for index, part in enumerate(parts):
            at = ("charge", "light").index(part)
            assert torch.equal(found["part_embedding.weight"][index], given.part_embedding.weight[at])
            for name in given.tokenizers[at].state_dict():
                key = f"tokenizers.{index}.{name}"
                assert torch.equal(found[key], weights[f"encoder.tokenizers.{at}.{name}"]), key
        assert torch.equal(found["backbone.norm.weight"], given.backbone.norm.weight)
    weights["encoder.backbone.blocks.1.norm.weight"] = torch.ones(16)  # it had a layer more
    with pytest.raises(CheckpointError, match=r"another one: 1 of .*blocks\.1\.norm"):
        load_encoder(encoder, tmp_path)
    framed = encoder_of("charge", "light", seed=1, frame={"axes": {"x": [1, 0, 0]}, "unit_mm": 10.0})
    with pytest.raises(CheckpointError, match=r"share the axes \(none\), and those of .* light, x\."):
        load_encoder(framed, tmp_path)
    with pytest.raises(CheckpointError, match="reads the part 'wires', and the checkpoint knows"):
        load_encoder(encoder_of("wires", seed=1), tmp_path)
