"""Runs in use: evaluated, registered, and what they predict and make of events, written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from typer.testing import CliRunner

from hepfm.api import Sample
from hepfm.cli.main import app
from hepfm.data.tensors import to_torch
from hepfm.errors import DataError, HepfmError, RecipeError
from hepfm.evaluation.events import open_events
from hepfm.evaluation.writing import Making, plan, write
from hepfm.readers.pack import pack, take
from hepfm.readers.store import StoreReader, StoreWriter
from hepfm.recipe.load import from_dict
from hepfm.tracking.evaluations import results_of
from hepfm.tracking.runs import create_run
from hepfm.tracking.store import connect
from hepfm.training.pretrained import open_checkpoint
from hepfm.training.request import TrainRequest
from hepfm.training.worker import train
from hepfm_image3d.schema import image3d_schema

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)
COLUMNS = ("voxel", "energy_mev", "semantic")
SCHEMA = image3d_schema(voxels=COLUMNS, grid=(48, 48, 48))
EMPTY = 104
"""Id of a test event without a voxel."""


def events(ids, seed=1):
    """Walks of high energies (class 1) and low ones (class 0); one event is empty."""
    for event_id in ids:
        rng = np.random.default_rng((seed, event_id))
        n = 0 if event_id == EMPTY else int(rng.integers(20, 60))
        voxel = (rng.integers(-1, 2, (n, 3)).cumsum(0) + 24).clip(0, 47).astype("u2")
        semantic = rng.integers(0, 2, n).astype("i1")
        energy = (0.3 + 2.0 * semantic).astype("f4")
        yield Sample(
            event_id=event_id,
            parts={"image3d": {"voxels": {"voxel": voxel, "energy_mev": energy}}},
            labels={"image3d": {"voxels": {"semantic": semantic}}},
        )


def store(path, samples, schema=SCHEMA):
    with StoreWriter(path, {"image3d": schema}, {"made_by": "a test"}) as writer:
        writer.write(pack(samples, {"image3d": schema}))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Event stores: ``train``, ``val``, ``test`` (with an empty event), and ``pre``, for pretraining."""
    folder = tmp_path_factory.mktemp("runs")
    for name, ids in (
        ("pre", range(300, 304)),
        ("train", range(4)),
        ("val", range(50, 52)),
        ("test", range(100, 110)),
    ):
        store(folder / f"{name}.h5", events(ids))
    return folder


@pytest.fixture(scope="module")
def runs(folder):
    """A pretrained run, and one with a head that begins with its weights; neither has learned anything."""

    def made(name, train_on, **sections):
        tree = {
            "name": name,
            "data": {
                "train": str(folder / f"{train_on}.h5"),
                "val": str(folder / "val.h5"),
                "parts": {"image3d": {"kind": "image3d", "voxel_width": 8, "point_width": 16}},
            },
            "train": {"steps": 0, "precision": "fp32", "warmup_steps": 0},
            "tracking": {"displays": 0, "uri": f"sqlite:///{folder}/mlflow.db"},
            **sections,
        }
        tree.setdefault("model", {})["backbone"] = {
            "name": "transformer",
            "d_model": 32,
            "n_layers": 2,
            "n_heads": 2,
        }
        resolved = from_dict(tree)
        run = create_run(folder, name, resolved.yaml(), sections.get("model", {}).get("of"))
        train(TrainRequest(recipe=resolved.recipe.model_dump(mode="json"), run_dir=str(run.path)))
        return run

    pre = made("pre", "pre", objective={"name": "masked", "decoder_layers": 1})
    task = {"name": "task", "head": {"name": "semantic", "width": 16}}
    begun = {"weights": str(pre.json()["checkpoint"])}
    return {"pre": pre, "task": made("task", "train", objective=task, model=begun)}


@pytest.fixture(scope="module")
def model(runs):
    return open_checkpoint(Path(runs["task"].json()["checkpoint"]))


@pytest.fixture
def hepfm(folder, monkeypatch):
    """Runs a command on the runs of the folder; what it printed, or the error that it raised."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def hepfm(*arguments, fails=None):
        command = list(map(str, arguments))
        done = CliRunner().invoke(app, command)
        if fails is not None:
            assert isinstance(done.exception, fails), done.output
            return str(done.exception)
        if done.exception:
            raise done.exception
        return done.stdout

    return hepfm


def making(runs, folder, data="test", of="task", **settings):
    checkpoint = runs[of].json()["checkpoint"]
    return Making(checkpoint=checkpoint, data=[str(folder / f"{data}.h5")], **settings)


def written(made, target, **settings):
    model, source = made.open()
    for unit in plan(made, model, source, target, **settings):
        write(unit)
    return StoreReader(target)


def test_predictions_stand_beside_their_events_and_give_the_figures(hepfm, runs, folder, tmp_path):
    said = json.loads(
        hepfm("predict", runs["task"].path, "--data", "test.h5", "--out", tmp_path / "out", "--workers", 0,
              "--carry", "labels", "--json")
    )  # fmt: skip
    assert (said["events"], said["written"]) == (10, 10)
    with StoreReader(tmp_path / "out") as reader:
        np.testing.assert_array_equal(reader.event_ids(), np.arange(100, 110))
        batch = reader.read(range(10))
        assert list(reader.check()) == []
        assert reader.provenance["weights_sha256"] == runs["task"].json()["weights_sha256"]
    voxels = batch.parts["predicted_image3d"]["voxels"]
    np.testing.assert_array_equal(voxels.offsets, batch.parts["image3d"]["voxels"].offsets)
    assert voxels.lengths[4] == 0, "an empty event has no rows"
    np.testing.assert_allclose(voxels.columns["probability"].sum(1), 1, rtol=1e-5)
    truth, called = batch.labels["image3d"]["voxels"].columns["semantic"], voxels.columns["semantic"]
    result = json.loads(hepfm("evaluate", runs["task"].path, "--data", "test.h5", "--json"))
    figure = result["figures"]["macro_f1"]
    assert figure["value"] == pytest.approx(f1_score(truth, called, average="macro"))
    assert figure["low"] <= figure["value"] <= figure["high"]
    assert result["figures"]["accuracy"]["value"] == pytest.approx((truth == called).mean())
    assert result["data"] | {"digest": "", "paths": []} == {
        "named": "test.h5", "digest": "", "paths": [], "events": 10, "counted": 9,
    }  # fmt: skip


def test_a_store_goes_on_with_the_same_bits_and_an_event_alone_has_the_same_prediction(
    runs, folder, tmp_path, model
):
    made = making(runs, folder)
    whole = written(made, tmp_path / "out", shard_events=4)
    bits = [path.read_bytes() for path in sorted((tmp_path / "out").glob("*.h5"))]
    (tmp_path / "out" / "00001.h5").unlink()
    written(made, tmp_path / "out", shard_events=4)
    assert [path.read_bytes() for path in sorted((tmp_path / "out").glob("*.h5"))] == bits
    alone = written(made, tmp_path / "alone", shard_events=1)
    one, other = (each.read(range(10)).parts["predicted_image3d"]["voxels"] for each in (whole, alone))
    np.testing.assert_allclose(one.columns["probability"], other.columns["probability"], atol=1e-5)
    tables = to_torch(made.open()[1].read(range(10))).parts["image3d"]
    units = {"image3d": model.modalities["image3d"].units(tables)}
    head = model.module.objective.head
    with torch.no_grad():
        by_hand = head.predict(head(model.encoder.features(units, needs=("points",), part="image3d")))
    wanted = by_hand["image3d"]["voxels"].columns["probability"].numpy()
    np.testing.assert_allclose(one.columns["probability"], wanted, atol=1e-5)
    np.testing.assert_array_equal(one.offsets, other.offsets)
    trained_more = replace(model, manifest={**model.manifest, "weights_sha256": "others"})
    with pytest.raises(DataError, match="another prediction: other weights_sha256"):
        plan(made, trained_more, made.open()[1], tmp_path / "out", shard_events=4)
    with pytest.raises(DataError, match="another prediction: other shard_events"):
        plan(made, *made.open(), tmp_path / "out", shard_events=2)
    opened, otherwise = made.open(), made.model_copy(update={"options": {"x": 1}})
    with pytest.raises(DataError, match="another prediction: other options"):
        plan(otherwise, *opened, tmp_path / "out", shard_events=4)
    with pytest.raises(DataError, match="another prediction: other carry"):
        plan(made.model_copy(update={"carry": "inputs"}), *made.open(), tmp_path / "out", shard_events=4)


@pytest.mark.slow
@pytest.mark.ray
def test_with_ray_come_the_same_bits(hepfm, runs, tmp_path):
    for name, workers in (("here", 0), ("ray", 2)):
        hepfm("predict", runs["task"].path, "--data", "test.h5", "--out", tmp_path / name, "--shard-events", 5,
              "--workers", workers)  # fmt: skip
    here, ray = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("here", "ray")
    )
    assert sorted(here) == ["00000.h5", "00001.h5", "predict.json"]
    assert here == ray


@pytest.mark.parametrize("read", ["pooled", "tokens", "points"])
def test_what_is_embedded_is_what_heads_read(runs, folder, tmp_path, read):
    made = making(
        runs, folder, of="pre", read=read, part="image3d" if read == "points" else "", layers=(1, 2)
    )
    found = written(made, tmp_path / "out").read(range(10))
    (table,) = found.parts["embedding"].values()
    opened, source = made.open()
    batch = source.read(range(10))
    lengths = {"pooled": np.ones(10), "points": batch.parts["image3d"]["voxels"].lengths}
    if read in lengths:
        np.testing.assert_array_equal(table.lengths, lengths[read])
    assert table.columns["features"].shape[1] == opened.encoder.width(read, "image3d", layers=(1, 2))
    if read == "pooled":
        assert not table["features"][4].any(), "zeros for an empty event"
        tokens = written(making(runs, folder, of="pre", read="tokens", layers=(1, 2)), tmp_path / "tokens")
        rows = tokens.read([2]).parts["embedding"]["tokens"].columns["features"]
        mean = np.concatenate((rows.mean(0), np.sqrt(rows.var(0) + 1e-6), rows.max(0)))
        np.testing.assert_allclose(table["features"][2][0], mean, atol=1e-5)


def test_a_pretrained_run_predicts_nothing_and_says_what_it_can(hepfm, runs):
    told = hepfm("evaluate", runs["pre"].path, "--data", "test.h5", fails=RecipeError)
    assert "hepfm embed" in told
    told = hepfm("predict", runs["pre"].path, "--data", "test.h5", "--out", "no", fails=RecipeError)
    assert "hepfm finetune" in told
    told = hepfm("evaluate", runs["task"].path, "--data", "test.h5", "--task", "vertex", fails=RecipeError)
    assert "its task is 'semantic'" in told
    told = hepfm("evaluate", runs["task"].path, "--data", "test.h5", "--device", "tpu", fails=RecipeError)
    assert "no device 'tpu'" in told


@pytest.mark.parametrize("data", ["train", "pre"])
def test_events_that_the_model_or_its_ancestor_was_trained_on_are_refused(
    hepfm, runs, folder, tmp_path, data
):
    assert "flatter" in hepfm("evaluate", runs["task"].path, "--data", f"{data}.h5", fails=DataError)
    with StoreReader(folder / f"{data}.h5") as reader:
        some = take(reader.read(range(len(reader))), [1])
    with StoreWriter(tmp_path / "some.h5", {"image3d": SCHEMA}, {}) as writer:
        writer.write(some)
        writer.write(pack(events(range(500, 503)), {"image3d": SCHEMA}))
    told = hepfm("evaluate", runs["task"].path, "--data", tmp_path / "some.h5", fails=DataError)
    assert f"{data}.h5, event 1 and {tmp_path / 'some.h5'}, event 0" in told
    done = hepfm("evaluate", runs["task"].path, "--data", tmp_path / "some.h5", "--allow-seen", "--json")
    assert "--allow-seen" in " ".join(json.loads(done)["doubts"])


def test_what_cannot_be_looked_at_is_said(model, tmp_path, monkeypatch):
    gone = {**model.about, "ancestors": [{"digest": "d", "seed": 1, "data": {
        **model.about["recipe"]["data"], "train": str(tmp_path / "gone.h5")}}]}  # fmt: skip
    told = []
    other = store(tmp_path / "other.h5", events(range(600, 603)))
    open_events(replace(model, about=gone), str(other), say=told.append)
    assert len(told) == 1
    assert "gone.h5 are not here" in told[0]


def test_events_without_labels_are_predicted_and_not_judged(hepfm, runs, tmp_path):
    bare = store(
        tmp_path / "bare.h5", events(range(4)), image3d_schema(voxels=COLUMNS[:2], grid=(48, 48, 48))
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


def test_events_that_do_not_fit_are_refused_or_doubted(model, runs, hepfm, tmp_path):
    def changed(name, schema, samples=None):
        return str(
            store(tmp_path / f"{name}.h5", events(range(700, 703)) if samples is None else samples, schema)
        )

    told = []
    open_events(
        model,
        changed("coarse", replace(SCHEMA, attributes={**SCHEMA.attributes, "voxel_mm": 5.0})),
        say=told.append,
    )
    assert told == ["not as in training: image3d.attributes.voxel_mm is 3.0 there, 5.0 here"]
    energy = replace(SCHEMA.tables["voxels"]["energy_mev"], unit="keV")
    other = replace(SCHEMA, tables={"voxels": {**SCHEMA.tables["voxels"], "energy_mev": energy}})
    with pytest.raises(DataError, match=r"energy_mev\.unit"):
        open_events(model, changed("kev", other))
    classes = SCHEMA.vocabularies[SCHEMA.tables["voxels"]["semantic"].vocabulary]
    swapped = [replace(one, name=two.name) for one, two in zip(classes, classes[::-1], strict=True)]
    names = replace(SCHEMA, vocabularies=dict.fromkeys(SCHEMA.vocabularies, tuple(swapped)))
    told = hepfm("evaluate", runs["task"].path, "--data", changed("swapped", names), fails=DataError)
    assert "mean something else" in told
    unknown = [replace(s, labels={"image3d": {"voxels": {"semantic": s.labels["image3d"]["voxels"]["semantic"] * 0 + 9}}})
               for s in events(range(800, 802))]  # fmt: skip
    told = hepfm(
        "evaluate", runs["task"].path, "--data", changed("unknown", SCHEMA, unknown), fails=DataError
    )
    assert "No event has a label" in told
    broken = list(events(range(900, 903)))
    broken[1].parts["image3d"]["voxels"]["energy_mev"][3] = np.nan
    data = changed("broken", SCHEMA, broken)
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
    hepfm("register", run.path, "my-model")
    (version,) = client.search_model_versions("name = 'my-model'")
    assert version.run_id == run.json()["run_id"]
    (card,) = run.path.glob("models/my-model-*/card.md")
    assert version.description == card.read_text()
    text = card.read_text()
    assert f"| macro_f1 | {figure['value']:.4g} | {figure['low']:.4g} to {figure['high']:.4g} |" in text
    assert str(folder / "pre.h5") in text, "what the weights were trained on before"
    sent = artifacts / version.run_id / "artifacts" / "models" / card.parent.name
    assert (sent / "model.safetensors").read_bytes() == (card.parent / "model.safetensors").read_bytes()


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


def test_a_curve_holds_back_no_arm_and_is_a_child_run(hepfm, runs, folder):
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
    result = json.loads(hepfm(*command, *sets, "--test", "test.h5").splitlines()[-1])
    assert list(result["curves"]) == ["pretrained-1", "scratch-1"]
    for point, mode in (("pretrained-1-n2-s1", "frozen"), ("scratch-1-n2-s1", "full")):
        trained = open_checkpoint(Path(json.loads(
            (run.evaluations / "fewshot-semantic" / "points" / f"{point}.json").read_text())["checkpoint"]))  # fmt: skip
        assert trained.recipe.model.adapt.mode == mode
    (child,) = children(folder, run.evaluations.glob("fewshot-semantic-*"))
    gain = result["gain"]["1"][0]["figures"]["macro_f1"]["value"]
    assert child.data.metrics["gain-1/macro_f1"] == pytest.approx(gain)
    assert child.data.tags["mlflow.parentRunId"] == run.json()["run_id"]
    files = {path.name for path in (folder / "mlartifacts" / child.info.run_id / "artifacts").iterdir()}
    assert files >= {"figures.json", "curve.png", "curve.html"}


def test_a_single_event_has_no_interval_and_part_of_the_validation_is_doubted(hepfm, runs, tmp_path):
    one = store(tmp_path / "one.h5", events([400]))
    result = json.loads(hepfm("evaluate", runs["task"].path, "--data", one, "--json"))
    assert set(result["figures"]["accuracy"]) == {"value"}
    some = store(tmp_path / "some.h5", events([51, 401, 402]))
    result = json.loads(hepfm("evaluate", runs["task"].path, "--data", some, "--json"))
    assert [each for each in result["doubts"] if "some are the run's validation events" in each]


def test_names_that_cannot_be_used_are_refused(hepfm, runs):
    assert "registered model's name" in hepfm("register", runs["pre"].path, "../x", fails=HepfmError)
