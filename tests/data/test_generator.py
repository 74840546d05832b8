"""Events of a generator: what the core makes of them, wherever they are made."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from hepfm.api import Column, PartSchema, Sample
from hepfm.data.generator import GeneratedEvents
from hepfm.errors import DataError, PluginError, RecipeError
from hepfm.random import stable_id
from hepfm.readers.hilbert import hilbert_index

pytestmark = pytest.mark.usefixtures("tracks_plugin")
GRID = {"grid": 24}


def tracks(options=GRID, *, seed=3, parts=None):
    return GeneratedEvents("tracks", options, seed=seed, parts=parts)


def test_events_are_those_of_the_generator_in_hilbert_order():
    from hepfm_tracks.generator import Tracks

    batch = tracks().read([4, 1])
    for row, index in enumerate((4, 1)):
        made = Tracks(Tracks.Config(**GRID), seed=3).event(index)
        voxels, semantic = made.parts["image3d"]["voxels"], made.labels["image3d"]["voxels"]["semantic"]
        order = np.argsort(hilbert_index(voxels["voxel"]), kind="stable")
        found = batch.event(row)
        for name, values in voxels.items():
            np.testing.assert_array_equal(found.parts["image3d"]["voxels"][name], values[order])
        np.testing.assert_array_equal(found.labels["image3d"]["voxels"]["semantic"], semantic[order])
        np.testing.assert_array_equal(
            found.parts["muons"]["muons"]["start_mm"], made.parts["muons"]["muons"]["start_mm"]
        )


def test_ids_depend_on_generator_configuration_seed_and_index_alone():
    source = tracks()
    ids = source.read(range(6)).event_ids.view(np.uint64).tolist()
    assert ids == [stable_id(source.digest, 3, index) for index in range(6)]
    assert tracks(parts=["muons"]).read(range(6)).event_ids.view(np.uint64).tolist() == ids
    assert pickle.loads(pickle.dumps(source)).read([5]).event_ids.view(np.uint64).tolist() == ids[5:]
    others = [tracks(seed=4), tracks({"grid": 25}), tracks({**GRID, "noise": {"voxels": 2}})]
    apart = {value for other in others for value in other.read(range(6)).event_ids.view(np.uint64).tolist()}
    assert len(apart) == 18
    assert not apart & set(ids)


def test_the_content_of_a_file_that_is_named_counts_and_its_path_does_not(tmp_path, monkeypatch):
    digests = []
    for folder, number in (("a", "2.0"), ("b", "2.0"), ("c", "2.5")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "calibration.txt").write_text(number)
        monkeypatch.chdir(tmp_path / folder)
        source = tracks({**GRID, "calibration": "./calibration.txt"})
        assert source.options["calibration"] == str(tmp_path / folder / "calibration.txt")
        digests.append(source.digest)
    assert digests[0] == digests[1] != digests[2]


def test_pieces_hold_each_event_once_whatever_its_size(monkeypatch):
    source = tracks(parts=["image3d"])
    whole = source.read(range(5, 30))
    for limit in (1, 1500, 10**9):
        monkeypatch.setattr("hepfm.data.generator._BATCH_BYTES", limit)
        pieces = list(source.batches(5, 30))
        assert {1: 25, 10**9: 1}.get(limit, 2) <= len(pieces) <= 25
        np.testing.assert_array_equal(np.concatenate([p.event_ids for p in pieces]), whole.event_ids)
        energies = np.concatenate([p.parts["image3d"]["voxels"].columns["energy_mev"] for p in pieces])
        np.testing.assert_array_equal(energies, whole.parts["image3d"]["voxels"].columns["energy_mev"])


def test_what_it_does_not_have_is_refused():
    with pytest.raises(PluginError, match="did you mean 'tracks'"):
        GeneratedEvents("track", {}, seed=1)
    with pytest.raises(RecipeError, match="muonz is not a setting"):
        tracks({"muonz": 2})
    with pytest.raises(RecipeError, match=r"noise\.voxels is -1; wanted: 0\.0 or more"):
        tracks({"noise": {"voxels": -1}})
    with pytest.raises(RecipeError, match="makes no part 'image2d'") as refused:
        tracks(parts=["image2d"])
    assert "did you mean 'image3d'" in refused.value.fix


def test_a_mistake_of_the_generator_is_said_with_the_event_and_the_plugin():
    source = tracks({**GRID, "fail_at": 7})
    source.read([6, 8])
    with pytest.raises(PluginError, match="ZeroDivisionError: a mistake") as failed:
        source.read([6, 7])
    assert "generator tracks, seed 3, event 7" in failed.value.where
    assert "hepfm-tracks 0.1" in failed.value.fix


def test_values_that_are_not_finite_are_refused(monkeypatch):
    from hepfm_tracks.generator import Tracks

    def event(self, index):
        energy = np.array([1.0, np.inf if index == 2 else 1.0], np.float32)
        voxel = np.zeros((2, 3), np.uint16)
        return Sample(parts={"image3d": {"voxels": {"voxel": voxel, "energy_mev": energy}}})

    monkeypatch.setattr(Tracks, "event", event)
    columns = {"voxel": Column(dtype="uint16", shape=(3,)), "energy_mev": Column(dtype="float32")}
    schema = PartSchema(kind="image3d", primary="voxels", tables={"voxels": columns})
    monkeypatch.setattr(Tracks, "_image_schema", lambda self: schema)
    with pytest.raises(DataError, match="NaN or infinite") as refused:
        tracks({"grid": 9}, parts=["image3d"]).read([0, 2])
    assert "event 2, field image3d/voxels/energy_mev" in refused.value.where


def test_another_version_of_the_plugin_is_refused_in_another_process(monkeypatch):
    source = tracks({"grid": 10})
    shipped = pickle.dumps(source)
    monkeypatch.setattr(
        "hepfm.data.generator._provider",
        lambda name: {"name": "tracks", "distribution": "hepfm-tracks", "version": "0.2"},
    )
    with pytest.raises(PluginError, match="another plugin for the generator 'tracks'"):
        pickle.loads(shipped).read([0])
