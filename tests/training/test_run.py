"""Whole runs on the sample that the package ships, with the real model, made small."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hepfm.data.source import open_source
from hepfm.errors import CheckpointError, DataError, Stopped, TrainingError
from hepfm.readers.writer import StoreWriter
from hepfm.recipe.schema import Part
from hepfm.training.weights import read_weights, weights_sha256
from hepfm.training.worker import train

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_resumed_run_is_bitwise_the_run_without_a_stop(make_run, figures, monkeypatch, stage):
    zero = {"deepspeed__zero_optimization": {"stage": stage}}
    golden, request = make_run(**zero)
    train(request)

    broken, request = make_run(**zero)
    monkeypatch.setattr("hepfm.failpoints._passed", Counter())
    monkeypatch.setenv("HEPFM_FAILPOINT", "after-step:5:raise")
    with pytest.raises(RuntimeError, match="failpoint"):
        train(request)
    assert broken.json()["status"] == "failed"
    assert Path(broken.json()["checkpoint"]).name == "step-00000003"
    monkeypatch.delenv("HEPFM_FAILPOINT")
    train(replace(request, resume_from="newest"))

    for name in ("train/loss", "grad_norm", "val/loss", "val/loss_baseline", "lr"):
        assert figures(broken, name) == figures(golden, name)
    assert broken.json()["weights_sha256"] == golden.json()["weights_sha256"]
    averaged = [
        read_weights(Path(run.json()["checkpoint"]) / "model_ema.safetensors") for run in (golden, broken)
    ]
    assert weights_sha256(averaged[0]) == weights_sha256(averaged[1])
    assert broken.json()["status"] == "done"


def test_the_model_is_built_from_its_checkpoint_alone_and_gives_the_recorded_loss(make_run):
    from hepfm.data.loader import validation_batches
    from hepfm.data.source import open_source
    from hepfm.recipe.schema import Recipe
    from hepfm.training.model import build
    from hepfm.training.ranks import join
    from hepfm.training.validate import validate
    from hepfm.training.weights import load_weights

    run, request = make_run()
    train(request)
    checkpoint = Path(run.json()["checkpoint"])
    about = json.loads((checkpoint / "model.json").read_text())
    assert about["step"] == 6
    assert about["parts"]["image3d"]["tables"]["voxels"]["energy_mev"]["unit"] == "MeV"
    recipe = Recipe.model_validate(about["recipe"])
    val = open_source(recipe.data.val, parts=recipe.data.parts)
    module = build(recipe, val.modalities, about["precision"])
    load_weights(module, checkpoint / "model_ema.safetensors")
    one_by_one = validation_batches(val, micro_batch_cost=3000, events=recipe.train.validate_events)
    again = validate(module, one_by_one, recipe.seed, join(60.0))
    assert again.loss == pytest.approx(run.json()["val_loss"], rel=1e-5)
    assert again.baseline == pytest.approx(run.json()["val_loss_baseline"], rel=1e-5)
    weights = read_weights(checkpoint / "model.safetensors")
    assert weights_sha256(weights) == run.json()["weights_sha256"]


def test_a_damaged_checkpoint_is_named_and_the_run_goes_on_from_the_one_before(make_run):
    golden, request = make_run()
    train(request)
    damaged, request = make_run()
    train(request)
    with (damaged.checkpoints / "step-00000006" / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x00" if file.read(1) != b"\x00" else b"\x01")
    train(replace(request, resume_from="newest"))
    assert "model.safetensors of the checkpoint has sha256" in damaged.log_path.read_text()
    assert damaged.json()["weights_sha256"] == golden.json()["weights_sha256"]
    (damaged.checkpoints / "step-00000003" / "engine" / "state.json").unlink()
    (damaged.checkpoints / "step-00000006" / "engine" / "state.json").unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        train(replace(request, resume_from="newest"))


def test_what_changed_since_the_checkpoint_is_refused_with_a_diff_unless_allowed(
    make_run, figures, monkeypatch
):
    run, request = make_run(train__steps=1)
    train(request)
    more = json.loads(json.dumps(request.recipe))
    more["train"]["steps"], more["train"]["learning_rate"], more["tracking"]["displays"] = 2, 0.5, 3
    with pytest.raises(CheckpointError) as refused:
        train(replace(request, recipe=more))
    assert "train.steps: 1 -> 2" in refused.value.what
    assert "train.learning_rate: 0.001 -> 0.5" in refused.value.what
    assert "displays" not in refused.value.what
    assert "hepfm fork" in refused.value.fix
    train(replace(request, recipe=more, allow_change=True))
    assert run.json()["steps"] == 2
    assert figures(run, "lr")[2] == 0.5

    from hepfm.data.source import EventSource

    monkeypatch.setattr(EventSource, "digest", "0" * 64)
    with pytest.raises(CheckpointError, match=r"\(data train\)"):
        train(replace(request, recipe=more))


def test_a_fork_goes_on_from_another_runs_checkpoint_and_leaves_it_alone(make_run, figures):
    parent, request = make_run(train__steps=2)
    train(request)
    before = parent.json()
    checkpoint = Path(before["checkpoint"])
    child, request = make_run(train__steps=3)
    train(replace(request, resume_from=str(checkpoint)))
    assert child.json()["steps"] == 3
    assert list(figures(child, "train/loss")) == [3]
    assert child.json()["val_loss_baseline"] == pytest.approx(before["val_loss_baseline"], rel=1e-6)
    assert parent.json() == before
    assert [path.name for path in child.checkpoints.iterdir()] == ["step-00000003"]


def test_a_fork_without_a_step_left_is_validated_and_saved(make_run):
    parent, request = make_run(train__steps=2)
    train(request)
    child, request = make_run(train__steps=2, train__validate_events=3)
    train(replace(request, resume_from=parent.json()["checkpoint"]))
    assert child.json()["steps"] == 2
    assert child.json()["weights_sha256"] == parent.json()["weights_sha256"]
    assert Path(child.json()["checkpoint"]).parent == child.checkpoints
    assert child.json()["val_loss"] != parent.json()["val_loss"]


def test_a_checkpoint_fits_every_zero_stage(make_run, figures):
    golden, request = make_run(train__steps=2)
    train(request)
    parent, request = make_run(train__steps=1)
    train(request)
    for stage in (0, 1, 2, 3):
        child, request = make_run(train__steps=2, deepspeed__zero_optimization={"stage": stage})
        train(replace(request, resume_from=parent.json()["checkpoint"]))
        for name in ("train/loss", "grad_norm", "val/loss"):
            assert figures(child, name)[2] == pytest.approx(figures(golden, name)[2], rel=1e-6)


def test_a_fork_that_begins_to_average_begins_at_the_weights_it_starts_from(make_run):
    parent, request = make_run(train__steps=2, train__ema_decay=0.0)
    train(request)
    child, request = make_run(train__steps=2, train__ema_decay=0.9)
    train(replace(request, resume_from=parent.json()["checkpoint"]))
    averaged = read_weights(Path(child.json()["checkpoint"]) / "model_ema.safetensors")
    assert weights_sha256(averaged) == parent.json()["weights_sha256"]


def test_other_data_that_is_allowed_is_begun_at_an_epoch_of_its_own(make_run):
    run, request = make_run(train__steps=2)
    train(request)
    more = json.loads(json.dumps(request.recipe))
    more["train"]["steps"], more["data"]["train"], more["data"]["val"] = 3, "sample:val", None
    train(replace(request, recipe=more, allow_change=True))
    state = json.loads((Path(run.json()["checkpoint"]) / "engine" / "state.json").read_text())
    assert (state["step"], state["cursor"]["epoch"]) == (3, 1)


def test_when_to_stop_and_to_save_may_change(make_run):
    run, request = make_run(train__steps=2, train__time_limit_minutes=1e-9)
    with pytest.raises(Stopped, match="time limit"):
        train(request)
    more = json.loads(json.dumps(request.recipe))
    more["train"]["time_limit_minutes"], more["checkpoint"]["keep"] = None, 1
    train(replace(request, recipe=more))
    assert run.json()["status"] == "done"
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-00000002"]


def test_a_run_keeps_its_precision_on_another_processor(make_run, monkeypatch):
    from hepfm.training import start

    run, request = make_run(train__steps=3, train__precision="auto", train__time_limit_minutes=1e-9)
    for processor_has in ("bf16", "fp32"):
        monkeypatch.setattr(start, "resolve_precision", lambda *_, has=processor_has: has)
        with pytest.raises(Stopped):
            train(request)
        assert run.json()["effective"]["precision"] == "bf16"


def test_the_last_checkpoint_knows_its_validation_loss_whatever_the_intervals(make_run):
    run, request = make_run(train__steps=2, train__validate_every=5, checkpoint__every=2)
    train(request)
    manifest = json.loads((Path(run.json()["checkpoint"]) / "manifest.json").read_text())
    assert run.json()["val_loss"] == manifest["val_loss"] > 0


def test_it_stops_at_its_time_limit_with_a_checkpoint_and_goes_on_later(make_run):
    golden, request = make_run(train__steps=3)
    train(request)
    run, request = make_run(train__steps=3, train__time_limit_minutes=1e-9)
    for step in (1, 2):
        with pytest.raises(Stopped, match=f"after step {step}, with a checkpoint"):
            train(request)
        assert run.json()["steps"] == step
        assert run.json()["status"] == "stopped"
        assert Path(run.json()["checkpoint"]).name == f"step-{step:08d}"
    train(request)
    assert run.json()["status"] == "done"
    assert run.json()["weights_sha256"] == golden.json()["weights_sha256"]
    assert run.json()["val_loss"] == golden.json()["val_loss"]


def test_losses_that_are_not_finite_are_skipped_and_end_the_run_after_too_many(make_run, figures):
    run, request = make_run(train__learning_rate=1e30, train__warmup_steps=0, train__max_bad_steps=3)
    with pytest.raises(TrainingError, match="3 steps in a row"):
        train(request)
    losses, skipped = figures(run, "train/loss"), figures(run, "train/bad_steps")
    last = max(losses)
    assert [skipped[step] for step in (last - 2, last - 1, last)] == [1, 2, 3]
    assert not math.isfinite(losses[last]) or not math.isfinite(figures(run, "grad_norm")[last])
    assert run.json()["status"] == "failed"
    assert "3 steps in a row" in run.json()["reason"]
    assert run.json()["steps"] != last


@pytest.mark.parametrize(("val", "said"), [(None, "2 steps in a row nothing"), ("sample:val", "no loss")])
def test_a_run_that_predicts_nothing_ends_with_an_error(make_run, val, said):
    """All voxels are cut: a loss of zero would look like success."""
    parts = {"image3d": {"kind": "image3d", "min_energy_mev": 1e6}}
    steps = {"train__max_bad_steps": 2} if val is None else {"train__steps": 0}
    run, request = make_run(data__parts=parts, data__val=val, train__ema_decay=0.0, **steps)
    with pytest.raises(TrainingError, match=said):
        train(request)
    assert run.json()["status"] == "failed"
    warned = (run.path / "log.txt").read_text().count("nothing was to be predicted of its")
    assert warned == (val is None)  # once for all such steps


def test_validation_events_that_are_trained_on_are_refused(make_run):
    run, request = make_run(data__val="sample:train")
    with pytest.raises(DataError, match="training events too"):
        train(request)
    assert run.json()["status"] == "failed"


def altered(path, *, drop=(), unit="MeV", attributes=()):
    """A store of four validation events of the sample, whose schema says something else."""
    source = open_source("sample:val", parts={"image3d": Part(kind="image3d")})
    batch, schema = source.read(np.arange(4), labels=True), source.parts["image3d"]
    tables = {table: dict(names) for table, names in schema.tables.items()}
    tables["voxels"]["energy_mev"] = replace(tables["voxels"]["energy_mev"], unit=unit, doc="said otherwise")
    for column in drop:
        del tables["voxels"][column]
    schema = replace(schema, tables=tables, attributes={**schema.attributes, **dict(attributes)})
    with StoreWriter(path, {"image3d": schema}, {"made_by": "a test"}) as writer:
        writer.write(batch)
    return str(path)


def test_validation_events_may_have_other_labels_but_not_other_inputs(make_run, tmp_path):
    """Pretraining on simulation is validated on what a detector took."""
    events = altered(tmp_path / "real.h5", drop=["semantic"], attributes={"detector": "another"})
    head = {"name": "semantic", "part": "image3d"}
    run, request = make_run(data__val=events, train__steps=0)
    train(request)
    assert math.isfinite(figures_of(run)["val/loss"])
    assert "attributes.detector" in (run.path / "log.txt").read_text()
    learns = {"objective": {"name": "task", "head": head}}
    for changes, missing in (
        ({"data__val": events, **learns}, "semantic is given there, missing"),
        ({"data__val": altered(tmp_path / "unit.h5", unit="keV")}, 'unit is "MeV" there, "keV" here'),
    ):
        with pytest.raises(DataError, match="describe a part differently") as refused:
            train(make_run(train__steps=0, **changes)[1])
        assert missing in str(refused.value.where)


def figures_of(run):
    """The last value of each figure that was recorded."""
    lines = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    return {name: float(value) for line in lines for name, value in line["metrics"].items()}


def test_a_run_is_not_trained_twice_at_a_time(make_run):
    run, request = make_run()
    with run.lock(), pytest.raises(TrainingError, match="being trained already"):
        train(request)
    assert run.json()["status"] == "created"


def test_without_steps_there_is_a_validated_checkpoint_of_the_initial_weights(make_run):
    run, request = make_run(train__steps=0, train__warmup_steps=0)
    train(request)
    assert run.json()["steps"] == 0
    assert run.json()["val_loss"] > 0
    assert Path(run.json()["checkpoint"]).name == "step-00000000"


@pytest.mark.parametrize("stage", [0, 2])
def test_training_from_a_checkpoint_of_initial_weights_is_training_from_the_beginning(
    make_run, figures, stage
):
    zero = {"deepspeed__zero_optimization": {"stage": stage}}
    golden, request = make_run(train__steps=2, train__warmup_steps=0, **zero)
    train(request)
    parent, request = make_run(train__steps=0, train__warmup_steps=0, **zero)
    train(request)
    child, request = make_run(train__steps=2, train__warmup_steps=0, **zero)
    train(replace(request, resume_from=parent.json()["checkpoint"]))
    assert figures(child, "train/loss") == figures(golden, "train/loss")
    assert child.json()["weights_sha256"] == golden.json()["weights_sha256"]


def test_displays_are_drawn_at_validation_and_recorded(make_run):
    run, request = make_run(train__steps=1, tracking__displays=2)
    train(request)
    drawn = sorted(path.name for path in (run.path / "displays").iterdir())
    assert drawn == ["event-0.html", "event-0.png", "event-1.html", "event-1.png"]
    assert (run.path / "displays" / "event-0.png").read_bytes().startswith(b"\x89PNG")
    spooled = "".join(path.read_text() for path in run.spool.glob("*.jsonl"))
    assert "displays/event-1.html" in spooled


def test_bf16_stays_close_to_fp32(make_run, figures):
    losses = {}
    for precision in ("fp32", "bf16"):
        run, request = make_run(train__steps=3, train__precision=precision)
        train(request)
        losses[precision] = figures(run, "train/loss")
        weights = read_weights(Path(run.json()["checkpoint"]) / "model.safetensors")
        assert {tensor.dtype for name, tensor in weights.items() if name.startswith("encoder.")} == {
            torch.float32
        }
    assert losses["bf16"] != losses["fp32"]
    assert list(losses["bf16"].values()) == pytest.approx(list(losses["fp32"].values()), rel=0.02)


def test_zero_3_with_nothing_kept_whole_trains_as_stage_0(make_run, figures):
    """Tokens and other dataclasses pass between modules: gathering must not depend on seeing into them."""
    whole = {"stage": 0}
    split = {"stage": 3, "stage3_param_persistence_threshold": 0}
    runs, averaged = [], []
    for zero in (whole, split):
        run, request = make_run(deepspeed__zero_optimization=zero, train__steps=4, tracking__displays=1)
        train(request)
        runs.append(run)
        averaged.append(read_weights(Path(run.json()["checkpoint"]) / "model_ema.safetensors"))
    for name in ("train/loss", "val/loss", "val/loss_baseline"):
        assert figures(runs[1], name) == pytest.approx(figures(runs[0], name), rel=1e-5)
    for name, tensor in averaged[0].items():
        torch.testing.assert_close(averaged[1][name], tensor, rtol=1e-3, atol=1e-5)
