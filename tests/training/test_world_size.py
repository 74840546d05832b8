"""A checkpoint fits any number of ranks and any ZeRO stage."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hepfm.errors import CheckpointError
from hepfm.training.weights import read_weights, weights_sha256

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:torch.distributed")

STAGES = (0, 1, 2, 3)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((2, 1), id="2 to 1 to 2"),
        pytest.param((2, 3), id="2 to 3 to 2", marks=pytest.mark.slow),
    ],
)
def taken_over(request, run_ranks, tmp_path_factory):
    """Of training at each stage that goes on at another world size and stage: what each part of it gave."""
    folder = tmp_path_factory.mktemp("world")
    wide, narrow = request.param
    reports = []
    for scenario, world in (("write", wide), ("take_over", narrow), ("back", wide)):
        codes, output, report = run_ranks("toy.py", [scenario, folder], folder, world=world)
        assert codes == [0] * world, "\n".join(output)
        reports.append(report)
    return reports


@pytest.mark.parametrize("now", STAGES)
@pytest.mark.parametrize("before", STAGES)
def test_other_ranks_at_any_stage_go_on_like_the_whole_batch_in_float64(taken_over, toy, before, now):
    _, taken, _ = taken_over
    losses, _, exact = toy.full_batch(10)
    got = taken[f"{before}-{now}"]
    assert got["losses"] == pytest.approx(losses[5:], rel=1e-5)
    for name, tensor in exact.items():
        assert float((torch.tensor(got["weights"][name]).double() - tensor).abs().max()) < 2e-6


@pytest.mark.parametrize("between", STAGES)
@pytest.mark.parametrize("before", STAGES)
def test_no_bit_of_the_optimisers_state_is_lost_on_the_way_and_back(taken_over, before, between):
    written, _, back = taken_over
    assert back[f"{before}-{between}"] == written[str(before)]


@pytest.mark.parametrize(
    "stage", [pytest.param(0, marks=pytest.mark.slow), 1, pytest.param(3, marks=pytest.mark.slow)]
)
def test_a_run_on_2_then_1_then_2_ranks_sees_the_events_and_losses_of_the_undisturbed_one(
    make_run, run_ranks, figures, tmp_path, stage
):
    zero = {"deepspeed__zero_optimization": {"stage": stage}}

    def train(run, request, steps, *, world):
        recipe = json.loads(json.dumps(request.recipe))
        recipe["train"]["steps"] = steps  # of a constant schedule
        asked = replace(request, recipe=recipe, resume_from="newest", allow_change=True)
        path = tmp_path / f"{run.name}.json"
        path.write_text(json.dumps(asked.to_json()))
        codes, output, _ = run_ranks("train_rank.py", [path], tmp_path, world=world)
        assert codes == [0] * world, "\n".join(output)

    # Validation between checkpoints: what it leaves behind would be trained with.
    same = {
        "train__schedule": "constant",
        "train__steps": 12,
        "train__validate_every": 1,
        "checkpoint__keep": 9,
    }
    plain, request = make_run(**same)
    train(plain, request, 12, world=1)
    same |= zero
    golden, request = make_run(**same)
    train(golden, request, 12, world=2)
    moved, request = make_run(**same)
    for steps, world in ((3, 2), (9, 1), (12, 2)):
        train(moved, request, steps, world=world)
        assert moved.json()["effective"]["world"] == world

    for name in ("train/loss", "grad_norm", "val/loss"):
        got, wanted = figures(moved, name), figures(golden, name)
        assert wanted == pytest.approx(figures(plain, name), rel=1e-5)
        assert got == pytest.approx(wanted, rel=1e-5)
        assert {step: got[step] for step in got if step <= 3} == {
            step: wanted[step] for step in wanted if step <= 3
        }
    for step in (3, 6, 9, 12):
        states = [_state(run, step) for run in (golden, moved)]
        assert states[0]["cursor"] == states[1]["cursor"]
        assert states[0]["averaged"] == states[1]["averaged"]
        averaged = [read_weights(_checkpoint(run, step) / "model_ema.safetensors") for run in (golden, moved)]
        torch.testing.assert_close(averaged[0], averaged[1], rtol=0, atol=3e-5)
    events = [figures(run, "throughput/tokens_per_s").keys() for run in (golden, moved)]
    assert events[0] == events[1]


def _checkpoint(run, step):
    return run.checkpoints / f"step-{step:08d}"


def _state(run, step):
    return json.loads((_checkpoint(run, step) / "engine" / "state.json").read_text())


def test_moments_of_a_part_of_a_parameter_are_refused(make_run, run_ranks, tmp_path):
    from hepfm.training.worker import train

    run, request = make_run(train__steps=1)
    path = tmp_path / "request.json"
    path.write_text(json.dumps(request.to_json()))
    codes, output, _ = run_ranks("train_rank.py", [path], tmp_path, world=2)
    assert codes == [0, 0], "\n".join(output)
    checkpoint = Path(run.json()["checkpoint"])
    written = sorted(path.name for path in (checkpoint / "engine").glob("adamw-*"))
    assert written == ["adamw-00000.safetensors", "adamw-00001.safetensors"]

    manifest = json.loads((checkpoint / "manifest.json").read_text())
    (checkpoint / "engine" / "adamw-00001.safetensors").unlink()
    del manifest["files"]["engine/adamw-00001.safetensors"]
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="of a part of"):
        train(replace(request, resume_from="newest"))


def test_nothing_in_a_checkpoint_is_a_pickle(make_run):
    from hepfm.training.worker import train

    run, request = make_run(train__steps=1)
    train(request)
    kinds = {path.suffix for path in Path(run.json()["checkpoint"]).rglob("*") if path.is_file()}
    assert kinds == {".json", ".safetensors"}
    weights = read_weights(Path(run.json()["checkpoint"]) / "model.safetensors")
    assert weights_sha256(weights) == run.json()["weights_sha256"]
