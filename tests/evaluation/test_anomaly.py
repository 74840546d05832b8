"""Scores of strange events: against distances worked out otherwise, and as the command writes them."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf

from hepfm.api import Column, PartSchema, Sample
from hepfm.data.tensors import to_torch
from hepfm.errors import DataError, RecipeError
from hepfm.evaluation.anomaly import Seen, Usual, judge, p_values
from hepfm.evaluation.events import open_events
from hepfm.evaluation.losses import figures_of, losses, losses_of, mean_loss, predictions
from hepfm.readers.pack import pack
from hepfm.readers.store import StoreWriter
from hepfm.recipe.load import from_dict
from hepfm.tracking.evaluations import results_of
from hepfm.tracking.runs import create_run
from hepfm.training.pretrained import open_checkpoint
from hepfm.training.ranks import join
from hepfm.training.request import TrainRequest
from hepfm.training.validate import validate
from hepfm.training.worker import train
from hepfm_image3d.schema import image3d_schema

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)
SCHEMA = image3d_schema(voxels=("voxel", "energy_mev"), grid=(48, 48, 48))
PARTS = {"near": SCHEMA, "far": SCHEMA}
EMPTY, ONE_SIDED = 204, 207


def seen(n, rng, width=4, first=0):
    """Normal features whose axes lean on one another; an error that grows with the size."""
    units = rng.integers(20, 2000, n)
    error = 1 + 0.3 * np.log(units) + 0.1 * rng.normal(size=n)
    lean = np.tril(np.full((width, width), 0.5)) + np.eye(width)
    ids = np.arange(first, first + n).astype(np.uint64)
    return Seen(event_ids=ids, features=rng.normal(size=(n, width)) @ lean.T, units=units, error=error), lean


def test_distances_are_those_of_their_definitions():
    rng = np.random.default_rng(1)
    reference, lean = seen(4000, rng)
    constant = np.full((4000, 1), 7.0)
    usual = Usual(replace(reference, features=np.concatenate((reference.features, constant), 1)))
    others, _ = seen(50, rng, first=10_000)
    found = usual.scores(replace(others, features=np.concatenate((others.features, constant[:50]), 1)))
    exact = np.sqrt(np.square(others.features @ np.linalg.inv(lean).T).sum(1))
    np.testing.assert_allclose(found["gaussian"], exact, rtol=0.08)  # 4,000 events tell it to some per cent
    spread = reference.features.std(0)
    fitted = LedoitWolf().fit(reference.features / spread)
    np.testing.assert_allclose(found["gaussian"], np.sqrt(fitted.mahalanobis(others.features / spread)))
    away = others.features[:, None] / spread - reference.features / spread
    tenth = np.sort(np.sqrt(np.square(away).sum(2)), 1)[:, 9]
    np.testing.assert_allclose(found["knn"], tenth, rtol=1e-6)
    away = np.abs(np.log(others.units) - np.median(np.log(reference.units)))
    np.testing.assert_allclose(found["size"], away)
    own = Usual(reference).scores(reference)["knn"][:30]
    away = reference.features[:30, None] / spread - reference.features / spread
    np.testing.assert_allclose(own, np.sort(np.sqrt(np.square(away).sum(2)), 1)[:, 10], rtol=1e-6)


def test_an_error_is_compared_with_that_of_events_of_its_size():
    rng = np.random.default_rng(2)
    reference, _ = seen(4000, rng)
    usual = Usual(reference)
    units = np.array([60, 60, 1500])
    expected = 1 + 0.3 * np.log(units)
    odd = Seen(
        event_ids=np.arange(3).astype(np.uint64) + 9000,
        features=np.zeros((3, 4)),
        units=units,
        error=np.array([expected[0] + 0.5, expected[2], expected[2]]),
    )
    score = usual.scores(odd)["error"]
    assert score[0] == pytest.approx(5, abs=1.0), "five standard deviations"
    assert score[1] > 7, "for a large event it were usual, for a small one it is not"
    assert abs(score[2]) < 0.6
    ordinary, _ = seen(3000, rng, first=20_000)
    usually = usual.scores(ordinary)["error"]
    assert abs(np.median(usually)) < 0.1
    assert usually.std() == pytest.approx(1, abs=0.12)
    assert abs(np.corrcoef(usually, np.log(ordinary.units))[0, 1]) < 0.06


def test_p_values_of_ordinary_events_are_even_and_strange_ones_are_rare():
    ordinary = np.array([0.0, 1.0, 2.0, np.nan])
    np.testing.assert_allclose(p_values(np.array([-1, 1, 2.5, np.nan]), ordinary), [1, 0.75, 0.25, np.nan])
    rng = np.random.default_rng(3)
    usual, (against, _), (same, _) = (
        Usual(seen(500, rng)[0]),
        seen(400, rng, first=1000),
        seen(400, rng, first=2000),
    )
    strange = replace(same, features=same.features + 6, event_ids=same.event_ids + np.uint64(5000))
    for events, low, high in ((same, 0.4, 0.6), (strange, 0.98, 1.0)):
        judged = judge(usual, events, against, level=0.68, draws=50)
        for score in ("gaussian", "knn"):
            assert low <= judged.evaluated.figures[f"auc/{score}"] <= high
            assert judged.p[score].mean() == pytest.approx(
                1 - judged.evaluated.figures[f"auc/{score}"], abs=0.01
            )
    assert abs(judged.evaluated.figures["auc/size"] - 0.5) < 0.1
    assert set(judged.evaluated.intervals) == set(judged.evaluated.figures)
    one = replace(
        same, **{name: getattr(same, name)[:1] for name in ("event_ids", "features", "units", "error")}
    )
    assert judge(usual, one, against, level=0.68, draws=50).evaluated.intervals == {}
    with pytest.raises(DataError, match="p-value could be below 1"):
        judge(usual, same, replace(against, units=against.units * 0), level=0.68, draws=50)
    with pytest.raises(DataError, match="All events are empty"):
        judge(usual, replace(same, units=same.units * 0), against, level=0.68, draws=50)
    with pytest.raises(DataError, match="0 reference events"):
        Usual(replace(same, units=same.units * 0))


def test_features_that_are_all_the_same_say_nothing_and_unknown_ones_are_refused(tmp_path):
    rng = np.random.default_rng(4)
    reference, others = seen(60, rng)[0], seen(30, rng, first=1000)[0]
    usual = Usual(replace(reference, features=np.full((60, 4), 0.5)))
    assert set(usual.scores(replace(others, features=np.zeros((30, 4))))) == {"error", "size"}
    assert usual.doubts() == [
        "there are no scores 'gaussian' and 'knn': all features are the same for all reference events"
    ]
    reference.features[:, 2] = 7
    assert Usual(reference).doubts() == [
        "1 of 4 features are the same for all reference events and are left out"
    ]

    def written(name, features):
        columns = {"features": Column(dtype="float32", shape=(2,)), "units": Column(dtype="int64"),
                   "error": Column(dtype="float64"), "predicted": Column(dtype="int64")}  # fmt: skip
        parts = {"scored": PartSchema(kind="scored", primary="events", tables={"events": columns})}
        rows = ({"features": np.array([each], "f4"), "units": np.array([units]), "error": np.array([np.nan]),
                 "predicted": np.array([units])} for each, units in features)  # fmt: skip
        many = [Sample(event_id=40 + i, parts={"scored": {"events": row}}) for i, row in enumerate(rows)]
        (tmp_path / name).mkdir()
        with StoreWriter(tmp_path / name / "a.h5", parts, {}) as writer:
            writer.write(pack(many, parts))
        return Seen.read(tmp_path / name)

    empty = written("empty", [([1, 2], 5), ([np.nan, 0], 0)])
    assert np.isnan(empty.error).all(), "a loss that is not a number is not known"
    with pytest.raises(DataError, match=r"(?s)of 1 of 3 events are not finite.*bad, event 0x0*29\n"):
        written("bad", [([1, 2], 5), ([1, np.inf], 2), ([np.nan, 0], 0)])


def events(ids, scale=1.0):
    """Walks; a far side that is like the near one."""
    for event_id in ids:
        rng = np.random.default_rng(event_id)
        n = 0 if event_id == EMPTY else int(rng.integers(20, 60))
        voxel = (rng.integers(-1, 2, (n, 3)).cumsum(0) + 24).clip(0, 47).astype("u2")
        energy = (scale * rng.uniform(0.3, 3, n)).astype("f4")
        near = {"voxels": {"voxel": voxel, "energy_mev": energy}}
        far = {"voxels": {"voxel": voxel[::-1], "energy_mev": energy * np.float32(2)}}
        yield Sample(
            event_id=event_id, parts={"near": near} | ({} if event_id == ONE_SIDED else {"far": far})
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, ids, scale in (
        ("train", range(30), 1), ("val", range(100, 125), 1), ("test", range(200, 212), 1),
        ("hot", range(200, 212), 4), ("one", [201], 1), ("few", range(300, 304), 1), ("none", [EMPTY], 1),
    ):  # fmt: skip
        with StoreWriter(folder / f"{name}.h5", PARTS, {}) as writer:
            writer.write(pack(events(ids, scale), PARTS))
    return folder


@pytest.fixture(scope="module")
def runs(folder):
    """Two pretrained runs that have hardly learned: ``masked`` of one part, ``contrastive`` of two."""

    def made(name, parts, **objective):
        kind = {"kind": "image3d", "voxel_width": 8, "point_width": 16}
        tree = {
            "name": name,
            "data": {"train": str(folder / "train.h5"), "val": str(folder / "val.h5"),
                     "parts": dict.fromkeys(parts, kind)},
            "model": {"backbone": {"name": "transformer", "d_model": 32, "n_layers": 2, "n_heads": 2}},
            "objective": {"name": name, **objective},
            "train": {"steps": 1, "precision": "fp32", "warmup_steps": 0},
            "tracking": {"displays": 0, "uri": f"sqlite:///{folder}/mlflow.db"},
        }  # fmt: skip
        resolved = from_dict(tree)
        run = create_run(folder, name, resolved.yaml(), None)
        train(TrainRequest(recipe=resolved.recipe.model_dump(mode="json"), run_dir=str(run.path)))
        return run

    return {
        "masked": made("masked", ["near"], decoder_layers=1),
        "contrastive": made("contrastive", ["near", "far"], group_events=4, width=8),
    }


def rows_of(path):
    with Path(path).open(newline="") as file:
        return {int(row["event_id"], 16): row for row in csv.DictReader(file)}


def test_scores_are_written_and_do_not_depend_on_what_else_is_scored(hepfm, runs, tmp_path):
    command = ("anomaly", runs["masked"].path, "--workers", 0, "--out", tmp_path / "a", "--draws", 20)
    result = json.loads(hepfm(*command, "--data", "hot.h5", "--json").splitlines()[-1])
    text = (tmp_path / "a" / "hot.csv").read_bytes()
    rows = rows_of(result["scores"])
    assert set(rows) == set(range(200, 212))
    assert rows[EMPTY]["p_gaussian"] == rows[EMPTY]["error"] == ""
    assert rows[201]["place"].endswith("hot.h5, event 1")
    p = np.array([float(row["p_knn"]) for event_id, row in rows.items() if event_id != EMPTY])
    np.testing.assert_allclose(p * 26, np.round(p * 26), atol=1e-3, err_msg="of 25 ordinary events")
    assert results_of(runs["masked"])[-1]["figures"] == result["figures"]
    assert set(result["figures"]) == {
        f"{a}/{b}" for a in ("auc", "rare") for b in ("error", "gaussian", "knn", "size")
    }
    assert result["data"]["counted"] == 11
    assert any("30 reference events are fewer than the 96 features" in each for each in result["doubts"])
    # One that was stopped goes on, and other events are scored beside it.
    next((tmp_path / "a" / "hot").glob("*.h5")).unlink()
    hepfm(*command, "--data", "hot.h5")
    assert (tmp_path / "a" / "hot.csv").read_bytes() == text
    hepfm(*command, "--data", "test.h5")
    assert "complete, nothing to do" in hepfm(*command, "--data", "one.h5")
    alone, many = rows_of(tmp_path / "a" / "one.csv")[201], rows_of(tmp_path / "a" / "test.csv")[201]
    for name in ("error", "gaussian", "knn", "size"):
        assert float(alone[name]) == pytest.approx(float(many[name]), abs=1e-3)


def test_the_first_events_are_scored_against_all_others(hepfm, runs, tmp_path):
    command = ("anomaly", runs["masked"].path, "--workers", 0, "--out", tmp_path / "f", "--draws", 20)
    few = json.loads(hepfm(*command, "--data", "hot.h5", "--events", 3, "--json").splitlines()[-1])
    assert set(rows_of(few["scores"])) == {200, 201, 202}
    assert few["data"]["named"] == "hot.h5 (the first 3 of 12)"
    assert (few["reference"]["events"], few["against"]["events"]) == (30, 25)
    more = json.loads(hepfm(*command, "--data", "hot.h5", "--events", 4, "--json").splitlines()[-1])
    assert Path(more["scores"]).name == "hot-first-4.csv"
    first = ("--events", 5, "--name", "hot-first-4")
    told = hepfm(*command, "--data", "hot.h5", *first, fails=DataError)
    assert "another scoring: other data_digest, events" in told


def test_bad_input_is_told(hepfm, runs, tmp_path):
    command = ("anomaly", runs["masked"].path, "--workers", 0, "--out", tmp_path / "b", "--data", "test.h5")
    told = hepfm(*command, "--against", "train.h5", fails=DataError)
    assert "Ordinary events are reference events too" in told
    assert "trained on" in hepfm(*command, "--reference", "val.h5", "--against", "train.h5", fails=DataError)
    assert "4 reference events are not empty" in hepfm(*command, "--reference", "few.h5", fails=DataError)
    assert "--name" in hepfm(*command, "--name", "against", fails=RecipeError)
    assert "There is no layer 9" in hepfm(*command, "--layers", "1,9", fails=RecipeError)
    told = json.loads(hepfm(*command[:-1], "train.h5", "--out", tmp_path / "c", "--json").splitlines()[-1])
    assert any("are reference events" in each for each in told["doubts"])
    told = hepfm(*command[:-1], "none.h5", "--out", tmp_path / "d", fails=DataError)
    assert "All events are empty" in told
    done = json.loads(
        hepfm("anomaly", runs["contrastive"].path, "--workers", 0, "--out", tmp_path / "e", "--data", "test.h5",
              "--json").splitlines()[-1]
    )  # fmt: skip
    assert "auc/error" not in done["figures"]
    assert any("hides nothing of single events" in each for each in done["doubts"])


def test_a_masked_pretraining_is_judged_as_it_was_validated(hepfm, runs, folder):
    result = json.loads(hepfm("evaluate", runs["masked"].path, "--json"))
    assert result["data"]["named"] == "the run's data.val"
    said, figures = runs["masked"].json(), result["figures"]
    assert result["task"] == "masked"
    assert figures["loss"]["value"] == pytest.approx(said["val_loss"], rel=1e-5)
    assert figures["nothing"]["value"] == pytest.approx(said["val_loss_baseline"], rel=1e-5)
    assert figures["loss"]["low"] < figures["loss"]["value"] < figures["loss"]["high"]
    model = open_checkpoint(Path(said["checkpoint"]))
    source = open_events(model, str(folder / "val.h5"))
    batch = to_torch(source.read(range(25)))
    hits = chosen = hidden = 0
    mev = [0.0, 0.0]
    with torch.no_grad():
        from hepfm.training.validate import validation_plan

        plan = validation_plan(model.module, batch, model.recipe.seed, torch.device("cpu"))
        made = model.module.objective.reconstruct(model.encoder, plan)["near"]
    for event in range(25):
        voxels = [
            set(map(tuple, table["voxels"]["voxel"][event].tolist()))
            for table in (made.predicted, made.hidden)
        ]
        hits, chosen, hidden = (
            hits + len(voxels[0] & voxels[1]),
            chosen + len(voxels[0]),
            hidden + len(voxels[1]),
        )
    for side, table in enumerate((made.predicted, made.hidden)):
        mev[side] = float(table["voxels"].columns["energy_mev"].double().sum())
    assert figures["precision/near"]["value"] == pytest.approx(hits / chosen, abs=0.02)
    assert figures["recall/near"]["value"] == pytest.approx(hits / hidden, abs=0.02)
    assert figures["energy_ratio/near"]["value"] == pytest.approx(mev[0] / mev[1], rel=0.02)
    once, twice = (losses(model, batch, masks=masks)["near/occupancy"] for masks in (1, 2))
    assert (twice[:, 2] == 2 * once[:, 2]).all(), "as much of each event is hidden, in another place"
    assert not np.allclose(twice[:, 0], 2 * once[:, 0], rtol=1e-6)


def test_what_has_no_weight_gives_no_loss(runs, folder):
    """A loss of 0 would be the best of all."""
    model = open_checkpoint(Path(runs["masked"].json()["checkpoint"]))
    source, objective = open_events(model, str(folder / "one.h5")), model.module.objective
    found = losses_of(model, source)
    sums = {name: values.sum(0) for name, values in found.items()}
    with_loss = figures_of(model)(sums)
    objective.config = objective.config.model_copy(update={"weights": {"near": 0.0}})
    of_whole = {"loss", "nothing", "explained"}
    assert figures_of(model)(sums) == {k: v for k, v in with_loss.items() if k not in of_whole}
    assert of_whole < with_loss.keys()
    assert np.isnan(mean_loss(objective.weights, found)).all()
    assert not predictions(objective.weights, found).any()
    validated = validate(
        model.module, [to_torch(source.read([0], labels=False))], model.recipe.seed, join(60.0)
    )
    assert (set(validated.terms), np.isnan(validated.loss)) == (set(objective.weights), True)


def test_what_belongs_together_is_found_as_in_validation(hepfm, runs):
    run = runs["contrastive"]
    command = ("evaluate", run.path, "--json", "--data")
    figures = {k: v["value"] for k, v in json.loads(hepfm(*command, "val.h5"))["figures"].items()}
    lines = [json.loads(line)["metrics"] for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    (validated,) = [line for line in lines if "val/top1" in line]
    assert figures["top1"] == pytest.approx(validated["val/top1"])
    assert figures["chance"] == pytest.approx(validated["val/chance"])
    assert figures["top1"] == pytest.approx((figures["top1/from_near"] + figures["top1/from_far"]) / 2)
    assert figures["top1"] <= figures["mrr"] <= 1
    assert figures["total_top1"] > 0.9, "there is twice as much far as near"
    done = json.loads(hepfm(*command, "test.h5", "--candidates", 12))
    assert done["data"]["counted"] == 10, "one is empty, and one has one side"
    assert done["figures"]["candidates"]["value"] == 10
    done = json.loads(hepfm(*command, "test.h5", "--candidates", 8))["figures"]
    assert done["candidates"]["value"] == pytest.approx((6 * 6 + 4 * 4) / 10)
    assert done["chance"]["value"] == pytest.approx(2 / 10), "one of each group: of 6, and of 4"
    told = hepfm("evaluate", runs["masked"].path, "--data", "val.h5", "--candidates", 4, fails=RecipeError)
    assert "finds no event among others" in told
    assert "no two events" in hepfm(*command, "one.h5", fails=DataError).lower()
