"""larnd-sim's light: triggers as events, and the truth summed over segments as a loop sums it."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from hepfm.errors import DataError, RecipeError
from hepfm.readers.sniff import open_reader
from hepfm.testing import reader_contract
from hepfm_waveform.larndsim import LarndsimReader

CONFIG = LarndsimReader.Config(sample_ns=16)
TRUTH = [("trigger_id", "i4"), ("op_channel_id", "i4"), ("tick", "i4"), ("event_id", "i4")]
TRUTH += [("segment_id", "i8"), ("pe_current", "f8")]
CHANNEL = np.array([[3, 1, 0, 2]] * 3 + [[0, 1, 2, 3]] * 2)


@pytest.fixture
def made(tmp_path):
    """The format as larnd-sim writes it: 5 triggers, 4 channels, 64 samples."""
    rng = np.random.default_rng(8)
    path = tmp_path / "sim.h5"
    truth = np.zeros(300, TRUTH)
    truth["trigger_id"] = np.sort(rng.choice([0, 1, 3, 4], 300))
    truth["op_channel_id"], truth["tick"] = rng.integers(0, 4, 300), rng.integers(0, 64, 300)
    truth["pe_current"] = rng.random(300)
    triggers = np.zeros(5, [("op_channel", "i4", (4,)), ("ts_s", "f8"), ("ts_sync", "u8")])
    triggers["op_channel"] = CHANNEL
    with h5py.File(path, "w") as file:
        waveforms = rng.integers(-9000, 10, (5, 4, 64)).astype("i4")
        file.create_dataset("light_wvfm", data=waveforms, maxshape=(None, None, None), compression="gzip")
        file.create_dataset("light_trig", data=triggers, maxshape=(None,))
        file.create_dataset("light_wvfm_mc_assn", data=truth, maxshape=(None,), compression="gzip")
    return path, waveforms, truth


def test_the_contract_holds(made):
    reader_contract(LarndsimReader, made[0], CONFIG)


def test_triggers_and_their_truth(made, trace, converts):
    path, waveforms, truth = made
    store = converts(path, {"sample_ns": 16})
    for index in range(5):
        event = store.read([index]).event(0)
        assert event.parts["light"]["traces"]["channel"].tolist() == CHANNEL[index].tolist()
        wanted = np.zeros((4, 64))
        for row in truth[truth["trigger_id"] == index]:
            at = CHANNEL[index].tolist().index(row["op_channel_id"])
            wanted[at, row["tick"]] += row["pe_current"]
        found = event.labels["light"]["samples"]["pe_current"]
        np.testing.assert_allclose(found, wanted.reshape(-1), rtol=1e-6)
        for at, channel in enumerate(CHANNEL[index]):
            np.testing.assert_array_equal(trace(event.parts["light"], channel), waveforms[index, at])


def test_truth_of_each_sample_is_read_too(made):
    path, waveforms, _ = made
    dense = np.zeros(waveforms.shape, [("track_ids", "i8", (2,)), ("pe_current", "f8", (2,))])
    dense["pe_current"] = np.random.default_rng(2).random(dense["pe_current"].shape)
    with h5py.File(path, "r+") as file:
        del file["light_wvfm_mc_assn"]
        file["light_wvfm_mc_assn"] = dense
    found = LarndsimReader(path, CONFIG).read([3]).event(0).labels["light"]["samples"]["pe_current"]
    np.testing.assert_allclose(found, dense["pe_current"][3].sum(-1).reshape(-1), rtol=1e-6)


def test_without_the_sample_spacing_it_says_what_to_do(made):
    with pytest.raises(RecipeError, match="how far apart") as error:
        open_reader(made[0])
    assert "sample_ns" in error.value.fix


def test_what_does_not_fit_is_refused(made):
    path, _, truth = made
    with h5py.File(path, "r+") as file:
        file["light_wvfm_mc_assn"][-1] = (*truth[-1].tolist()[:2], 64, 0, 0, 1.0)
    with pytest.raises(DataError, match="event 4"):
        LarndsimReader(path, CONFIG).read([4])
    with h5py.File(path, "r+") as file:
        file["light_wvfm_mc_assn"][0] = (3, *truth[0].tolist()[1:])
    with pytest.raises(DataError, match="order of triggers"):
        LarndsimReader(path, CONFIG)
    with h5py.File(path, "r+") as file:
        file["light_trig"].resize((4,))
    with pytest.raises(DataError, match="4 triggers are listed, light_wvfm has 5"):
        LarndsimReader(path, CONFIG)
