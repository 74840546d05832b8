"""Few-shot curves: points that are done or not, figures over seeds, and going on after a kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from zipfile import BadZipFile

import numpy as np
import pytest

from hepfm.cli.curve import PATIENCE, Work
from hepfm.errors import RecipeError
from hepfm.evaluation.fewshot import Ledger, Point, curves, doubts_of, panel, points, refuse_others
from hepfm.evaluation.results import difference, summary
from hepfm.metrics.bootstrap import intervals


def mean(sums):
    return {"mean": float(sums["total"] / sums["count"])}


def run(values):
    return {"total": values, "count": np.ones(len(values))}


def test_one_seed_has_the_interval_of_its_events_and_equal_seeds_add_nothing():
    values = np.random.default_rng(1).exponential(2.0, 200)
    low, high = intervals(run(values), mean)["mean"]
    one = summary([run(values)], mean)["mean"]
    assert one == {"value": pytest.approx(values.mean()), "low": low, "high": high}
    three = summary([run(values)] * 3, mean)["mean"]
    assert (three["low"], three["high"]) == pytest.approx((low, high))
    assert three["spread"] == pytest.approx(0, abs=1e-12)


def test_seeds_that_differ_widen_the_band():
    """Without events that differ, the band is that of the seeds' mean: 1.5 among values of variance 1.25 / 4."""
    seeds = [run(np.full(50, float(value))) for value in range(4)]
    found = summary(seeds, mean)["mean"]
    assert found["value"] == 1.5
    assert found["spread"] == pytest.approx(np.std([0, 1, 2, 3], ddof=1))
    error = np.sqrt(1.25 / 4)
    # Means of four draws of four values come in quarters.
    assert (found["low"], found["high"]) == pytest.approx((1.5 - error, 1.5 + error), abs=0.26)


def test_a_gain_is_paired_by_event():
    """Events differ by far more than the two models do, which the difference does not feel."""
    values = np.random.default_rng(2).exponential(100.0, 100)
    gain = difference([run(values + 1)], [run(values)], mean)["mean"]
    assert gain == {"value": pytest.approx(1), "low": pytest.approx(1), "high": pytest.approx(1)}


@pytest.fixture
def work(tmp_path):
    part = {"kind": "image3d"}
    trained = {"data": {"parts": {"image3d": part}}, "model": {"backbone": {"name": "transformer"}}}
    (tmp_path / "model.json").write_text(json.dumps({"recipe": trained}))
    return Work(
        parent=SimpleNamespace(name="pre"),
        model=SimpleNamespace(folder=tmp_path),
        opened=None,
        test=None,
        recipe="tasks/semantic",
        overrides=[],
        out=tmp_path,
    )


def test_from_scratch_all_is_trained_however_the_pretrained_model_is_adapted(work, tmp_path):
    work = replace(work, overrides=["model.adapt.mode=frozen", "model.adapt.layer_decay=0.7"])
    made = (Point(seed=1, events=4, updates=3, arm=arm) for arm in ("pretrained", "scratch"))
    ours, scratch = (work.resolved(point).recipe.model for point in made)
    assert (ours.weights, ours.adapt.mode, ours.adapt.layer_decay) == (str(tmp_path), "frozen", 0.7)
    assert (scratch.weights, scratch.adapt.mode, scratch.adapt.layer_decay) == (None, "full", 1)


def test_points_come_seed_by_seed_with_equal_updates():
    made = points([10, 30], [1, 2], [50, 500], probes=True)
    assert len(made) == len({point.name for point in made}) == 2 * 2 * (1 + 2 * 2)
    assert {point.seed for point in made[: len(made) // 2]} == {1}
    for arm in ("pretrained", "scratch"):
        assert sum(point.arm == arm and point.updates == 500 for point in made) == 4


def test_trainings_to_convergence_wait_for_validations_and_equal_updates_do_not(work):
    work = replace(work, overrides=["train.patience=4", "train.validate_every=7"])
    both = points([10], [1], [50], probes=False, converge=900)
    assert [point.name for point in both] == [
        *("pretrained-50-n10-s1", "scratch-50-n10-s1"),
        *("pretrained-converged-900-n10-s1", "scratch-converged-900-n10-s1"),
    ]
    equal, waiting = (work.resolved(both[i], best_by="macro_f1").recipe for i in (1, 3))
    assert (equal.train.steps, equal.train.patience, equal.train.best_by) == (50, None, None)
    assert (waiting.train.steps, waiting.train.patience, waiting.train.best_by) == (900, 4, "macro_f1")
    assert waiting.checkpoint.every == 7, "the best validation has a checkpoint"
    assert replace(work, overrides=[]).resolved(both[3]).recipe.train.patience == PATIENCE


def test_a_point_is_done_with_its_statistics_and_others_settings_are_refused(tmp_path):
    settings = {"recipe": {"train": {"learning_rate": 1e-3}}, "data": {"test": "abc"}}
    ledger = Ledger(tmp_path / "curve", settings)
    made = points([10, 30], [1, 2], [5], probes=False)
    rng = np.random.default_rng(3)
    values = {point: rng.normal(len(point.arm), 1, 40) for point in made}
    ledger.note(made[0], run="some-run")
    assert ledger.told(made[0]) == {"run": "some-run"}
    for point in made:
        ledger.finish(point, run(values[point]))
    assert ledger.told(made[0]) == {"run": "some-run", "done": True}
    again = Ledger(tmp_path / "curve", settings)
    result = curves(again, made, mean)
    assert list(result["curves"]) == ["pretrained-5", "scratch-5"]
    for name, curve in result["curves"].items():
        for at in curve:
            of = [v for p, v in values.items() if p.curve == name and p.events == at["events"]]
            assert at["figures"]["mean"]["value"] == pytest.approx(np.mean(of))
    (gain,) = [each for each in result["gain"]["5"] if each["events"] == 30]
    ours, theirs = result["curves"]["pretrained-5"][1], result["curves"]["scratch-5"][1]
    assert gain["figures"]["mean"]["value"] == pytest.approx(
        ours["figures"]["mean"]["value"] - theirs["figures"]["mean"]["value"]
    )
    drawn = panel(result, "mean", title="t")
    assert [line.name for line in drawn.lines] == ["fine-tuned, 5 updates", "from scratch, 5 updates"]
    assert all((line.band[0] <= line.y).all() and (line.y <= line.band[1]).all() for line in drawn.lines)
    refuse_others(tmp_path / "curve", {"recipe": settings["recipe"]})  # of the data nothing is known yet
    settings["recipe"]["train"]["learning_rate"] = 2e-3
    settings["data"]["test"] = "abd"
    with pytest.raises(RecipeError) as refused:
        Ledger(tmp_path / "curve", settings)
    assert "recipe.train.learning_rate was 0.001, now it is 0.002" in str(refused.value)
    assert "data.test was abc, now it is abd" in str(refused.value)


@pytest.fixture
def settings():
    model = {"adapt": {"layer_decay": 0.7}, "backbone": {"name": "transformer"}}
    recipe = {"train": {"learning_rate": 1e-3}, "model": model}
    return {"weights_sha256": "ours", "recipe": recipe, "data": {"test": "abc"}}


PLUGINS = {"core": {"distribution": "hepfm", "version": "1"}}
SCRATCH = Point(seed=1, events=10, updates=5, arm="scratch")


def a_curve(runs, settings, parent="first"):
    """A curve of a pretrained run, in which the training from scratch is done."""
    ledger = Ledger(runs / parent / "evaluations" / "fewshot", settings)
    trained = runs / f"{parent}-scratch"
    trained.mkdir()
    (trained / "run.json").write_text(json.dumps({"plugins": PLUGINS}))
    ledger.finish(SCRATCH, run(np.arange(4.0)), run=trained.name, updates=5)
    return ledger


def changed(settings, key, value):
    copied = json.loads(json.dumps(settings))
    at = copied
    *above, last = key.split(".")
    for name in above:
        at = at[name]
    at[last] = value
    return copied


@pytest.mark.parametrize("key", ["weights_sha256", "recipe.model.adapt.layer_decay"])
def test_what_was_trained_from_scratch_for_one_pretrained_model_serves_another(tmp_path, settings, key):
    first = a_curve(tmp_path, settings)
    ours = Ledger(tmp_path / "second" / "evaluations" / "other", changed(settings, key, 0.1))
    unused = {"jets": {"distribution": "jets", "version": "3"}}
    assert ours.borrow(SCRATCH, tmp_path, PLUGINS | unused) == str(first.folder)
    assert ours.told(SCRATCH) == first.told(SCRATCH) | {"curve": str(first.folder)}
    np.testing.assert_equal(ours.statistics(SCRATCH), first.statistics(SCRATCH))
    third = Ledger(tmp_path / "third" / "evaluations" / "other", settings)
    (first.folder / "settings.json").unlink()
    assert third.borrow(SCRATCH, tmp_path, PLUGINS) == str(first.folder), (
        "where it was trained, not the second"
    )
    assert third.borrow(replace(SCRATCH, seed=2), tmp_path, PLUGINS) == ""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.test", "abd"),
        ("recipe.train.learning_rate", 2e-3),
        ("recipe.model.backbone.name", "ssm"),
        ("plugins", "2"),
    ],
)
def test_from_scratch_with_other_events_settings_or_plugins_is_trained_anew(tmp_path, settings, key, value):
    a_curve(tmp_path, settings)
    plugins = {"core": {"distribution": "hepfm", "version": value}} if key == "plugins" else PLUGINS
    other = settings if key == "plugins" else changed(settings, key, value)
    ours = Ledger(tmp_path / "second" / "evaluations" / "fewshot", other)
    assert ours.borrow(SCRATCH, tmp_path, plugins) == ""
    assert ours.told(SCRATCH) == {}


@pytest.mark.parametrize(
    "broken",
    [
        "settings.json",
        "points/scratch-5-n10-s1.npz",
        "npz",
        "points/scratch-5-n10-s1.json",
        "run.json",
        "not done",
    ],
)
def test_a_damaged_or_begun_curve_is_passed_over(tmp_path, settings, broken):
    first = a_curve(tmp_path, settings)
    if broken == "not done":
        first.note(SCRATCH, done=False)
    elif broken == "run.json":
        (tmp_path / "first-scratch" / "run.json").unlink()
    elif broken == "npz":  # somewhere in its compressed numbers
        path = first.folder / "points" / f"{SCRATCH.name}.npz"
        content = bytearray(path.read_bytes())
        content[len(b"PK") + 70] ^= 0xFF
        path.write_bytes(content)
        with pytest.raises((zlib.error, BadZipFile)):
            first.statistics(SCRATCH)
    else:
        (first.folder / broken).write_bytes(b"[]" if broken.endswith("json") else b"PK\x03\x04")
    ours = Ledger(tmp_path / "second" / "evaluations" / "fewshot", settings)
    assert ours.borrow(SCRATCH, tmp_path, PLUGINS) == ""
    assert not ours.told(SCRATCH).get("done")


def test_what_cannot_be_written_is_not_taken_for_a_damaged_curve(tmp_path, settings, monkeypatch):
    a_curve(tmp_path, settings)
    ours = Ledger(tmp_path / "second" / "evaluations" / "fewshot", settings)
    full = OSError("No space left on device")
    monkeypatch.setattr(np, "savez_compressed", lambda *_, **__: (_ for _ in ()).throw(full))
    with pytest.raises(OSError, match="No space"):
        ours.borrow(SCRATCH, tmp_path, PLUGINS)


def test_other_code_or_precision_and_trainings_that_end_early_are_told(tmp_path, settings):
    ledger = Ledger(tmp_path / "first" / "evaluations" / "fewshot", settings)
    ours = SCRATCH.partner
    assert ours.name == "pretrained-5-n10-s1"

    def made(point, code, precision):
        folder = tmp_path / f"run-{point.arm}"
        folder.mkdir(exist_ok=True)
        (folder / "run.json").write_text(json.dumps({"code": code, "effective": {"precision": precision}}))
        ledger.note(point, run=folder.name)

    made(ours, "abc", "bf16")
    assert doubts_of(ledger, [ours, SCRATCH], tmp_path) == [], "of the other nothing is known"
    made(SCRATCH, "abc", "bf16")
    assert doubts_of(ledger, [ours, SCRATCH], tmp_path) == []
    for other in ("abd", "bf16"), ("abc", "fp32"):
        made(SCRATCH, *other)
        (told,) = doubts_of(ledger, [ours, SCRATCH], tmp_path)
        assert "1 trainings from scratch have another code or precision" in told
        assert SCRATCH.name in told
    late = replace(ours, converged=True)
    ledger.note(late, converged=False)
    assert "still becoming better" in doubts_of(ledger, [late], tmp_path)[0]
    ledger.note(late, converged=True)
    assert doubts_of(ledger, [late], tmp_path) == []


def test_names_of_points_are_told_apart():
    assert Point(seed=1, events=10, updates=0, arm="probe").name == "probe-n10-s1"
    assert Point(seed=2, events=10, updates=200, arm="scratch").name == "scratch-200-n10-s2"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_curve_goes_on_where_it_was(tmp_path):
    """Killed in the second training: the first stays, the second resumes, and numbers are those of no kill."""
    small = (
        "objective.decoder_heads=2",
        "model.backbone.d_model=16",
        "model.backbone.n_layers=1",
        "model.backbone.n_heads=2",
    )
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    env.pop("MLFLOW_TRACKING_URI", None)

    def hepfm(*args, sets=(), **more):
        flags = [flag for value in sets for flag in ("--set", value)]
        command = [sys.executable, "-m", "hepfm", *args, "--in-process", *flags]
        return subprocess.run(
            command,
            check=False,
            cwd=tmp_path,
            env={**env, **more},
            capture_output=True,
            text=True,
            timeout=280,
        )

    def pretrained(*more):
        ran = hepfm(
            *("pretrain", "image3d/masked-tiny", "--json"),
            sets=(*small, "train.steps=1", "train.validate_events=2", "train.marginal_events=4", "data.batch_cost=4000",
                  "tracking.displays=0", "data.micro_batch_cost=4000", "train.warmup_steps=1", *more),
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        return Path(json.loads(ran.stdout.splitlines()[-1])["run_dir"])

    made = pretrained()
    sets = (
        "data.batch_cost=4000",
        "data.micro_batch_cost=4000",
        "train.warmup_steps=1",
        "checkpoint.every=1",
    )
    curve = ("fewshot", made.name, "--task", "semantic", "--events", "4", "--seeds", "1", "--updates", "3")
    # The trainings share a process: three steps of the first, and the second's second.
    killed = hepfm(*curve, sets=sets, HEPFM_FAILPOINT="after-step:5:kill")
    assert killed.returncode == -9, killed.stderr
    folder = made / "evaluations" / "fewshot-semantic"
    first = folder / "points" / "pretrained-3-n4-s1.json"
    assert json.loads(first.read_text())["done"]
    begun = json.loads((folder / "points" / "scratch-3-n4-s1.json").read_text())
    assert not begun.get("done")
    when = first.stat().st_mtime_ns
    done = hepfm(*curve, "--json", sets=sets)
    assert done.returncode == 0, done.stderr
    assert first.stat().st_mtime_ns == when
    result = json.loads(done.stdout.splitlines()[-1])
    assert (
        result["trainings"]["scratch-3-n4-s1"]["run"] == begun["run"]
    )  # the run that was killed, and no other
    child = json.loads((tmp_path / "runs" / begun["run"] / "run.json").read_text())
    assert child["status"] == "done"
    assert child["parent"] == made.name
    assert child["effective"]["train_events"] == 4
    assert (folder / "curve.png").stat().st_size > 5000
    whole = hepfm("fewshot", str(made), *curve[2:], "--json", "--name", "whole", "--runs", "apart", sets=sets)
    assert json.loads(whole.stdout.splitlines()[-1])["curves"] == result["curves"], whole.stderr
    # What was trained from scratch serves the curve of another pretrained run, which it does not depend on.
    other = hepfm("fewshot", pretrained("seed=2").name, *curve[2:], "--json", sets=sets)
    assert f"taken over from {folder.relative_to(tmp_path)}" in other.stderr
    theirs = json.loads(other.stdout.splitlines()[-1])
    assert theirs["trainings"]["scratch-3-n4-s1"]["run"] == begun["run"]
    assert theirs["curves"]["scratch-3"] == result["curves"]["scratch-3"]
    assert theirs["curves"]["pretrained-3"] != result["curves"]["pretrained-3"]
