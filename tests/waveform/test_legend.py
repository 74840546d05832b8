"""LEGEND's raw tier over channels, and the hit tier as its truth."""

from __future__ import annotations

import shutil

import h5py
import numpy as np
import pytest

from hepfm.errors import DataError, RecipeError
from hepfm.readers.sniff import open_reader
from hepfm.testing import reader_contract
from hepfm_waveform.legend import LegendReader

RAW = "l200-p03-r001-phy-20230322T160139Z-tier_raw.lh5"
HIT = RAW.replace("raw", "hit")


@pytest.fixture
def folder(real_data):
    return real_data / "legend_lar_light"


@pytest.mark.parametrize("name", ["L200-comm-20211130-phy-spms.lh5", RAW])
def test_the_contract_holds_for_real_files(folder, name):
    reader_contract(LegendReader, folder / name)


def test_a_row_is_an_event_over_all_channels(folder, trace, converts):
    path = folder / "L200-comm-20211130-phy-spms.lh5"
    store = converts(path)
    assert len(store) == 10
    with h5py.File(path) as file:
        for row in (0, 7):
            event = store.read([row]).event(0).parts["light"]
            assert event["traces"]["channel"].tolist() == list(range(6))
            for channel in range(6):
                raw = file[f"ch{channel}/raw"]
                np.testing.assert_array_equal(trace(event, channel), raw["waveform/values"][row])
                assert event["traces"]["pedestal_adc"][channel] == raw["baseline"][row]
    assert store.parts["light"].attributes["sample_ns"] == 16


def test_the_hit_tier_is_the_truth_and_tells_silicon_from_germanium(folder, converts):
    hit = folder / HIT
    store = converts(folder / RAW, {"hit": str(hit)})
    assert set(store.parts) == {"light", "charge"}
    seen = 0
    with h5py.File(hit) as file:
        for row in range(10):
            event = store.read([row]).event(0)
            channels = event.parts["light"]["traces"]["channel"].tolist()
            assert channels == [1057600, 1059201, 1062405]
            assert event.parts["charge"]["traces"]["channel"].tolist() == [1084803, 1084804, 1121600]
            pulses = event.labels["light"]["pulses"]
            for k, channel in enumerate(channels):
                energy = file[f"ch{channel}/hit/energy_in_pe"][row]
                found = pulses["photoelectrons"][pulses["trace"] == k]
                np.testing.assert_allclose(found, energy[np.isfinite(energy)], rtol=1e-6)
                seen += len(found)
            # A valid pulse of some size stands in the samples where the hit tier says.
            adc = event.parts["light"]["samples"]["adc"].reshape(3, 8192).astype("f8")
            large = (pulses["valid"] == 1) & (pulses["photoelectrons"] > 3)
            for trace, tick in zip(pulses["trace"][large], pulses["tick"][large], strict=True):
                samples = adc[trace] - np.median(adc[trace])
                assert samples[int(tick) : int(tick) + 12].max() > 5 * np.std(samples[:2000])
    assert seen > 10


def test_the_digest_is_of_the_truth_too_and_not_of_where_it_lies(folder, tmp_path):
    config = LegendReader.Config(hit=str(folder))
    digest = LegendReader(folder / RAW, config).digest()
    for name in (RAW, HIT):
        shutil.copyfile(folder / name, tmp_path / name)
    moved = LegendReader.Config(hit=str(tmp_path / HIT))
    assert LegendReader(tmp_path / RAW, moved).digest() == digest
    with h5py.File(tmp_path / HIT, "r+") as file:
        file["ch1057600/hit/energy_in_pe"][0, 0] = 9
    assert LegendReader(tmp_path / RAW, moved).digest() != digest
    assert LegendReader(folder / RAW).digest() != digest


def made(path, **changed):
    """A small file of two channels; ``changed`` replaces datasets of the second, by name."""
    with h5py.File(path, "w") as file:
        for channel in (4, 5):
            raw = file.create_group(f"ch{channel}/raw")
            data = {
                "waveform/values": np.arange(40, dtype=">u2").reshape(4, 10),
                "waveform/dt": np.full(4, 16, "f4"),
                "waveform/t0": np.full(4, -160, "f4"),
                "eventnumber": np.arange(4),
                "baseline": np.full(4, 3, "u2"),
            }
            for name, values in (data | (changed if channel == 5 else {})).items():
                raw[name] = values
            raw["waveform/t0"].attrs["units"] = "ns"
    return path


def test_big_endian_rows_and_chosen_channels(tmp_path, trace):
    path = made(tmp_path / "a.lh5")
    reader = open_reader(path, options={"channels": [5]})
    event = reader.read([2]).event(0).parts["light"]
    np.testing.assert_array_equal(trace(event, 5), np.arange(20, 30))
    assert event["samples"]["adc"].dtype == np.uint16
    assert event["traces"]["time_ns"].tolist() == [-160]
    reader_contract(LegendReader, path, LegendReader.Config(charge=(4,)))


def test_channels_that_begin_at_other_times_have_other_first_ticks(tmp_path):
    reader = LegendReader(made(tmp_path / "a.lh5", **{"waveform/t0": np.full(4, -96.0)}))
    traces = reader.read([1]).event(0).parts["light"]["traces"]
    assert traces["time_ns"].tolist() == [-160, -96]
    assert traces["start_tick"].tolist() == [0, 4]  # of 16 ns
    with pytest.raises(DataError, match="nan is no whole number"):
        LegendReader(made(tmp_path / "b.lh5", **{"waveform/t0": np.full(4, np.nan)})).read([0])


def test_a_unit_that_is_no_word_is_refused(tmp_path):
    path = made(tmp_path / "a.lh5")
    with h5py.File(path, "r+") as file:
        file["ch4/raw/waveform/t0"].attrs["units"] = ["ns"]
    with pytest.raises(DataError, match="unit of time"):
        LegendReader(path)


def test_channels_that_are_no_common_events_are_refused(tmp_path):
    short = {name: np.zeros(3) for name in ("waveform/dt", "waveform/t0", "eventnumber", "baseline")}
    cases = [
        ("number of rows: ch4 4, ch5 3", {**short, "waveform/values": np.zeros((3, 10), "u2")}),
        ("row 1 is event 1 of ch4, and 7 of ch5", {"eventnumber": np.array([0, 7, 2, 3])}),
        ("differ in the length of a sample", {"waveform/dt": np.full(4, 8, "f4")}),
        ("differ in the length of a sample, or in its type", {"waveform/values": np.zeros((4, 10), "i2")}),
        ("wanted shape", {"waveform/values": np.zeros(4, "u2")}),
        ("wanted numbers", {"waveform/values": np.full((4, 10), b"x")}),
    ]
    for k, (match, changed) in enumerate(cases):
        with pytest.raises(DataError, match=match):
            LegendReader(made(tmp_path / f"{k}.lh5", **changed))
    with pytest.raises(DataError, match="no channel 6"):
        LegendReader(tmp_path / "0.lh5", LegendReader.Config(channels=(4, 6)))
    with pytest.raises(RecipeError, match="option channels"):
        open_reader(tmp_path / "0.lh5", "legend", {"channels": []})


def test_encoded_waveforms_must_be_decoded_first(tmp_path):
    path = made(tmp_path / "a.lh5")
    with h5py.File(path, "r+") as file:
        for channel in (4, 5):
            waveform = file[f"ch{channel}/raw/waveform"]
            del waveform["values"]
            encoded = waveform.create_group("values")
            encoded.attrs["codec"] = "radware_sigcompress"
            encoded["encoded_data/flattened_data"] = np.zeros(50, "u1")
    assert LegendReader.sniff(path)
    with pytest.raises(DataError, match=r"encoded \(radware_sigcompress\)") as error:
        LegendReader(path)
    assert "decode them first" in error.value.fix
