"""goop's pieces of waveforms of each label add up to the dense waveforms that they were cut from."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from hepfm.errors import DataError
from hepfm.readers.sniff import open_reader
from hepfm.testing import reader_contract
from hepfm_waveform.goop import GoopReader

TICKS, PMTS, PEDESTAL = 60, 5, 1500


def write(path, *, events=4):
    """The format as goop writes it; gives the sum of all labels, (PMTs, ticks), of each event."""
    rng = np.random.default_rng(4)
    sums = []
    with h5py.File(path, "w") as file:
        file.create_group("config").attrs.update(
            tick_ns=2.0, n_channels=PMTS, digitized=True, pedestal=float(PEDESTAL), n_bits=14
        )
        for number in range(events):
            total = np.zeros((PMTS, TICKS))
            event = file.create_group(f"event_{number:03d}")
            for label in (0, 1, 10)[: number % 3 + 1]:
                adc, offsets, t0, pmt = [], [0], [], []
                for channel in range(PMTS):
                    for start in (0, 30):
                        size = int(rng.integers(0, 25))
                        if not size:
                            continue
                        values = rng.integers(-200, 0, size)
                        total[channel, start : start + size] += values
                        adc.append(values + PEDESTAL)
                        offsets.append(offsets[-1] + size)
                        t0.append(2.0 * start)
                        pmt.append(channel)
                group = event.create_group(f"label_{label}")
                group.create_dataset("adc", data=np.concatenate(adc).astype("u2"), scaleoffset=14)
                group["offsets"] = np.array(offsets, np.int64)
                group["t0_ns"], group["pmt_id"] = np.array(t0, "f4"), np.array(pmt, "i4")
                group["pe_counts"] = 10 * label + np.arange(PMTS, dtype="i4")
            sums.append(total)
    return sums


def test_pieces_of_all_labels_add_up(tmp_path, converts):
    path = tmp_path / "light.h5"
    sums = write(path)
    reader = open_reader(path)
    assert type(reader) is GoopReader
    reader_contract(GoopReader, path)
    store = converts(path)
    for index, total in enumerate(sums):
        event = store.read([index]).event(0)
        traces, ends = event.parts["light"]["traces"], np.cumsum(event.parts["light"]["traces"]["n_samples"])
        found = np.zeros_like(total)
        for k, end in enumerate(ends):
            start, count = traces["start_tick"][k], traces["n_samples"][k]
            assert traces["time_ns"][k] == 2 * start
            values = event.parts["light"]["samples"]["adc"][end - count : end].astype("f8")
            found[traces["channel"][k], start : start + count] += values - traces["pedestal_adc"][k]
        np.testing.assert_array_equal(found, total)
        counts, labels = event.labels["light"]["counts"], (0, 1, 10)[: index % 3 + 1]
        assert counts["label"].tolist() == [label for label in labels for _ in range(PMTS)]
        assert counts["photoelectrons"].tolist() == [
            10 * label + pmt for label in labels for pmt in range(PMTS)
        ]
        assert set(event.labels["light"]["traces"]["label"].tolist()) == set(labels)


def test_one_label_can_be_chosen(tmp_path):
    write(tmp_path / "light.h5")
    reader = GoopReader(tmp_path / "light.h5", GoopReader.Config(label=1))
    assert (reader.lengths("light") > 0).tolist() == [False, True, True, False]
    assert set(reader.read([2]).event(0).labels["light"]["traces"]["label"].tolist()) == {1}
    reader_contract(GoopReader, tmp_path / "light.h5", GoopReader.Config(label=1))


@pytest.mark.parametrize(
    ("name", "values", "match"),
    [
        ("offsets", [0, 5], "do not cut the samples"),
        ("pmt_id", [1, 2], "do not cut the samples"),
        ("adc", None, "a field is missing"),
        ("adc", [1.5], "do not cut"),
        ("t0_ns", "nan", "nan is no whole number that int32 holds"),
        ("offsets", "uint64", "is no whole number that int32 holds"),
    ],
)
def test_pieces_that_do_not_fit_are_refused(tmp_path, name, values, match):
    path = tmp_path / "light.h5"
    write(path)
    with h5py.File(path, "r+") as file:
        found = file[f"event_002/label_1/{name}"][:]
        del file[f"event_002/label_1/{name}"]
        if values == "nan":
            values = np.where(np.arange(len(found)) == 1, np.nan, found)
        elif values == "uint64":  # whose differences wrap
            values = found[[0, 2, 1, *range(3, len(found))]].astype("u8")
        if values is not None:
            file[f"event_002/label_1/{name}"] = np.array(values)
    with pytest.raises(DataError, match=match):
        GoopReader(path).read([2])


def test_other_things_in_an_event_do_not_hide_the_format(tmp_path):
    path = tmp_path / "light.h5"
    write(path)
    with h5py.File(path, "r+") as file:
        file["event_000/a_number"] = 3
        file["config"].attrs["pedestal"] = [1500.0]
    assert type(open_reader(path)) is GoopReader
    with h5py.File(path, "r+") as file:
        file["config"].attrs["pedestal"] = "high"
    with pytest.raises(DataError, match="wanted one number, found 'high'"):
        open_reader(path)
