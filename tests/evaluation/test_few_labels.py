"""A pretrained run and few labels, by commands: probes and few-shot curves, refused, recorded and gone on with."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from hepfm.cli import launch
from hepfm.errors import DataError, RecipeError, Stopped
from hepfm.evaluation import splits
from hepfm.tracking.store import connect
from hepfm.training.pretrained import open_checkpoint

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)


def children(folder, records):
    """MLflow's runs of records."""
    client = connect(f"sqlite:///{folder}/mlflow.db")
    return [client.get_run(json.loads((path / "run.json").read_text())["run_id"]) for path in records]


def test_a_probe_is_a_child_run_and_one_in_its_place_another(hepfm, runs, folder):
    run = runs["pre"]
    command = ("probe", run.path, "--task", "semantic", "--set", "width=0", "--train", "train.h5", "--test",
               "test.h5", "--untrained", "--json")  # fmt: skip
    results = [json.loads(hepfm(*command, "--seeds", seed)) for seed in (1, 2)]
    home = run.evaluations / "probe-semantic-linear"
    made = children(folder, run.evaluations.glob("probe-semantic-linear-*"))
    assert json.loads((home / "figures.json").read_text()) == results[1]
    assert len(made) == 2, "a folder's name is also that of other runs' probes"
    for child in made:
        result = results[child.data.params["seeds"] == "[2]"]
        assert child.data.tags["mlflow.parentRunId"] == run.json()["run_id"]
        assert child.data.tags["pretrain.saw_truth"] == "false"
        for arm, figures in (("", result["figures"]["pretrained"]), ("gain/", result["gain"])):
            assert child.data.metrics[f"{arm}macro_f1"] == pytest.approx(figures["macro_f1"]["value"])
            assert child.data.metrics[f"{arm}macro_f1_low"] == pytest.approx(figures["macro_f1"]["low"])
    files = {path.name for path in (folder / "mlartifacts" / made[0].info.run_id / "artifacts").iterdir()}
    assert files >= {"figures.json", "statistics.npz"}
    for option in ("--rows", 100), ("--kind", "svm"):
        told = hepfm(*command, "--protocol", "bnl-mlp", *option, fails=RecipeError)
        assert option[0] in told, "an option is not ignored in silence"
    read = ("--reader", "store", "--device", "cpu", "--name", "read")
    assert json.loads(hepfm(*command, *read))["figures"] == results[0]["figures"]
    told = hepfm(*command, "--option", "x=1", fails=RecipeError)
    assert "no option 'x'" in told
    hepfm("register", run.path, "probed")
    (card,) = run.path.glob("models/probed-*/card.md")
    macro = results[0]["figures"]["pretrained"]["macro_f1"]
    assert (
        f"| macro_f1 | {macro['value']:.4f}  {macro['low']:.4f} to {macro['high']:.4f} |" in card.read_text()
    )


def figures_of(run, name):
    """Of each step of a run that has a figure, its value."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["metrics"][name] for line in lines if name in line["metrics"]}


def test_a_curve_holds_back_no_arm_and_is_a_child_run(hepfm, runs, folder, events, store, monkeypatch):
    """With an encoder frozen for the pretrained arm, that from scratch learns all; the curve is in MLflow."""
    run = runs["pre"]
    command = ("fewshot", run.path, "--task", "semantic", "--events", 2, "--seeds", 1, "--updates", 1,
               "--no-probe", "--train", "train.h5", "--in-process", "--out", folder, "--json")  # fmt: skip
    sets = ("model.adapt.mode=frozen", "train.warmup_steps=1", "train.precision=fp32", "tracking.displays=0",
            f'tracking.uri="sqlite:///{folder}/mlflow.db"', "objective.head.width=8")  # fmt: skip
    sets = [word for one in sets for word in ("--set", one)]
    told = hepfm(*command, *sets, "--val", "test.h5", "--test", "test.h5", "--name", "x", fails=DataError)
    assert "test events are validation events too" in told
    told = hepfm("fewshot", run.path, "--task", "semantic", "--events", 1, *sets, fails=DataError)
    assert "cannot be shared" in told, "before anything is trained"
    for option, said in (("--figure", "macro_f2"), "did you mean 'macro_f1'"), (("--converge", 9), "--val"):
        told = hepfm(*command, *sets, "--test", "test.h5", "--name", "x", *option, fails=RecipeError)
        assert said in told, "before anything is trained"
    unlabelled = store(folder / "unlabelled.h5", [
        replace(s, labels={"image3d": {"voxels": {"semantic": s.labels["image3d"]["voxels"]["semantic"] * 0 - 1}}})
        for s in events(range(950, 970))])  # fmt: skip
    for train, test in ("train.h5", unlabelled), (unlabelled, "test.h5"):
        words = [train if word == "train.h5" else word for word in command]
        told = hepfm(*words, *sets, "--test", test, "--name", "x", fails=DataError)
        assert "None of 20 events has a label that counts: there is nothing to learn or judge." in told
        assert f"\n  where: {unlabelled}: " in told
    told = hepfm(*command, *sets, "--val", unlabelled, "--test", "test.h5", "--name", "x", fails=DataError)
    assert f"nothing to learn or judge.\n  where: {unlabelled}: " in told, "before anything is trained"
    told = hepfm("fewshot", run.path, "--task", "semantic", "--reader", "store", *sets, fails=RecipeError)
    assert "--train and --test" in told
    sets += ["--set", "train.validate_every=1", "--set", "train.patience=1"]
    known = ("--val", "val.h5", "--test", "test.h5", "--converge", 3, "--reader", "store")
    with monkeypatch.context() as patch:
        patch.setattr(
            launch, "_train", lambda *args, train=launch._train: (train(*args), signal.raise_signal(15))
        )
        told = hepfm(*command, *sets, *known, fails=Stopped)
        assert "the same command goes on" in told, "though the signal came after a training's last step"
    assert len(list((run.evaluations / "fewshot-semantic" / "points").iterdir())) == 1
    result = json.loads(hepfm(*command, *sets, *known).splitlines()[-1])
    with monkeypatch.context() as patch:
        patch.setattr(splits, "open_splits", None)  # so that no event can be read
        other = ("--set", "objective.head.width=9", "--set", "train.learning_rate=0.5")
        told = hepfm(*command, *sets, *known, *other, fails=RecipeError)
    for setting in ("objective.head.width was 8, now it is 9", "train.learning_rate was "):
        assert setting in told
    converged = ["pretrained-converged-3", "scratch-converged-3"]
    assert set(result["curves"]) == {"pretrained-1", "scratch-1", *converged}
    assert (result["figure"], result["chosen_by"]) == ("macro_f1", "macro_f1")
    for point in converged:
        told = result["trainings"][f"{point}-n2-s1"]
        assert told["best_step"] <= told["updates"] <= 3
        assert told["converged"] == (told["updates"] > told["best_step"])
        scores = figures_of(folder / told["run"], "val/macro_f1")
        best = max(scores, key=lambda step: (scores[step], -step))
        assert Path(told["checkpoint"]).name == f"step-{best:08d}", "the best on val.h5 is tested"
    for point, mode in (("pretrained-1-n2-s1", "frozen"), ("scratch-1-n2-s1", "full")):
        trained = open_checkpoint(Path(json.loads(
            (run.evaluations / "fewshot-semantic" / "points" / f"{point}.json").read_text())["checkpoint"]))  # fmt: skip
        assert trained.recipe.model.adapt.mode == mode
    (child,) = children(folder, run.evaluations.glob("fewshot-semantic-*"))
    gain = result["gain"]["1"][0]["figures"]["macro_f1"]["value"]
    assert child.data.metrics["gain-1/macro_f1"] == pytest.approx(gain)
    assert "gain-converged-3/macro_f1" in child.data.metrics
    assert child.data.tags["mlflow.parentRunId"] == run.json()["run_id"]
    files = {path.name for path in (folder / "mlartifacts" / child.info.run_id / "artifacts").iterdir()}
    assert files >= {"figures.json", "curve.png", "curve.html"}
