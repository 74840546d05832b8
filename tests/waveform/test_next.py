"""NEXT's raw data: photomultipliers and SiPMs of an event, as h5py alone reads them."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from hepfm.errors import DataError
from hepfm.readers.sniff import open_reader
from hepfm.testing import reader_contract
from hepfm_waveform.next import NextReader


@pytest.fixture
def small(tmp_path):
    rng = np.random.default_rng(5)
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as file:
        file["RD/pmtrwf"] = rng.integers(0, 4000, (3, 4, 400)).astype(">i2")
        file.create_dataset(
            "RD/sipmrwf", data=rng.integers(0, 100, (3, 6, 10)).astype("i2"), compression="gzip"
        )
        kind = [("channel", "<i4"), ("sensorID", "<i4")]
        file["Sensors/DataPMT"] = np.array([(9 - i, i) for i in range(4)], kind)
        file["Sensors/DataSiPM"] = np.array([(i, 1000 + i) for i in range(6)], kind)
        file["Run/runInfo"] = np.array([(6229,)], [("run_number", "<i4")])
    return path


def test_the_contract_holds(small):
    reader_contract(NextReader, small)


def test_big_endian_samples_are_read_right(small, trace):
    reader = open_reader(small)
    assert type(reader) is NextReader
    event = reader.read([2]).event(0)
    with h5py.File(small) as file:
        wanted = file["RD/pmtrwf"][2, 3].astype("i4")
    found = trace(event.parts["light"], 3)
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, wanted)
    assert reader.provenance["run"] == 6229
    assert reader.parts["light"].attributes["sample_ns"] == 25
    assert reader.parts["charge"].attributes["sample_ns"] == 1000
    assert "pedestal_adc" not in reader.parts["light"].tables["traces"]


def test_arrays_that_do_not_fit_are_refused(small):
    with h5py.File(small, "r+") as file:
        del file["Sensors/DataPMT"]
        file["Sensors/DataPMT"] = np.zeros(3, [("channel", "<i4"), ("sensorID", "<i4")])
    with pytest.raises(DataError, match="3 sensors are listed, RD/pmtrwf has 4"):
        NextReader(small)
    with h5py.File(small, "r+") as file:
        del file["Sensors/DataPMT"], file["RD/pmtrwf"]
        file["RD/pmtrwf"] = np.zeros((2, 4, 400), "i2")
    with pytest.raises(DataError, match="number of events: RD/pmtrwf 2, RD/sipmrwf 3"):
        NextReader(small)


def test_one_kind_of_sensors_and_no_events_are_fine(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["RD/pmtrwf"] = np.zeros((0, 4, 400), "i2")
    reader = open_reader(tmp_path / "a.h5")
    assert (len(reader), list(reader.parts)) == (0, ["light"])
    assert len(reader.read([])) == 0


def test_the_real_event(real_data, converts, trace):
    path = real_data / "next_pmt_sipm" / "6229_000_trg_type.h5"
    store = converts(path)
    event = store.read([0]).event(0)
    with h5py.File(path) as file:
        pmt, sipm = file["RD/pmtrwf"][0], file["RD/sipmrwf"][0]
        ids = file["Sensors/DataSiPM"]["sensorID"]
    for row in range(12):
        np.testing.assert_array_equal(trace(event.parts["light"], row), pmt[row])
    traces, adc = event.parts["charge"]["traces"], event.parts["charge"]["samples"]["adc"]
    row_of = {int(number): row for row, number in enumerate(ids)}
    dense, ends = np.zeros_like(sipm), np.cumsum(traces["n_samples"])
    for channel, start, count, end in zip(
        *(traces[name].tolist() for name in ("channel", "start_tick", "n_samples")),
        ends.tolist(),
        strict=True,
    ):
        dense[row_of[channel], start : start + count] = adc[end - count : end]
    np.testing.assert_array_equal(dense, sipm)
    assert (adc != 0).all()
    assert len(adc) < 0.3 * sipm.size
    whole = NextReader(path, NextReader.Config(sipm_zeros=True)).read([0]).event(0).parts["charge"]
    for row in (0, 900, 1791):
        np.testing.assert_array_equal(trace(whole, ids[row]), sipm[row])
    assert pmt.shape[1] * 25 == sipm.shape[1] * 1000  # both cover the same time
