"""JAXTPC's differences become runs of ticks that rebuild the dense planes."""

from __future__ import annotations

import h5py
import hdf5plugin
import numpy as np
import pytest

from hepfm.errors import DataError
from hepfm.readers.sniff import open_reader
from hepfm.testing import reader_contract
from hepfm_waveform.jaxtpc import JaxtpcReader

WIRES = np.array([[6, 5, 9], [6, 5, 0]], np.int32)
FIRST = {(0, 0): 0, (0, 1): 6, (0, 2): 11, (1, 0): 20, (1, 1): 26}
TICKS = 50


def write(path, *, digitized, events=4):
    """The format as its documentation describes it; gives the dense planes of each event."""
    rng = np.random.default_rng(1)
    dense = []
    with h5py.File(path, "w") as file:
        config = file.create_group("config")
        config.attrs.update(num_time_steps=TICKS, time_step_us=0.5, readout_type="wire")
        config["num_wires"] = WIRES
        for number in range(events):
            planes = {}
            event = file.create_group(f"event_{number:03d}")
            for volume, plane in FIRST:
                group = event.create_group(f"volume_{volume}/{'UVY'[plane]}")
                image = np.where(
                    rng.random((WIRES[volume, plane], TICKS)) < 0.3, rng.integers(1, 60, TICKS), 0
                )
                if number == 1 and plane == 1:
                    image[:] = 0  # a plane without samples is an empty group
                planes[volume, plane] = image
                wire, tick = np.nonzero(image)
                if not len(wire):
                    continue
                for axis, values in (("wire", wire), ("time", tick)):
                    delta = np.diff(values, prepend=values[0]).astype(np.int16)
                    group.create_dataset(f"delta_{axis}", data=delta, **hdf5plugin.Blosc(cname="zstd"))
                    group.attrs[f"{axis}_start"] = int(values[0])
                values = image[wire, tick]
                if digitized:
                    group.attrs["pedestal"] = 400 + plane
                    group["values"] = (values + 400 + plane).astype(np.uint16)
                else:
                    group["values"] = values.astype(np.float32)
            dense.append(planes)
    return dense


@pytest.mark.parametrize("digitized", [True, False])
def test_traces_rebuild_the_dense_planes(tmp_path, digitized):
    path = tmp_path / "sensor.h5"
    dense = write(path, digitized=digitized)
    reader = open_reader(path)
    assert type(reader) is JaxtpcReader
    reader_contract(JaxtpcReader, path)
    assert reader.parts["charge"].attributes["sample_ns"] == 500
    names = [c.name for c in reader.parts["charge"].vocabularies["plane"]]
    assert names == ["0 U", "0 V", "0 Y", "1 U", "1 V", "1 Y"]
    for index, planes in enumerate(dense):
        event = reader.read([index]).event(0).parts["charge"]
        traces, ends = event["traces"], np.cumsum(event["traces"]["n_samples"])
        found = {key: np.zeros_like(image, np.float64) for key, image in planes.items()}
        for k, end in enumerate(ends):
            volume, plane = divmod(int(traces["plane"][k]), 3)
            wire = traces["channel"][k] - FIRST[volume, plane]
            start, count = traces["start_tick"][k], traces["n_samples"][k]
            values = event["samples"]["adc"][end - count : end] - traces["pedestal_adc"][k]
            found[volume, plane][wire, start : start + count] = values
        for key, image in planes.items():
            np.testing.assert_array_equal(found[key], image)
        pairs = np.stack([traces["channel"], traces["start_tick"]], 1)
        assert len(np.unique(pairs, axis=0)) == len(pairs)
        ended = {
            (c, s + n)
            for c, s, n in zip(
                *(traces[x].tolist() for x in ("channel", "start_tick", "n_samples")), strict=True
            )
        }
        assert not ended & set(map(tuple, pairs.tolist()))  # neighbouring ticks are of one trace


def test_it_converts(tmp_path, converts):
    write(tmp_path / "sensor.h5", digitized=True)
    converts(tmp_path / "sensor.h5")


def test_what_makes_no_sense_is_refused(tmp_path):
    path = tmp_path / "sensor.h5"

    def swap(file, name, values):
        values = file[name][:].astype("f4") if values is None else values
        del file[name]
        file[name] = values

    def refused(match, change):
        write(path, digitized=True)
        with h5py.File(path, "r+") as file:
            change(file)
        with pytest.raises(DataError, match=match):
            JaxtpcReader(path).read(range(4))

    refused("of pixels", lambda f: f["config"].attrs.update(readout_type="pixel"))
    refused("no time_step_us", lambda f: f["config"].attrs.__delitem__("time_step_us"))
    refused("time_step_us is 0", lambda f: f["config"].attrs.update(time_step_us=0.0))
    refused("of no wire of 0 to 5", lambda f: f["event_002/volume_1/U"].attrs.update(wire_start=4))
    refused("0.5 is no whole number", lambda f: f["event_002/volume_1/U"].attrs.update(wire_start=0.5))
    refused("found 'x'", lambda f: f["event_002/volume_1/U"].attrs.update(pedestal="x"))
    refused("no wire_start", lambda f: f["event_002/volume_1/U"].attrs.__delitem__("wire_start"))
    refused("twice", lambda f: f["event_002/volume_1/U/delta_time"].__setitem__(slice(None), 0))
    refused("wanted shape", lambda f: swap(f, "event_002/volume_1/U/delta_wire", np.zeros(3, "i2")))
    refused("in the first event", lambda f: swap(f, "event_003/volume_1/U/values", None))


def test_external_links_are_refused(tmp_path):
    write(tmp_path / "sensor.h5", digitized=True)
    write(tmp_path / "other.h5", digitized=True)
    with h5py.File(tmp_path / "sensor.h5", "r+") as file:
        del file["event_002"]
        file["event_002"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "event_002")
    with pytest.raises(DataError, match="external link is refused"):
        JaxtpcReader(tmp_path / "sensor.h5").read([2])
