"""Probes of a small model on the shipped events: the right rows, the right events, and refusals that say why."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from hepfm.data.batches import batches
from hepfm.data.source import open_source
from hepfm.errors import DataError, RecipeError
from hepfm.evaluation.checks import check_labels
from hepfm.evaluation.frozen import Split, drawn_rows, freeze, labels_of, read_out, sample
from hepfm.evaluation.probe import initial, one_probe, plain, probe, refuse_told
from hepfm.evaluation.protocols import PROTOCOLS, _classes_of_tokens
from hepfm.evaluation.splits import open_splits
from hepfm.metrics.bootstrap import sums
from hepfm.readers.layout import half
from hepfm.recipe.load import from_dict
from hepfm.training.model import build
from hepfm.training.pretrained import Pretrained

HEAD = {"name": "semantic", "width": 0}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """As of a checkpoint, with initial weights."""
    tree = {
        "name": "small",
        "data": {
            "train": "sample:train",
            "val": "sample:val",
            "parts": {"image3d": {"kind": "image3d", "voxel_width": 8, "point_width": 16}},
        },
        "model": {"backbone": {"name": "transformer", "d_model": 16, "n_layers": 2, "n_heads": 2}},
        "objective": {"name": "masked", "decoder_layers": 1, "decoder_heads": 2},
    }
    recipe = from_dict(tree).recipe
    source = open_source("sample:train", parts=recipe.data.parts)
    about = {"recipe": recipe.model_dump(mode="json"), "data_digests": {"train": source.digest}}
    about |= {"precision": "fp32", "pretrain": {}}
    return Pretrained(
        folder=tmp_path_factory.mktemp("checkpoint"),
        about=about,
        manifest={"step": 3, "weights_sha256": "0"},
        recipe=recipe,
        parts=source.parts,
        module=build(recipe, source.modalities, "fp32").eval(),
    )


@pytest.fixture(scope="module")
def opened(model):
    return open_splits(model)


@pytest.fixture(scope="module")
def frozen(model, opened):
    return freeze(model, HEAD, opened.train.modalities)


def few(opened, count, first=0):
    return Split(source=opened.train, indices=np.arange(first, first + count))


def test_rows_are_those_of_events_whatever_their_order(frozen, opened):
    split = few(opened, 6)
    keep = drawn_rows(frozen, split, rows=500, per_class=None, seed=1, purpose="train")
    assert keep.sum() == 500
    more = drawn_rows(frozen, split, rows=900, per_class=None, seed=1, purpose="train")
    assert more[keep].all()
    other = drawn_rows(frozen, split, rows=500, per_class=None, seed=2, purpose="train")
    assert (keep & other).sum() < 250
    drawn = sample(frozen, split, rows=500, seed=1, purpose="train")
    features = [frozen.features(batch).values.numpy() for batch in batches(opened.train, indices=range(6))]
    labels = [targets.values.numpy() for _, targets in labels_of(frozen, split)]
    np.testing.assert_array_equal(drawn.x, np.concatenate(features)[keep])
    np.testing.assert_array_equal(drawn.y, np.concatenate(labels)[keep])
    assert drawn.x.dtype == np.float32
    capped = sample(frozen, split, rows=10**9, per_class=40, seed=1, purpose="train")
    there = np.bincount(np.concatenate(labels), minlength=5)
    np.testing.assert_array_equal(np.bincount(capped.y, minlength=5), there.clip(max=40))


def test_every_labelled_voxel_of_the_test_is_judged_and_choices_do_not_see_them(frozen, opened, monkeypatch):
    splits = opened.of(6, seed=1, test_events=3)
    assert len(splits.val.indices) == 1
    assert len(splits.train.indices) == 5
    fitted, statistics = one_probe(frozen, splits, kind="linear", rows=2000, seed=1)
    labels = [targets.values.numpy() for _, targets in labels_of(frozen, splits.test)]
    truth = np.bincount(np.concatenate(labels), minlength=5)
    np.testing.assert_array_equal(sums(statistics)["confusion"].sum(1), truth)
    assert statistics["confusion"].shape == (3, 5, 5)
    # By hand: the predictions of all test events at once, and their macro F1.
    x = np.concatenate([frozen.features(batch).values.numpy() for batch, _ in labels_of(frozen, splits.test)])
    found = fitted.outputs(x).argmax(1)
    table = np.zeros((5, 5))
    np.add.at(table, (np.concatenate(labels), found), 1)
    np.testing.assert_array_equal(sums(statistics)["confusion"], table)
    # What is chosen does not change with the test events' labels.
    ids = [set(split.ids().tolist()) for split in (splits.train, splits.val, splits.test)]
    assert not ids[0] & ids[1]
    assert not ids[0] & ids[2]
    assert not ids[1] & ids[2]


def test_a_probe_tells_what_was_learned_from_what_was_not(model, opened):
    made = probe(model, HEAD, opened, plain("linear", 2000), events=6, seeds=(1, 2), untrained=True)
    # The weights of the model are the initial ones: nothing was learned, and seeds differ by their events.
    for trained, untrained in zip(made.statistics["pretrained"], made.statistics["untrained"], strict=True):
        np.testing.assert_array_equal(trained["confusion"], untrained["confusion"])
    assert made.layers == (2,) == read_out(2)
    assert (read_out(1), read_out(5), read_out(12)) == ((1,), (2, 4, 5), (2, 7, 12))
    assert not np.array_equal(made.splits[0].train.ids(), made.splits[1].train.ids())
    judged = [opened.of(6, seed=seed, test_events=4).test.ids() for seed in (1, 2)]
    np.testing.assert_array_equal(*judged)  # the intervals are of seeds on the same events
    one, other = initial(model), model.encoder
    assert one is not other
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(tensor, other.state_dict()[name], rtol=0, atol=0)


def test_tokens_know_the_classes_of_the_voxels_in_them(model, frozen, opened):
    batch = next(iter(batches(opened.train, indices=range(3))))
    x, classes, offsets = _classes_of_tokens(frozen, batch)
    side = model.modalities["image3d"].config.cell_voxels
    voxel = batch.parts["image3d"]["voxels"].columns["voxel"].numpy().astype(int)
    label = frozen.head.targets(batch).values.numpy()
    event = np.repeat(np.arange(3), batch.parts["image3d"]["voxels"].lengths)
    cells = {}
    for key, c in zip(np.c_[event, voxel // side].tolist(), label.tolist(), strict=True):
        cells.setdefault(tuple(key), set()).add(c)
    wanted = [[c in cells[key] for c in range(4)] for key in sorted(cells)]  # without LED, the fifth
    np.testing.assert_array_equal(classes, wanted)
    assert len(x) == len(cells) == offsets[-1]


@pytest.mark.parametrize("name", ["polar-mae-svm", "bnl-svm"])
def test_protocols_judge_what_they_draw(model, opened, name):
    protocol = PROTOCOLS[name]
    made = (
        probe(model, HEAD, opened, protocol, events=12, seeds=(1,)) if protocol.test_events is None else None
    )
    if made is None:
        splits = opened.of(12, seed=1, test_events=4)
        frozen = freeze(model, HEAD, opened.train.modalities)
        statistics, told = protocol.run(frozen, splits, 1)
        figures = protocol.figures(frozen)(sums(statistics))
        labels = np.concatenate([t.values.numpy() for _, t in labels_of(frozen, splits.test)])
        there = np.bincount(labels, minlength=5)
        np.testing.assert_array_equal(sums(statistics)["confusion"].sum(1), there.clip(max=1000))
        assert told["rows"] <= 5 * 4000
    else:
        (statistics,) = made.statistics["pretrained"]
        figures = made.figures(sums(statistics))
        assert made.layers == (2,)
        assert statistics["hits"].shape == (32, 4, 3)
        assert "f1/LED" not in figures
    f1 = [value for key, value in figures.items() if key.startswith("f1/")]
    assert figures["macro_f1"] == pytest.approx(np.mean(f1))
    assert 0.05 < figures["macro_f1"] < 0.95


def test_an_event_in_two_splits_is_refused(model):
    with pytest.raises(DataError, match="validation events are training events too") as error:
        open_splits(model, val=["sample:train"]).of(None, seed=1)
    assert "event 0" in error.value.where
    with pytest.raises(DataError, match="trained on"):
        open_splits(model, test="sample:train")
    with pytest.raises(DataError, match="test events are training events too"):
        open_splits(model, train="sample:val").of(None, seed=1)


def test_other_columns_may_be_missing_and_other_classes_are_refused(model, events, store, schema, tmp_path):
    path = store(tmp_path / "few.h5", events(range(3)), schema)  # no times, no groups
    opened = open_splits(model, test=str(path))
    assert len(opened.of(None, seed=1).test.indices) == 3
    learned = freeze(model, HEAD, opened.train.modalities).task
    check_labels(learned, model.encoder, opened.test, where="few.h5")
    classes = schema.vocabularies["semantic"]
    other = replace(schema, vocabularies={"semantic": (replace(classes[0], name="muon"), *classes[1:])})
    path = store(tmp_path / "others.h5", events(range(3)), other)
    with pytest.raises(DataError, match="mean something else") as refused:
        probe(model, HEAD, open_splits(model, test=str(path)), plain("linear"))
    assert "semantic" in refused.value.where
    bare = half(schema, label=False)
    unlabelled = (replace(each, labels={}) for each in events(range(3)))
    path = store(tmp_path / "bare.h5", unlabelled, replace(bare, vocabularies={}))
    with pytest.raises(DataError, match="cannot be compared with what the head"):
        probe(model, HEAD, open_splits(model, test=str(path)), plain("linear"))


def test_too_few_events_are_refused(opened):
    with pytest.raises(DataError, match="128 events to train on, fewer than the 500"):
        opened.of(500, seed=1)
    with pytest.raises(DataError, match="One training event"):
        opened.of(1, seed=1)


def test_a_class_that_no_training_event_has_is_named(frozen, opened):
    at = [
        i
        for i in range(128)
        if not any((t.values == 2).any() for _, t in labels_of(frozen, few(opened, 1, i)))
    ]
    splits = opened.of(6, seed=1)
    without = Split(source=opened.train, indices=np.array(at[:12]))
    splits = type(splits)(train=without, val=splits.val, test=splits.test, told={})
    with pytest.raises(DataError, match="No training event has a row of the class Michel"):
        one_probe(frozen, splits, kind="linear", rows=2000, seed=1)
    _, statistics = one_probe(frozen, splits, kind="linear", rows=2000, seed=1, absent="miss")
    assert sums(statistics)["confusion"][:, 2].sum() == 0  # never said, and missed in the figures
    assert sums(statistics)["confusion"][2].sum() > 0


def test_features_that_are_not_finite_name_the_event(model, opened):
    broken = initial(model)
    with torch.no_grad():
        next(iter(broken.backbone.parameters())).fill_(float("nan"))
    frozen = freeze(model, HEAD, opened.train.modalities, encoder=broken)
    event_id = f"{opened.train.event_ids()[0]:#018x}"
    with pytest.raises(DataError, match="NaN or infinite") as error:
        frozen.features(next(batches(opened.train, indices=[0])))
    assert event_id in error.value.where


def test_what_cannot_be_probed_says_why(model, opened):
    modalities = opened.train.modalities
    with pytest.raises(RecipeError, match="There is no layer 3"):
        freeze(model, HEAD, modalities, layers=(1, 3))
    with pytest.raises(DataError, match="no labels 'pidd'"):
        freeze(model, {"name": "semantic", "label": "pidd"}, modalities)
    told = {"saw_truth": True}
    shown = Pretrained(**{**model.__dict__, "about": {**model.about, "pretrain": told}})
    with pytest.raises(RecipeError, match="shown the truth"):
        refuse_told(shown, allow=False)
    assert refuse_told(shown, allow=True) == "truth"
    assert json.dumps(refuse_told(model, allow=False)) == '""'
