"""What runs predict and make of events, written as event stores."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from hepfm.data.tensors import to_torch
from hepfm.errors import DataError
from hepfm.evaluation.writing import Making, plan, write
from hepfm.readers.store import StoreReader

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)


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


@pytest.mark.parametrize("command", ["predict", "embed"])
def test_the_first_events_are_written_and_another_number_is_another_set(hepfm, runs, tmp_path, command):
    words = (command, runs["task"].path, "--data", "test.h5", "--workers", 0)
    hepfm(*words, "--out", tmp_path / "all")
    hepfm(*words, "--out", tmp_path / "some", "--events", 3)
    with StoreReader(tmp_path / "some") as some, StoreReader(tmp_path / "all") as whole:
        np.testing.assert_array_equal(some.event_ids(), np.arange(100, 103))
        (part,) = some.parts
        one, other = (each.read(range(3)).parts[part] for each in (some, whole))
    for table in one:
        for column, values in one[table].columns.items():
            np.testing.assert_allclose(values, other[table].columns[column], atol=1e-5)
    assert "nothing to do" in hepfm(*words, "--out", tmp_path / "some", "--events", 3)
    for changed in ((), ("--events", 4)):
        told = hepfm(*words, "--out", tmp_path / "some", *changed, fails=DataError)
        assert "other data_digest, events" in told


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
