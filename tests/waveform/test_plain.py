"""Plain arrays, whatever their format, axes and byte order, are the traces that indexing numpy gives."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from hepfm.errors import DataError, RecipeError
from hepfm.readers.sniff import open_reader
from hepfm.testing import reader_contract
from hepfm_waveform.plain import PlainReader

EVENTS, CHANNELS, SAMPLES = 4, 6, 20


def waves(dtype="i2"):
    return np.random.default_rng(0).integers(0, 4000, (EVENTS, CHANNELS, SAMPLES)).astype(dtype)


def save(path, **arrays):
    if path.suffix == ".npz":
        np.savez_compressed(path, **arrays)
    elif path.suffix == ".npy":
        np.save(path, arrays["adc"])
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
            if "sample_ns" in arrays:
                file.attrs["sample_ns"] = arrays["sample_ns"]
    return path


@pytest.mark.parametrize("name", ["a.npz", "a.h5"])
def test_what_follows_the_defaults_is_recognised(tmp_path, name, converts):
    path = save(tmp_path / name, adc=waves(), sample_ns=np.array(16.0))
    reader = open_reader(path)
    assert type(reader) is PlainReader
    assert reader.parts["charge"].attributes["sample_ns"] == 16
    reader_contract(PlainReader, path)
    converts(path)


def test_what_is_nearly_recognised_says_what_is_missing(tmp_path):
    np.savez(tmp_path / "noisy.npz", noisy=waves())
    np.savez(tmp_path / "silent.npz", adc=waves())
    np.save(tmp_path / "alone.npy", waves())
    (tmp_path / "cut.npz").write_bytes((tmp_path / "silent.npz").read_bytes()[:200])
    for name, sentence in (
        ("noisy.npz", "no array 'adc', but noisy (--reader array --option dataset=NAME)"),
        ("silent.npz", "nothing says how far apart the samples of 'adc' are"),
        ("alone.npy", "nothing says how far apart"),
        ("cut.npz", "no whole zip or tar archive"),
    ):
        with pytest.raises(DataError) as refused:
            open_reader(tmp_path / name)
        assert "no reader recognises this; reader array: " in refused.value.what
        assert sentence in refused.value.what


def test_real_files_of_other_content_say_what_they_are(real_data):
    legend = next((real_data / "legend_lar_light").glob("*tier_hit.lh5"))
    for path, sentence in (
        (legend, "this is the hit tier"),
        (real_data / "larndsim" / "output_0.h5", "these are LArPix hits"),
        (real_data / "microboone_adc" / "microboone_run3493_raw32.npz", "but chirping, noisy"),
    ):
        with pytest.raises(DataError, match=sentence):
            open_reader(path)


def test_a_file_without_a_signal_is_doubted(tmp_path):
    dead = waves()
    dead[:] = 2048
    for array, dies in ((dead, True), (dead[..., :0], True), (dead[..., :3], False), (waves(), False)):
        reader = PlainReader(save(tmp_path / "a.npz", adc=array, sample_ns=np.array(16.0)))
        assert [s for s in reader.check() if "all traces are dead" in s] == list(reader.check())
        assert bool(list(reader.check())) == dies


def test_an_attribute_may_be_an_array_of_one_number(tmp_path):
    for found, period in (([16.0], 16), ("16", 16), ([16.0, 8.0], None), ("often", None)):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["adc"] = waves()
            file["adc"].attrs["sample_ns"] = found
        if period is None:
            with pytest.raises(DataError, match="wanted one number, found"):
                open_reader(tmp_path / "a.h5")
        else:
            assert open_reader(tmp_path / "a.h5").parts["charge"].attributes["sample_ns"] == period


def test_npy_files_are_read_with_options(tmp_path, trace):
    for order in ("C", "F"):
        path = tmp_path / f"{order}.npy"
        np.save(path, np.asarray(waves(">u2"), order=order))
        reader = open_reader(path, "array", {"sample_ns": 10, "part": "light"})
        event = reader.read([3]).event(0).parts["light"]
        np.testing.assert_array_equal(trace(event, 2), waves()[3, 2])
        assert event["samples"]["adc"].dtype == np.uint16
        assert not PlainReader.sniff(path)


@pytest.mark.parametrize("name", ["a.npz", "a.h5", "a.npy"])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", ">f4", "<f8", "u1"])
@pytest.mark.parametrize("axes", ["ect", "cet", "tce", "etc"])
def test_axes_and_byte_order(tmp_path, name, dtype, axes, trace):
    adc = waves(dtype)
    path = save(tmp_path / name, adc=adc.transpose(["ect".index(axis) for axis in axes]))
    reader = PlainReader(path, PlainReader.Config(sample_ns=1, axes=axes))
    event = reader.read([1]).event(0).parts["charge"]
    for channel in range(CHANNELS):
        found = trace(event, channel)
        assert found.dtype == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_array_equal(found, adc[1, channel])
    assert reader.lengths("charge").tolist() == [CHANNELS * SAMPLES] * EVENTS


def test_fewer_axes_and_several_arrays(tmp_path, trace):
    adc = waves()
    path = save(tmp_path / "a.npz", **{f"run_{k}": adc[k] for k in range(EVENTS)}, other=np.zeros(3))
    reader = PlainReader(path, PlainReader.Config(dataset="run_*", sample_ns=500))
    assert len(reader) == EVENTS
    for event in range(EVENTS):
        np.testing.assert_array_equal(trace(reader.read([event]).event(0).parts["charge"], 5), adc[event, 5])
    reader_contract_of(path, reader)
    one = PlainReader(path, PlainReader.Config(dataset=("run_2", "run_0"), axes="et", sample_ns=500))
    assert len(one) == 2 * CHANNELS
    np.testing.assert_array_equal(
        one.read([CHANNELS + 1]).event(0).parts["charge"]["samples"]["adc"], adc[0, 1]
    )


def reader_contract_of(path, reader):
    batch = reader.read(range(len(reader)))
    assert batch.cost.tolist() == reader.lengths("charge").tolist()
    assert list(reader.check()) == []


def test_channels_have_what_the_options_name(tmp_path, trace):
    rng = np.random.default_rng(6)
    number, pedestal, position = 100 + np.arange(CHANNELS), rng.random(CHANNELS), rng.random((CHANNELS, 3))
    path = save(tmp_path / "a.h5", raw=waves(), id=number, ped=pedestal, xyz=position)
    reader = open_reader(
        path,
        "array",
        {"dataset": "raw", "sample_ns": 500, "channels": "id", "pedestals": "ped", "positions_mm": "xyz"}
        | {"planes": {"U": [100, 102], "W": [103, 199]}, "bad_channels": [101]},
    )
    event = reader.read([2]).event(0).parts["charge"]
    good = [0, 2, 3, 4, 5]
    traces = event["traces"]
    assert traces["channel"].tolist() == number[good].tolist()
    assert traces["plane"].tolist() == [0, 0, 1, 1, 1]
    np.testing.assert_allclose(traces["pedestal_adc"], pedestal[good], rtol=1e-6)
    np.testing.assert_allclose(traces["position_mm"], position[good], rtol=1e-6)
    np.testing.assert_array_equal(trace(event, 105), waves()[2, 5])
    assert reader.parts["charge"].attributes["left_out"] == [101]


def test_wrong_options_say_what_is_right(tmp_path):
    path = save(
        tmp_path / "a.h5",
        adc=waves(),
        wave=waves()[:, :3],
        id=np.arange(3),
        words=np.array([b"x"] * 3),
        one=np.array(1.0),
        large=2**32 + np.arange(CHANNELS),
        nan=np.full(CHANNELS, np.nan),
        long=waves(np.longdouble),
    )

    def refused(error, match, **options):
        with pytest.raises(error, match=match):
            open_reader(path, "array", {"sample_ns": 1, **options})

    refused(DataError, "no array 'wav'(.|\n)*did you mean 'wave'", dataset="wav")
    refused(DataError, "has 3 axes", axes="ct")
    refused(RecipeError, "each once", axes="eec")
    refused(RecipeError, "option sample_ns", sample_ns=0)
    refused(RecipeError, "how far apart samples are", sample_ns=None)
    refused(RecipeError, "no option 'chanels'(.|\n)*did you mean 'channels'", chanels="id")
    refused(RecipeError, "option planes.U", planes={"U": [0]})
    refused(DataError, "one row for each channel, found .3,", channels="id")
    refused(DataError, "number of channels: adc 6, wave 3", dataset=["adc", "wave"])
    refused(DataError, "there is no channel 77", bad_channels=[77])
    refused(DataError, "channel 3 is in two of the planes U, V", planes={"U": [0, 3], "V": [3, 5]})
    refused(RecipeError, "option dataset", dataset=[])
    refused(DataError, "has 0 axes", dataset="one")
    refused(DataError, "4294967296 is no whole number that int32 holds", channels="large")
    refused(DataError, "nan is no whole number", channels="nan")
    refused(DataError, "found float128", dataset="long")
    refused(DataError, "wanted numbers as samples", dataset="words", axes="t")


def test_pickles_uneven_rows_and_half_files_are_refused(tmp_path):
    uneven = np.array([np.zeros(3), np.zeros(4)], object)
    np.save(tmp_path / "a.npy", uneven, allow_pickle=True)
    config = PlainReader.Config(sample_ns=1)
    with pytest.raises(DataError, match="could run any code"):
        PlainReader(tmp_path / "a.npy", config)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        rows = file.create_dataset("adc", (2,), h5py.vlen_dtype("i2"))
        rows[0], rows[1] = np.zeros(3, "i2"), np.zeros(4, "i2")
    with pytest.raises(DataError, match="wanted numbers as samples"):
        PlainReader(tmp_path / "a.h5", config)
    whole = save(tmp_path / "b.npy", adc=waves())
    whole.write_bytes(whole.read_bytes()[:-7])
    with pytest.raises(DataError, match="declares"):
        PlainReader(whole, config)


def test_a_header_that_declares_too_much_is_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, adc=waves())
    data = path.read_bytes()
    assert data.count(b"(4, 6, 20)") == 1
    path.write_bytes(data.replace(b"(4, 6, 20), }  ", b"(4, 6, 2000), }"))
    with pytest.raises(DataError):
        PlainReader(path, PlainReader.Config(sample_ns=1)).read([0])


def test_a_damaged_header_of_numpy_is_refused_in_a_sentence(tmp_path):
    path = save(tmp_path / "a.npy", adc=waves())
    whole = path.read_bytes()
    negative = whole.replace(b"(4, 6, 20), }  ", b"(-4, -6, 20), }")
    path.write_bytes(negative)
    with pytest.raises(DataError, match="an axis is -6 long"):
        PlainReader(path, PlainReader.Config(sample_ns=1))
    for at in range(6, 60):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x21]) + whole[at + 1 :])
        with pytest.raises(DataError, match=r"a\.npy"):
            PlainReader(path, PlainReader.Config(sample_ns=1)).read([0, 3])


def test_no_events_and_not_finite_samples(tmp_path):
    none = save(tmp_path / "a.npz", adc=waves()[:0], sample_ns=np.array(1.0))
    assert len(open_reader(none)) == 0
    short = open_reader(save(tmp_path / "c.npz", adc=waves()[..., :0], sample_ns=np.array(1.0)))
    traces = short.read([3]).event(0).parts["charge"]["traces"]
    assert traces["n_samples"].tolist() == [0] * CHANNELS
    adc = waves("f4")
    adc[2, 3, 4] = np.inf
    found = list(open_reader(save(tmp_path / "b.npz", adc=adc, sample_ns=np.array(1.0))).check())
    assert [("event 2" in one, "1 rows are not finite" in one) for one in found] == [(True, True)]


def test_real_adc_of_microboone(real_data, trace, converts):
    path = real_data / "microboone_adc" / "microboone_run3493_raw32.npz"
    store = converts(path, {"dataset": "?*", "sample_ns": 500}, "array")
    assert len(store) == 4
    with np.load(path, allow_pickle=False) as file:
        for index, name in enumerate(["chirping", "noisy", "misconfig", "rcrc"]):
            event = store.read([index]).event(0).parts["charge"]
            for channel in (0, 13, 31):
                np.testing.assert_array_equal(trace(event, channel), file[name][channel])
