"""Runs judged and registered by commands, and the events that are refused."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hepfm.cli.main import app
from hepfm.data.generated import GeneratorSource
from hepfm.errors import DataError, HepfmError, RecipeError
from hepfm.evaluation.events import open_events
from hepfm.readers.pack import pack, take
from hepfm.readers.store import StoreReader, StoreWriter
from hepfm.recipe.schema import Generated
from hepfm.tracking.evaluations import results_of
from hepfm.tracking.store import connect
from hepfm_image3d.schema import image3d_schema

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)


def test_a_pretrained_run_predicts_nothing_and_says_what_it_can(hepfm, runs):
    told = hepfm("evaluate", runs["pre"].path, "--data", "test.h5", "--task", "semantic", fails=RecipeError)
    assert "hepfm embed" in told
    told = hepfm("predict", runs["pre"].path, "--data", "test.h5", "--out", "no", fails=RecipeError)
    assert "hepfm finetune" in told
    told = hepfm("evaluate", runs["task"].path, "--data", "test.h5", "--task", "vertex", fails=RecipeError)
    assert "its task is 'semantic'" in told
    told = hepfm("evaluate", runs["task"].path, "--data", "test.h5", "--device", "tpu", fails=RecipeError)
    assert "no device 'tpu'" in told


@pytest.mark.parametrize("data", ["train", "pre"])
def test_events_that_the_model_or_its_ancestor_was_trained_on_are_refused(
    hepfm, runs, folder, tmp_path, data, events, schema
):
    assert "flatter" in hepfm("evaluate", runs["task"].path, "--data", f"{data}.h5", fails=DataError)
    with StoreReader(folder / f"{data}.h5") as reader:
        some = take(reader.read(range(len(reader))), [1])
    with StoreWriter(tmp_path / "some.h5", {"image3d": schema}, {}) as writer:
        writer.write(some)
        writer.write(pack(events(range(500, 503)), {"image3d": schema}))
    told = hepfm("evaluate", runs["task"].path, "--data", tmp_path / "some.h5", fails=DataError)
    assert f"{data}.h5, event 1 and {tmp_path / 'some.h5'}, event 0" in told
    done = hepfm("evaluate", runs["task"].path, "--data", tmp_path / "some.h5", "--allow-seen", "--json")
    assert "--allow-seen" in " ".join(json.loads(done)["doubts"])


def test_what_cannot_be_looked_at_is_said(model, tmp_path, monkeypatch, events, store):
    gone = {**model.about, "ancestors": [{"digest": "d", "seed": 1, "data": {
        **model.about["recipe"]["data"], "train": str(tmp_path / "gone.h5")}}]}  # fmt: skip
    told = []
    other = store(tmp_path / "other.h5", events(range(600, 603)))
    open_events(replace(model, about=gone), str(other), say=told.append)
    assert len(told) == 1
    assert "gone.h5 are not here" in told[0]


def test_events_without_labels_are_predicted_and_not_judged(hepfm, runs, tmp_path, events, store):
    bare = store(
        tmp_path / "bare.h5",
        events(range(4)),
        image3d_schema(voxels=("voxel", "energy_mev"), grid=(48, 48, 48)),
    )
    told = hepfm("evaluate", runs["task"].path, "--data", bare, fails=DataError)
    assert "no labels 'semantic'" in told
    assert "hepfm predict" in told
    hepfm(
        "predict",
        runs["task"].path,
        "--data",
        bare,
        "--out",
        tmp_path / "out",
        "--workers",
        0,
        "--carry",
        "inputs",
    )
    with StoreReader(tmp_path / "out") as reader:
        assert list(reader.parts) == ["predicted_image3d", "image3d"]


def test_events_that_do_not_fit_are_refused_or_doubted(model, runs, hepfm, tmp_path, events, store, schema):
    def changed(name, schema, samples=None):
        return str(
            store(tmp_path / f"{name}.h5", events(range(700, 703)) if samples is None else samples, schema)
        )

    told = []
    open_events(
        model,
        changed("coarse", replace(schema, attributes={**schema.attributes, "voxel_mm": 5.0})),
        say=told.append,
    )
    assert told == ["not as in training: image3d.attributes.voxel_mm is 3.0 there, 5.0 here"]
    energy = replace(schema.tables["voxels"]["energy_mev"], unit="keV")
    other = replace(schema, tables={"voxels": {**schema.tables["voxels"], "energy_mev": energy}})
    with pytest.raises(DataError, match=r"energy_mev\.unit"):
        open_events(model, changed("kev", other))
    classes = schema.vocabularies[schema.tables["voxels"]["semantic"].vocabulary]
    swapped = [replace(one, name=two.name) for one, two in zip(classes, classes[::-1], strict=True)]
    names = replace(schema, vocabularies=dict.fromkeys(schema.vocabularies, tuple(swapped)))
    told = hepfm("evaluate", runs["task"].path, "--data", changed("swapped", names), fails=DataError)
    assert "mean something else" in told
    unknown = [replace(s, labels={"image3d": {"voxels": {"semantic": s.labels["image3d"]["voxels"]["semantic"] * 0 + 9}}})
               for s in events(range(800, 802))]  # fmt: skip
    told = hepfm(
        "evaluate", runs["task"].path, "--data", changed("unknown", schema, unknown), fails=DataError
    )
    assert "No event has a label" in told
    broken = list(events(range(900, 903)))
    broken[1].parts["image3d"]["voxels"]["energy_mev"][3] = np.nan
    data = changed("broken", schema, broken)
    told = hepfm(
        "predict",
        runs["task"].path,
        "--data",
        data,
        "--out",
        tmp_path / "out",
        "--workers",
        0,
        fails=DataError,
    )
    assert "broken.h5, event 1, field image3d/voxels/energy_mev" in told
    assert not list((tmp_path / "out").glob("*.h5*")), "nothing is half written"


def test_an_evaluation_is_a_child_run_and_the_model_has_one_card(hepfm, runs, folder):
    run = runs["task"]
    hepfm("evaluate", run.path, "--data", "test.h5", "--name", "known", "--register", "my-model")
    result = results_of(run)[-1]
    client = connect(f"sqlite:///{folder}/mlflow.db")
    (experiment,) = [each.experiment_id for each in client.search_experiments() if each.name == "hepfm"]
    (child,) = client.search_runs([experiment], f"tags.`hepfm.run` = '{Path(result['folder']).name}'")
    assert child.data.tags["mlflow.parentRunId"] == run.json()["run_id"]
    assert child.data.tags["hepfm.data_digest"] == result["data"]["digest"]
    figure = result["figures"]["macro_f1"]
    for key, at in (("macro_f1", "value"), ("macro_f1_low", "low"), ("macro_f1_high", "high")):
        assert child.data.metrics[key] == pytest.approx(figure[at])
    artifacts = folder / "mlartifacts"
    files = {path.name for path in (artifacts / child.info.run_id / "artifacts").iterdir()}
    assert files >= {"evaluation.json", "figures.png", "statistics.npz"}
    (card,) = run.path.glob("models/my-model-*/card.md")
    tables = card.read_text().count("| macro_f1 |")
    for name, level, more in (("again", 0.68, 0), ("wide", 0.95, 1)):
        hepfm("evaluate", run.path, "--data", "test.h5", "--name", name, "--level", level)
        said = hepfm("register", run.path, "my-model", stderr=True)
        assert "Registered: my-model, version 1 (models:/my-model/1)" in said
        assert card.read_text().count("| macro_f1 |") == tables + more, "equal figures are told once"
    (version,) = client.search_model_versions("name = 'my-model'")
    assert version.run_id == run.json()["run_id"]
    assert version.description == card.read_text()
    text = card.read_text()
    assert f"| macro_f1 | {figure['value']:.4g} | {figure['low']:.4g} to {figure['high']:.4g} |" in text
    assert str(folder / "pre.h5") in text, "what the weights were trained on before"
    sent = artifacts / version.run_id / "artifacts" / "models" / card.parent.name
    assert (sent / "model.safetensors").read_bytes() == (card.parent / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "--data"),
        ("predict", "--out", "out", "--data"),
        ("embed", "--out", "out", "--data"),
        ("display", "--event", 1, "--data"),
        ("anomaly", "--out", "out", "--data"),
        *(
            ("anomaly", "--out", "out", "--data", "test.h5", option)
            for option in ("--reference", "--against")
        ),
        *(("probe", "--task", "semantic", option) for option in ("--train", "--val", "--test")),
        *(("fewshot", "--task", "semantic", option) for option in ("--train", "--val", "--test")),
    ],
    ids=lambda command: command[0] + command[-1],
)
def test_a_file_that_is_not_there_is_told_before_the_model_is_read(hepfm, runs, monkeypatch, command):
    monkeypatch.setattr(
        "hepfm.training.pretrained.open_checkpoint", lambda *_, **__: pytest.fail("it was read")
    )
    told = hepfm(command[0], runs["task"].path, *command[1:], "tset.h5", fails=DataError)
    assert "tset.h5" in told
    assert "did you mean 'test.h5'?" in told


def test_a_store_that_is_down_gets_all_of_it_later(hepfm, runs, folder, monkeypatch):
    run = runs["task"]
    recipe = run.recipe_path.read_text()
    try:
        run.recipe_path.write_text(recipe.replace(f"sqlite:///{folder}/mlflow.db", "http://127.0.0.1:9"))
        hepfm("evaluate", run.path, "--data", "test.h5", "--name", "later", "--register", "late")
    finally:
        run.recipe_path.write_text(recipe)
    result = results_of(run)[-1]
    record = Path(result["folder"])
    assert json.loads((record / "run.json").read_text())["tracking_pending"] > 0
    (record / "recipe.yaml").write_text(recipe)
    assert CliRunner().invoke(app, ["mlflow", "sync", str(run.path)]).exit_code == 0
    client = connect(f"sqlite:///{folder}/mlflow.db")
    (version,) = client.search_model_versions("name = 'late'")
    experiments = [each.experiment_id for each in client.search_experiments()]
    (child,) = client.search_runs(experiments, f"tags.`hepfm.run` = '{record.name}'")
    assert child.data.tags["mlflow.parentRunId"] == run.json()["run_id"] == version.run_id
    assert torch.isfinite(torch.tensor(child.data.metrics["macro_f1"]))


def test_a_run_is_compared_with_itself_by_paired_draws(hepfm, runs):
    run = runs["task"].path
    hepfm("evaluate", run, "--data", "test.h5")
    done = hepfm("compare", run, run)
    lines = [line for line in done.splitlines() if line.startswith("macro_f1, minus A ")]
    assert lines
    assert all(line.split("A ")[1].split() == ["+0.0000", "+0.0000", "to", "+0.0000"] for line in lines)


def test_a_single_event_has_no_interval_and_part_of_the_validation_is_doubted(
    hepfm, runs, tmp_path, events, store
):
    one = store(tmp_path / "one.h5", events([400]))
    result = json.loads(hepfm("evaluate", runs["task"].path, "--data", one, "--json"))
    assert set(result["figures"]["accuracy"]) == {"value"}
    some = store(tmp_path / "some.h5", events([51, 401, 402]))
    result = json.loads(hepfm("evaluate", runs["task"].path, "--data", some, "--json"))
    assert [each for each in result["doubts"] if "some are the run's validation events" in each]


def test_the_first_events_are_judged_as_a_store_of_them(hepfm, runs, folder, tmp_path, events, store):
    alone = store(tmp_path / "alone.h5", events(range(100, 104)))
    run = runs["task"].path
    wanted = json.loads(hepfm("evaluate", run, "--data", alone, "--json"))
    found = json.loads(hepfm("evaluate", run, "--data", "test.h5", "--events", 4, "--json"))
    assert found["figures"] == wanted["figures"]
    assert (found["data"]["events"], found["data"]["named"]) == (4, "test.h5 (the first 4 of 10)")
    assert "on 4 events of test.h5 (the first 4 of 10)" in hepfm(
        "evaluate", run, "--data", "test.h5", "--events", 4
    )
    told = hepfm("evaluate", run, "--data", "test.h5", "--events", 11, fails=DataError)
    assert "10 events, fewer than the first 11" in told


def test_the_first_training_events_are_known_where_the_training_files_are_gone(model, folder, tmp_path):
    files = shutil.copy(folder / "train.h5", tmp_path / "moved.h5")
    gone = copy.deepcopy(dict(model.about))
    gone["recipe"]["data"]["train"] = str(tmp_path / "gone.h5")
    with pytest.raises(DataError, match="trained on these events"):
        open_events(replace(model, about=gone), str(files), events=2)


def test_the_first_events_of_a_generator_are_its_range(model):
    spec = {"generator": "lartpc", "detector": "cube", "events": 50, "first": 7}
    whole = open_events(model, Generated.model_validate(spec), seen=True)
    first = open_events(model, Generated.model_validate(spec), events=5, seen=True)
    assert isinstance(first, GeneratorSource)  # whose records and ranges are compared
    np.testing.assert_array_equal(first.event_ids(), whole.event_ids()[:5])


def test_scores_of_a_run_with_a_head_are_recorded_without_its_plots(hepfm, runs, tmp_path, events, store):
    usual = [
        word
        for name, first in (("reference", 500), ("against", 600))
        for word in (f"--{name}", store(tmp_path / f"{name}.h5", events(range(first, first + 20))))
    ]
    command = ("anomaly", runs["task"].path, "--data", "test.h5", "--workers", 0, "--out", tmp_path / "out")
    result = json.loads(hepfm(*command, *usual, "--draws", 10, "--json").splitlines()[-1])
    assert "auc/gaussian" in result["figures"]
    assert not (Path(result["folder"]) / "plots.html").exists()


def test_names_that_cannot_be_used_are_refused(hepfm, runs):
    assert "registered model's name" in hepfm("register", runs["pre"].path, "../x", fails=HepfmError)
