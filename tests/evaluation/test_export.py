"""Exported models give what the model gives, without hepfm's training or without hepfm."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from hepfm.api import RaggedTable
from hepfm.data.batches import batches
from hepfm.data.source import open_source
from hepfm.errors import HepfmError, RecipeError
from hepfm.evaluation import export as exporting
from hepfm.evaluation import graphs
from hepfm.evaluation.export import export
from hepfm.recipe.load import from_dict
from hepfm.training.model import build
from hepfm.training.pretrained import Pretrained
from hepfm.training.snapshot import describe

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

TRANSFORMER = {"name": "transformer", "d_model": 32, "n_layers": 2, "n_heads": 2}


@pytest.fixture(scope="module")
def source():
    return open_source("sample:val", parts=recipe_of().data.parts)


@pytest.fixture(scope="module")
def events(source):
    """Batches of several events and of one."""
    return [next(batches(source, indices=list(each), labels=False)) for each in (range(4), range(4, 5))]


def recipe_of(backbone=TRANSFORMER):
    return from_dict(
        {
            "name": "small",
            "data": {"train": "sample:train", "parts": {"image3d": {"kind": "image3d"}}},
            "model": {"backbone": backbone},
            "objective": {"name": "task", "head": {"name": "semantic", "width": 16}, "layers": [1, 2]},
        }
    ).recipe


@pytest.fixture
def model(source):
    """A model as if a checkpoint of it was opened."""

    def make(**options):
        recipe = recipe_of(**options)
        about = describe(recipe, source.parts, {"train": "none"}, "fp32")
        module = build(recipe, source.modalities, "fp32").eval()
        return Pretrained(
            folder=Path("none"), about=about, manifest={}, recipe=recipe, parts=source.parts, module=module
        )

    return make


def test_weights_are_loaded_by_the_example_without_hepfms_training(model, events, tmp_path):
    mine = model()
    compared = export(mine, events, "safetensors", tmp_path / "out")
    assert {each.output: each.difference for each in compared} == dict.fromkeys(
        ["tokens", *(f"image3d/voxels/{name}" for name in ("semantic", "probability", "offsets"))], 0.0
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "load.py",
        "model.json",
        "model.safetensors",
    ]
    script = f"""
import runpy, sys, torch
sys.argv = ["load.py", "sample:val"]
load = runpy.run_path({str(tmp_path / "out" / "load.py")!r}, run_name="__main__")["load"]
heavy = {{name for name in sys.modules if name.split(".")[0] in ("deepspeed", "mlflow", "ray")}}
assert not heavy | {{name for name in sys.modules if name.startswith("hepfm.training")}}, heavy
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = len(events[0].parts["image3d"]["voxels"].columns["energy_mev"])
    printed = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert printed.keys() == {each.output for each in compared}
    assert 0 < int(printed["image3d/voxels/probability"].split(",")[0].strip("(")) < rows


@pytest.fixture(params=["torch-export", "onnx"])
def kind(request):
    if request.param == "onnx":
        for name in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(name)
    return request.param


def test_graphs_give_what_the_model_gives_of_any_number_of_events(model, source, events, kind, tmp_path):
    mine, out = model(), tmp_path / "out"
    export(mine, events, kind, out)
    suffix = {"torch-export": "pt2", "onnx": "onnx"}[kind]
    backbone, head = (graphs.read_graph(out / f"{name}.{suffix}") for name in ("backbone", "head"))
    seen = []
    mine.encoder.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    for indices in ([7], [1, 2, 3, 5, 6]):  # others than those that the graph was made of
        batch = next(batches(source, indices=indices, labels=False))
        units = {"image3d": mine.modalities["image3d"].units(batch.parts["image3d"])}
        with torch.no_grad():
            features = mine.encoder.features(units, needs=["points"], part="image3d", layers=[1, 2])
            logits = mine.module.objective.head(features).logits
            encoded = mine.encoder.backbone(seen[-1], layers=[1, 2, 2]).x
        (given,) = backbone(graphs.tensors_of(seen[-1]))
        torch.testing.assert_close(given, encoded, rtol=1e-4, atol=1e-5)
        label, probability, offsets = head(graphs.features_of(features, ["points"]))
        torch.testing.assert_close(probability, logits.softmax(1), rtol=1e-4, atol=1e-6)
        assert torch.equal(offsets, features.points.offsets)
        assert (label == logits.argmax(1)).float().mean() > 0.999


class Summing(nn.Module):
    """A head on what is pooled of events, and on their tokens."""

    needs = ("pooled", "tokens")

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(12, 2)

    def forward(self, features):
        offsets = features.tokens.offsets
        ends = nn.functional.pad(features.tokens.x.sum(1).cumsum(0), (1, 0))[offsets]
        rows = torch.arange(features.events + 1)
        return {"a": {"events": RaggedTable({"y": self.last(features.pooled), "sum": ends.diff()}, rows)}}

    def predict(self, prediction):
        return prediction


def features(events):
    x = torch.arange(12.0 * events).view(-1, 4)
    return {
        "pooled": torch.ones(events, 12) * torch.arange(events)[:, None],
        "tokens_x": x,
        "tokens_positions": x[:, :3],
        "tokens_offsets": torch.arange(0, len(x) + 1, 3),
        "tokens_part": torch.zeros(len(x), dtype=torch.int64),
    }


def test_a_head_on_pooled_events_is_a_graph_too(kind, tmp_path):
    head, path = Summing(), tmp_path / ("head.pt2" if kind == "torch-export" else "head.onnx")
    graphs.write_graph(graphs.HeadGraph(head), "The head", features(3), ["y", "sum", "rows"], path)
    run = graphs.read_graph(path)
    for events in (2, 5):
        y, total, rows = run(features(events))
        torch.testing.assert_close(y, head.last(features(events)["pooled"]).detach())
        assert torch.equal(total, features(events)["tokens_x"].view(events, -1).sum(1))
        assert rows.tolist() == list(range(events + 1))
    if kind == "torch-export":
        with pytest.raises(RecipeError, match=r"does not take these events: Guard failed: .*offsets"):
            run(features(1))


def test_what_is_no_graph_is_named_and_leaves_nothing(model, events, tmp_path, capfd):
    ssm = model(backbone={**TRANSFORMER, "name": "ssm"})
    with pytest.raises(RecipeError) as error:
        export(ssm, events, "torch-export", tmp_path / "out")
    assert "The backbone Ssm cannot be written for torch.export: Could not extract" in error.value.what
    assert error.value.where.startswith("chunks.py, line ")
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_an_operation_that_onnx_lacks_is_named(tmp_path):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)

    class Values(nn.Module):
        def forward(self, inputs):
            return (torch.linalg.svdvals(inputs["x"].T @ inputs["x"]),)

    with pytest.raises(RecipeError, match=r"ONNX: aten\.\w*svd\w* is not known there"):
        graphs.write_graph(Values(), "The head", {"x": torch.rand(4, 3)}, ["s"], tmp_path / "head.onnx")


def test_outputs_that_differ_are_not_exported(model, events, tmp_path, monkeypatch):
    read = graphs.read_graph

    def changed(path):
        graph = read(path)
        return lambda inputs: [
            values + 0.01 if values.is_floating_point() else values for values in graph(inputs)
        ]

    monkeypatch.setattr(exporting, "read_graph", changed)
    with pytest.raises(HepfmError, match=r"other outputs than the model: 'tokens' differs by up to 0\.01"):
        export(model(), events, "torch-export", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_without_the_packages_of_onnx_they_are_named(model, events, tmp_path, monkeypatch):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RecipeError, match="not installed: onnx, onnxscript, onnxruntime") as error:
        export(model(), events, "onnx", tmp_path / "out")
    assert "pip install 'hepfm[onnx]'" in error.value.fix
    (tmp_path / "out").mkdir()
    with pytest.raises(RecipeError, match="there already"):
        export(model(), events, "safetensors", tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(RecipeError, match="cannot be made: Not a directory"):
        export(model(), events, "safetensors", tmp_path / "file" / "out")
