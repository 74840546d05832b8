"""Frames are read as numpy alone reads them, out of every kind of archive, without what masks call bad."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hepfm.errors import DataError, RecipeError
from hepfm.readers.sniff import open_reader
from hepfm.testing import reader_contract
from hepfm_waveform.frames import good_ticks, near_signal, stretches
from hepfm_waveform.wirecell import WirecellReader

CHANNELS = np.array([7, 3, 12, 40], np.int32)


def frames(n=4, dtype="<f4", tag="gauss0", ticks=30):
    """The members of an archive of some frames with one bad channel, and one that is bad for a while."""
    rng = np.random.default_rng(3)
    members = {}
    for number in range(100, 100 + n):
        frame = rng.integers(-50, 50, (4, ticks)).astype(dtype)
        members[f"frame_{tag}_{number}"] = np.asfortranarray(frame) if number % 2 else frame
        members[f"channels_{tag}_{number}"] = CHANNELS
        members[f"tickinfo_{tag}_{number}"] = np.array([1000.0 * number, 500.0, 5.0])
        # Masks count ticks as tickinfo does: the frame's first column is tick 5.
        bad = [[3, 0, ticks + 5], [40, 15, 19], [999, 0, ticks]]
        members[f"chanmask_bad_{number}"] = np.array(bad, np.int32)
    return members


def save(path, members):
    raw = {}
    for name, array in members.items():
        stream = io.BytesIO()
        np.save(stream, array, allow_pickle=True)
        raw[f"{name}.npy"] = stream.getvalue()
    if path.suffix in (".zip", ".npz"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in raw.items():
                archive.writestr(name, data)
        return path
    mode = {".tar": "w", ".bz2": "w:bz2", ".gz": "w:gz", ".xz": "w:xz"}[path.suffix]
    with tarfile.open(path, mode) as archive:
        for name, data in raw.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


KINDS = ["f.zip", "f.npz", "f.tar", "f.tar.bz2", "f.tar.gz", "f.tar.xz"]


@pytest.mark.parametrize("name", KINDS)
def test_the_contract_holds_for_every_archive(tmp_path, name):
    # Enough ticks that a tenth of the file is more than tar's padding.
    reader_contract(WirecellReader, save(tmp_path / name, frames(ticks=2000)))


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<i2", ">i2"])
def test_traces_are_the_frames_rows_whatever_the_byte_order(tmp_path, dtype, trace):
    members = frames(dtype=dtype)
    reader = open_reader(save(tmp_path / "f.zip", members))
    assert type(reader) is WirecellReader
    event = reader.read([1]).event(0).parts["charge"]
    frame = np.asarray(members["frame_gauss0_101"], dtype[1:])
    assert event["samples"]["adc"].dtype == np.dtype(dtype[1:])
    np.testing.assert_array_equal(trace(event, 7), frame[0])
    np.testing.assert_array_equal(trace(event, 12), frame[2])
    assert 3 not in event["traces"]["channel"]
    np.testing.assert_array_equal(trace(event, 40, 0), frame[3, :10])
    np.testing.assert_array_equal(trace(event, 40, 1), frame[3, 14:])
    np.testing.assert_array_equal(event["traces"]["start_tick"], [5, 5, 5, 19])
    np.testing.assert_allclose(event["traces"]["time_ns"], 101_000 + 500.0 * np.array([5, 5, 5, 19]))
    schema = reader.parts["charge"]
    assert schema.attributes["sample_ns"] == 500
    assert schema.tables["samples"]["adc"].unit == ("electrons" if "f" in dtype else "ADC")
    assert ("pedestal_adc" in schema.tables["traces"]) == ("f" in dtype)
    assert reader.provenance["masked_channels"] == [2] * 4
    np.testing.assert_array_equal(reader.lengths("charge"), [30 * 4 - 30 - 4] * 4)


def test_options_choose_frames_masks_and_planes(tmp_path, trace):
    path = save(tmp_path / "f.tar.gz", frames(2) | frames(2, "<i2", "raw1"))
    whole = WirecellReader(path, WirecellReader.Config(masks=(), planes={"U": (0, 9), "W": (10, 99)}))
    event = whole.read([0]).event(0).parts["charge"]
    assert event["traces"]["plane"].tolist() == [0, 0, 1, 1]
    assert [c.name for c in whole.parts["charge"].vocabularies["plane"]] == ["U", "W"]
    assert len(trace(event, 3)) == 30
    raw = WirecellReader(path, WirecellReader.Config(tag="raw1", part="wires"))
    assert raw.parts["wires"].tables["samples"]["adc"].dtype == "int16"
    assert raw.digest() != whole.digest()
    assert raw.event_ids().tolist() == whole.event_ids().tolist()  # the same events
    with pytest.raises(DataError, match="did you mean 'bad'"):
        WirecellReader(path, WirecellReader.Config(masks=("bed",)))
    with pytest.raises(DataError, match="did you mean 'raw1'"):
        WirecellReader(path, WirecellReader.Config(tag="raw"))
    with pytest.raises(DataError, match="channel 12 is in none of the planes U"):
        WirecellReader(path, WirecellReader.Config(planes={"U": (0, 9)})).read([0])


@settings(max_examples=60)
@given(
    hnp.arrays(
        np.int8, st.tuples(st.integers(1, 4), st.integers(1, 24)), elements=st.sampled_from([0, 0, 0, 5])
    ),
    st.integers(0, 6),
    st.lists(st.tuples(st.integers(0, 3), st.integers(-3, 26), st.integers(-3, 26)), max_size=4),
)
def test_stretches_are_what_a_loop_finds(frame, pad, masks):
    masks = [(row % len(frame), start, stop) for row, start, stop in masks]
    kept = good_ticks(frame.shape, masks) & near_signal(frame, pad)
    for row, values in enumerate(frame):
        for tick in range(len(values)):
            near = any(values[t] for t in range(max(tick - pad, 0), min(tick + pad + 1, len(values))))
            bad = any(r == row and start <= tick < stop for r, start, stop in masks)
            assert kept[row, tick] == (near and not bad)
    found = [
        (row, tick) for row, start, stop in zip(*stretches(kept), strict=True) for tick in range(start, stop)
    ]
    assert found == [tuple(place) for place in np.argwhere(kept).tolist()]
    cuts = stretches(kept)
    assert all(
        cuts.row[k] != cuts.row[k + 1] or cuts.stop[k] < cuts.start[k + 1] for k in range(len(cuts.row) - 1)
    )


def test_zeros_far_from_signals_can_be_left_out(tmp_path):
    members = frames(3)
    for number in (100, 101, 102):
        frame = np.zeros((4, 30), np.float32)
        frame[2, 20], frame[1, 5] = number, 7  # the second is masked
        members[f"frame_gauss0_{number}"] = frame
    path = save(tmp_path / "f.tar.bz2", members)
    config = WirecellReader.Config(zero_pad=2)
    reader = WirecellReader(path, config)
    event = reader.read([1]).event(0).parts["charge"]
    assert event["samples"]["adc"].tolist() == [0, 0, 101, 0, 0]
    assert event["traces"]["start_tick"].tolist() == [5 + 18]
    reader_contract(WirecellReader, path, config)


def test_what_is_incomplete_or_contradicts_itself_is_refused(tmp_path):
    def refused(match, **changed):
        members = frames(2) | {name: array for name, array in changed.items() if array is not None}
        members = {
            name: array for name, array in members.items() if name not in changed or changed[name] is not None
        }
        path = tmp_path / "f.zip"
        path.unlink(missing_ok=True)
        save(path, members)
        with pytest.raises(DataError, match=match):
            WirecellReader(path).read([0, 1])

    refused("frame 101 has no tickinfo_gauss0_101", tickinfo_gauss0_101=None)
    refused("frame 100 has no channels_gauss0_100", channels_gauss0_100=None)
    refused("has 3 channel numbers", channels_gauss0_100=CHANNELS[:3])
    refused("wanted a list, found the shape", tickinfo_gauss0_100=np.zeros(2))
    refused("wanted numbers, found <U1", tickinfo_gauss0_100=np.array(list("abc")))
    refused("nan is no whole number", channels_gauss0_101=np.array([7, 3, 12, np.nan]))
    refused("number is there twice", channels_gauss0_101=np.array([7, 3, 7, 40]))
    refused("nan is no whole number", chanmask_bad_101=np.array([[3, np.nan, 30]]))
    refused(
        "1000000000000 is no whole number that int32 holds", tickinfo_gauss0_101=np.array([0.0, 500.0, 1e12])
    )
    refused("tickinfo makes no sense", **{f"tickinfo_gauss0_{n}": np.zeros(3) for n in (100, 101)})
    refused("differ in type .* or tick", tickinfo_gauss0_101=np.array([0.0, 512.0, 0.0]))
    refused("differ in type", frame_gauss0_101=np.zeros((4, 30), np.int16))
    refused("objects are refused", frame_gauss0_101=np.array([[{}]], object))
    refused("wanted rows of channel, first and last tick", chanmask_bad_101=np.zeros((2, 2)))
    refused("holds no frame", **{f"frame_gauss0_{n}": None for n in (100, 101)})


def test_a_pickle_in_an_archive_is_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    assert pickle.dumps(Bomb())
    path = save(tmp_path / "f.npz", frames(2) | {"frame_gauss0_100": np.array([Bomb()], object)})
    with pytest.raises(DataError, match="could run any code"):
        WirecellReader(path)
    assert not (tmp_path / "exploded").exists()


def test_flipped_bits_in_an_archive_are_seen(tmp_path):
    path = save(tmp_path / "f.zip", frames(3))
    data = bytearray(path.read_bytes())
    data[200] ^= 0x10  # within the first frame
    path.write_bytes(data)
    with pytest.raises(DataError, match="cannot be read"):
        WirecellReader(path).read([0])
    plain = save(tmp_path / "f.tar", frames(3))
    data = bytearray(plain.read_bytes())
    plain.write_bytes(data[: data.find(b"frame_gauss0_102")])  # cut where a member would begin
    with pytest.raises(DataError, match="missing at byte"):
        WirecellReader(plain)
    at = data.find(b"channels_gauss0_101")
    data[at] ^= 0x01  # the name in a header, whose checksum then is wrong
    plain.write_bytes(data)
    with pytest.raises(DataError, match="cannot be read"):
        WirecellReader(plain)


def test_not_finite_samples_are_named(tmp_path):
    members = frames(3)
    members["frame_gauss0_101"] = members["frame_gauss0_101"].copy()
    members["frame_gauss0_101"][0, 3] = np.nan
    found = list(WirecellReader(save(tmp_path / "f.zip", members)).check())
    assert len(found) == 1
    assert "event 1, field charge/samples/adc: 1 rows are not finite" in found[0]


@pytest.fixture(scope="module")
def protodune_vd(real_data):
    """ProtoDUNE-VD's archive, and its members as tarfile and numpy read them."""
    path = real_data / "protodune_frames" / "protodunevd-sp-frames-anode0.tar.bz2"
    members = {}
    with tarfile.open(path) as archive:
        for member in archive:
            if "wiener" not in member.name:
                members[member.name.removesuffix(".npy")] = np.load(
                    io.BytesIO(archive.extractfile(member).read())
                )
    return path, members


def test_real_frames_are_the_files_without_the_bad_channels(protodune_vd, trace):
    path, members = protodune_vd
    reader = open_reader(path)
    assert type(reader) is WirecellReader
    channels, frame = members["channels_gauss0_339850"], members["frame_gauss0_339850"]
    bad = set(members["chanmask_bad_339850"][:, 0].tolist()) & set(channels.tolist())
    assert bad
    event = reader.read([0]).event(0).parts["charge"]
    good = ~np.isin(channels, list(bad))
    np.testing.assert_array_equal(event["traces"]["channel"], channels[good])
    np.testing.assert_array_equal(event["samples"]["adc"], frame[good].reshape(-1))
    assert reader.lengths("charge").tolist() == [good.sum() * 6400]
    assert reader.provenance["masked_channels"] == [len(bad)]
    assert list(reader.check()) == []


def test_real_frames_convert_without_their_zeros(protodune_vd, converts):
    path, members = protodune_vd
    options = {"zero_pad": 10, "planes": {"U": [0, 475], "V": [952, 1427], "W": [1904, 2487]}}
    store = converts(path, options)
    event = store.read([0]).event(0).parts["charge"]
    channels, frame = members["channels_gauss0_339850"], members["frame_gauss0_339850"]
    good = ~np.isin(channels, members["chanmask_bad_339850"][:, 0])
    assert event["samples"]["adc"].sum(dtype="f8") == pytest.approx(frame[good].sum(dtype="f8"), rel=1e-9)
    assert np.count_nonzero(event["samples"]["adc"]) == np.count_nonzero(frame[good])
    with pytest.raises(RecipeError, match="did you mean 'zero_pad'"):
        open_reader(path, options={"zeropad": 3})


@pytest.mark.parametrize("name", [kind for kind in KINDS if kind != "f.tar"])  # which has no checksums
def test_a_flipped_bit_is_refused_or_without_effect(tmp_path, name):
    rng = np.random.default_rng(11)
    path = save(tmp_path / name, frames())
    whole = bytes(path.read_bytes())
    right = WirecellReader(path).read(range(4)).parts["charge"]
    refused = 0
    for at in rng.integers(0, len(whole), 60).tolist():
        data = bytearray(whole)
        data[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        try:
            reader = WirecellReader(path)
            found = reader.read(range(len(reader))).parts["charge"]
        except DataError:
            refused += 1
            continue
        for table, rows in right.items():
            for column, values in rows.columns.items():
                np.testing.assert_array_equal(found[table].columns[column], values)
    assert refused > 30
