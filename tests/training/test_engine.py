from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:torch.distributed")

STAGES = (0, 1, 2, 3)


@pytest.fixture(scope="module", params=[1, 2], ids=["one rank", "two ranks"])
def report(request, run_ranks, tmp_path_factory):
    """What training with every ZeRO stage gave, on one rank or two."""
    folder = tmp_path_factory.mktemp("stages")
    codes, output, report = run_ranks("toy.py", ["stages", folder], folder, world=request.param)
    assert codes == [0] * request.param, "\n".join(output)
    return report


def largest_difference(weights, exact):
    return max(float((torch.tensor(weights[name]).double() - exact[name]).abs().max()) for name in exact)


@pytest.mark.parametrize("stage", STAGES)
def test_loss_gradient_and_weights_are_those_of_the_whole_batch_in_float64(report, toy, stage):
    losses, norms, weights = toy.full_batch(10)
    got = report[str(stage)]
    assert got["losses"] == pytest.approx(losses, rel=1e-5)
    # Neither Adam nor a clipped gradient tells a factor: the norm does.
    assert got["norms"] == pytest.approx(norms, rel=1e-5)
    assert largest_difference(got["weights"], weights) < 2e-6


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_frozen_keeps_every_bit_and_has_no_moments(report, toy, stage):
    frozen = {n: p.tolist() for n, p in toy.make_module().named_parameters() if not p.requires_grad}
    assert list(frozen) == ["encoder.backbone.below.weight", "encoder.backbone.below.bias"]
    got = report[str(stage)]
    assert {name: got["weights"][name] for name in frozen} == frozen
    assert {name for name in got["moments"] if "below" in name} == set()
    assert "exp_avg/encoder.backbone.blocks.0.weight" in got["moments"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_cut_in_two_by_a_checkpoint_is_bitwise_the_whole_run(report, stage):
    got = report[str(stage)]
    assert got["resumed_losses"] == got["losses"][5:]
    assert got["resumed_sha256"] == got["sha256"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_nan_on_one_rank_skips_the_step_on_all_and_leaves_no_trace(report, toy, stage):
    losses, _, weights = toy.full_batch(10, skip=(4,))
    got = report[str(stage)]
    assert got["taken"] == [step != 4 for step in range(1, 11)]
    assert math.isnan(got["poisoned_losses"][3])
    assert got["poisoned_losses"][4:] == pytest.approx(losses[4:], rel=1e-5)
    assert largest_difference(got["poisoned"], weights) < 2e-6


def test_a_loss_that_overflows_with_finite_gradients_is_not_taken(toy):
    from hepfm.training.engine import Engine
    from hepfm.training.ranks import join

    engine = Engine(toy.make_module(), toy.make_recipe(1), join(60.0))
    before = toy.weights_of(engine)
    loss, _ = engine.forward(toy.plan_of(toy.rows_of_step(1)), {"all": 1.0, "seen": 1.0}, last=True)
    engine.backward(loss + math.inf)
    taken, _ = engine.step(0.1)
    assert not taken
    assert all(torch.equal(before[name], after) for name, after in toy.weights_of(engine).items())


@pytest.mark.parametrize("stage", STAGES)
def test_weights_that_the_loss_does_not_use_do_no_harm(toy, stage):
    """An objective may leave what features of points need; the others train as without them."""
    from hepfm.training.engine import Engine
    from hepfm.training.ranks import join

    weights = {}
    for idle in (False, True):
        module = toy.make_module()
        if idle:
            module.encoder.add_module("idle", torch.nn.Linear(5, 6))
            initial = {name: value.clone() for name, value in module.state_dict().items()}
        engine = Engine(module, toy.make_recipe(stage), join(60.0))
        toy.train(engine, 1, 3)
        weights[idle] = toy.weights_of(engine)
    for name, without in weights[False].items():
        torch.testing.assert_close(weights[True][name], without, rtol=1e-6, atol=1e-6)
    # Without a gradient they stay as they are, or decay: at stages 1 and 2 DeepSpeed takes zeros for it.
    # What lies below a backbone of one layer learns, and decays, a quarter as fast.
    idle, start = weights[True]["encoder.idle.weight"], initial["encoder.idle.weight"]
    torch.testing.assert_close(idle, start * ((1 - 0.25 * 0.05 * 0.1) ** 3 if stage else 1))


def test_biases_norms_and_embeddings_do_not_decay(toy):
    from torch import nn

    from hepfm.training.engine import decay_groups

    module = nn.ModuleDict(
        {
            "matrix": nn.Linear(4, 3),
            "norm": nn.LayerNorm(4),
            "table": nn.Embedding(5, 4),
            "conv": nn.Conv1d(2, 3, 3),
        }
    )
    module.token = nn.Parameter(torch.zeros(1, 4))
    decayed, free = decay_groups(module, 0.1)
    names = {id(p): name for name, p in module.named_parameters()}
    assert {names[id(p)] for p in decayed["params"]} == {"matrix.weight", "conv.weight"}
    assert decayed["weight_decay"] == 0.1
    assert free["weight_decay"] == 0.0
    assert len(free["params"]) == 6


def test_no_compiler_is_needed(toy, tmp_path):
    script = """
import sys, shutil
assert not any(shutil.which(name) for name in ("cc", "gcc", "c++", "g++", "clang", "ninja"))
sys.path.insert(0, sys.argv[1])
import toy
from hepfm.training.engine import Engine
from hepfm.training.ranks import end_process, join
engine = Engine(toy.make_module(), toy.make_recipe(1), join(60.0))
assert toy.train(engine, 1, 1)[0].taken
end_process(0)
"""
    (tmp_path / "home").mkdir()
    env = {name: value for name, value in os.environ.items() if name not in ("CC", "CXX")}
    env |= {"PATH": str(tmp_path), "HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, str(Path(__file__).parent)]
    done = subprocess.run(command, check=False, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_group_that_deepspeed_makes_has_our_timeout(toy):
    from hepfm.training.engine import Engine
    from hepfm.training.ranks import join

    engine = Engine(toy.make_module(), toy.make_recipe(1), join(77.0))
    group = engine._deepspeed.seq_data_parallel_group
    assert group is not torch.distributed.group.WORLD
    assert group._get_backend(torch.device("cpu")).options._timeout.total_seconds() == 77.0
