"""Padded HDF5 (JetNet, OmniLearn) and jet images: what is read are the rows that are no padding, as they were."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from hepfm.errors import DataError
from hepfm.readers.sniff import open_reader
from hepfm.testing import reader_contract
from hepfm_structured.jet_images import JetImagesReader
from hepfm_structured.jetnet import JetnetReader
from hepfm_structured.omnilearn import OmnilearnReader
from hepfm_structured.schema import fields_of


def jetnet(path, n=25, m=30, **change):
    rng = np.random.default_rng(4)
    particles = rng.normal(0, 0.1, (n, m, 4)).astype("f4")
    counts = rng.integers(1, m + 1, n)
    counts[2] = 0
    particles[..., 2] = np.sort(rng.uniform(0, 1, (n, m)))[:, ::-1]
    particles[..., 3] = np.arange(m) < counts[:, None]
    particles[particles[..., 3] == 0] = 0
    jets = np.column_stack([rng.uniform(800, 1600, n), rng.normal(0, 1, n), rng.uniform(50, 200, n), counts])
    arrays = {"particle_features": particles, "jet_features": jets.astype("f4")}
    for name, how in change.items():
        arrays[name] = how(arrays[name])
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            if values is not None:
                file[name] = values
    return arrays, counts


def test_jetnet(tmp_path):
    arrays, counts = jetnet(tmp_path / "t150.hdf5", m=150)
    reader = open_reader(tmp_path / "t150.hdf5")
    assert type(reader) is JetnetReader
    np.testing.assert_array_equal(reader.lengths("structured"), counts)
    batch = reader.read(range(25))
    for k in range(25):
        event = batch.event(k)
        rows, jet = (event.parts["structured"][table] for table in ("particles", "event"))
        for column, name in enumerate(("etarel", "phirel", "ptrel")):
            np.testing.assert_array_equal(rows[name], arrays["particle_features"][k, : counts[k], column])
        for column, name in enumerate(("pt", "eta", "mass", "num_particles")):
            assert jet[name] == arrays["jet_features"][k, column]
        assert event.labels["structured"]["event"]["type"] == 2  # top, as the file's name says
    kinds = {n: how["kind"] for n, how in fields_of(reader.parts["structured"])["particles"].items()}
    assert kinds == {"etarel": "continuous", "phirel": "continuous", "ptrel": "positive"}
    reader_contract(JetnetReader, tmp_path / "t150.hdf5")


def test_jetnet_without_type_or_jets(tmp_path):
    path = tmp_path / "mine.h5"
    jetnet(path, jet_features=lambda _: None)
    assert set(JetnetReader(path).parts["structured"].tables) == {"particles"}
    config = JetnetReader.Config(jet_type="w")
    assert JetnetReader(path, config).read([0]).labels["structured"]["event"].columns["type"] == [3]
    reader_contract(JetnetReader, path)
    with pytest.raises(DataError, match=r"no jet type 'ww'(.|\n)*did you mean 'w'"):
        JetnetReader(path, JetnetReader.Config(jet_type="ww"))


def test_jetnet_bad_files(tmp_path):
    def half(particles):
        particles[6, 0, 3] = 0.5
        return particles

    def infinite(particles):
        particles[5, 0, 1], particles[6, 0, 1] = np.inf, np.nan  # NaN is what is not known
        return particles

    jetnet(tmp_path / "mask.h5", particle_features=half)
    with pytest.raises(DataError, match=r"the mask is 0.5, not 0 or 1") as error:
        JetnetReader(tmp_path / "mask.h5").read([0])
    assert "event 6" in error.value.where
    [sentence] = JetnetReader(tmp_path / "mask.h5").check()
    assert "event 6" in sentence
    jetnet(tmp_path / "infinite.h5", particle_features=infinite)
    [sentence] = JetnetReader(tmp_path / "infinite.h5").check()
    assert "event 5, field structured/particles/phirel: 1 rows are infinite" in sentence
    jetnet(tmp_path / "large.h5", particle_features=lambda p: p.astype("f8") * np.array([1, 1, 1e300, 1]))
    assert all("rows are infinite" in sentence for sentence in JetnetReader(tmp_path / "large.h5").check())
    jetnet(tmp_path / "three.h5", particle_features=lambda p: p[..., :3])
    with pytest.raises(DataError, match=r"wanted shape \('any', 'any', 4\), found \(25, 30, 3\)"):
        JetnetReader(tmp_path / "three.h5")
    jetnet(tmp_path / "less.h5", jet_features=lambda j: j[:-1])
    with pytest.raises(DataError, match=r"wanted shape \(25, 4\), found \(24, 4\)"):
        JetnetReader(tmp_path / "less.h5")


def omnilearn(path, n=20, m=12, width=9, one_hot=False, **change):
    rng = np.random.default_rng(5)
    data = rng.normal(0, 0.3, (n, m, width))
    data[..., 2:4] = rng.uniform(-1, 6, (n, m, 2))
    if width > 4:
        data[..., 4] = rng.integers(0, 9, (n, m))
    counts = rng.integers(0, m + 1, n)
    padding = np.arange(m) >= counts[:, None]
    data[padding] = 0
    if width > 4:
        data[padding, 4] = 3  # a class of padding that is not 0, as searchsorted gives
    label = rng.integers(0, 3, n)
    pid = np.eye(3)[label] if one_hot else label
    arrays = {"data": data.astype("f4"), "pid": pid, "global": rng.normal(0, 1, (n, 4)).astype("f4")}
    for name, how in change.items():
        arrays[name] = how(arrays[name])
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return arrays, counts, label


@pytest.mark.parametrize(("width", "one_hot"), [(4, True), (5, False), (9, False), (7, True)])
def test_omnilearn(tmp_path, width, one_hot):
    path = tmp_path / "jets.h5"
    arrays, counts, label = omnilearn(path, width=width, one_hot=one_hot)
    config = OmnilearnReader.Config(classes=("QCD", "top", "W"), order="")
    assert type(open_reader(path)) is OmnilearnReader
    reader = OmnilearnReader(path, config)
    np.testing.assert_array_equal(reader.lengths("structured"), counts)
    batch = reader.read(range(20))
    rows = batch.parts["structured"]["particles"]
    real = np.concatenate([arrays["data"][k, : counts[k]] for k in range(20)]).astype("f8")
    np.testing.assert_array_equal(rows.columns["deta"], real[:, 0].astype("f4"))
    np.testing.assert_allclose(rows.columns["pt"], np.exp(real[:, 2]), rtol=1e-6)
    np.testing.assert_allclose(rows.columns["energy"], np.exp(real[:, 3]), rtol=1e-6)
    names = list(rows.columns)[4:]
    assert names == {4: [], 5: ["pid"], 9: ["pid", "tanh_d0", "d0_error", "tanh_dz", "dz_error"]}.get(
        width, ["feature_4", "feature_5", "feature_6"]
    )
    for k, name in enumerate(names):
        np.testing.assert_array_equal(rows.columns[name], real[:, 4 + k].astype("f4"))
    np.testing.assert_array_equal(batch.labels["structured"]["event"].columns["label"], label)
    np.testing.assert_array_equal(
        batch.parts["structured"]["event"].columns["global_3"], arrays["global"][:, 3]
    )
    sorted_rows = OmnilearnReader(path).read(range(20)).parts["structured"]["particles"]["pt"]
    for k in range(20):
        np.testing.assert_array_equal(sorted_rows[k], np.sort(rows["pt"][k])[::-1])
    reader_contract(OmnilearnReader, path, config)


def test_omnilearn_bad_files(tmp_path):
    path = tmp_path / "bad.h5"

    def minus(pid):
        pid[4] = -1
        return pid

    omnilearn(path, data=lambda data: data[..., :3])
    with pytest.raises(DataError, match=r"wanted 4 features or more"):
        OmnilearnReader(path)
    path = tmp_path / "minus.h5"
    omnilearn(path, pid=minus)
    with pytest.raises(DataError, match=r"wanted a class from 0 to 32767, found -1") as error:
        OmnilearnReader(path).read([0])
    assert "event 4, field pid" in error.value.where
    path = tmp_path / "hot.h5"
    omnilearn(path, one_hot=True, pid=lambda hot: hot * (np.arange(20) != 7)[:, None])
    with pytest.raises(DataError, match=r"wanted a 1 among zeros, found \[0.0, 0.0, 0.0\]") as error:
        OmnilearnReader(path).read([0])
    assert "event 7, field pid" in error.value.where
    path = tmp_path / "column.h5"
    _, _, label = omnilearn(path, pid=lambda pid: pid[:, None])
    labels = OmnilearnReader(path).read(range(20)).labels["structured"]["event"].columns["label"]
    np.testing.assert_array_equal(labels, label)
    with h5py.File(path, "r+") as file:
        del file["pid"]
    with pytest.raises(DataError, match=r"a field is missing"):
        OmnilearnReader(path)
    path = tmp_path / "good.h5"
    omnilearn(path)
    with pytest.raises(DataError, match=r"option features: the name 'pt' is there already"):
        OmnilearnReader(path, OmnilearnReader.Config(features=("pt", "a", "b", "c", "d")))
    with pytest.raises(DataError, match=r"option globals: the name 'label' is there already"):
        OmnilearnReader(path, OmnilearnReader.Config(globals=("label", "a", "b", "c")))
    with pytest.raises(DataError, match=r"option features has 2 names, the file 5 features"):
        OmnilearnReader(path, OmnilearnReader.Config(features=("pid", "d0")))
    with pytest.raises(DataError, match=r"option globals has 1 names, the file 4"):
        OmnilearnReader(path, OmnilearnReader.Config(globals=("mass",)))
    with pytest.raises(DataError, match=r"no column 'ptt'(.|\n)*did you mean 'pt'"):
        OmnilearnReader(path, OmnilearnReader.Config(order="ptt"))


def test_jet_images_are_rebuilt_from_their_pixels(real_data):
    path = real_data / "jets" / "jet_images_qcd_top.h5"
    reader = open_reader(path)
    assert type(reader) is JetImagesReader
    with h5py.File(path) as file:
        images = np.concatenate([file["QCD"][..., 0], file["TT"][..., 0]])
        n_qcd = len(file["QCD"])
    assert reader.parts["structured"].attributes["grid"] == [30, 30]
    picked = [4020, 0, 2643, 2644, 1023, 1024, 3000]
    batch = reader.read(picked)
    for k, event in enumerate(picked):
        pixels = batch.event(k).parts["structured"]["pixels"]
        image = np.zeros((30, 30), "f4")
        image[pixels["x"], pixels["y"]] = pixels["value"]
        np.testing.assert_array_equal(image, images[event])
        label = batch.event(k).labels["structured"]["event"]["label"][0]
        assert reader.parts["structured"].vocabularies["label"][label].name == (
            "QCD" if event < n_qcd else "TT"
        )
    np.testing.assert_array_equal(reader.lengths("structured"), (images != 0).sum((1, 2)))
    assert list(reader.check()) == []
    reader_contract(JetImagesReader, path)


def test_jet_images_bad_files(tmp_path):
    path = tmp_path / "images.h5"

    def write(**arrays):
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file[name] = values
        return path

    good = np.zeros((4, 8, 8), "f4")
    assert JetImagesReader(write(a=good, b=good[..., None])).lengths("structured").tolist() == [0] * 8
    for other in (np.zeros((4, 9, 9), "f4"), np.zeros((4, 8, 8, 3), "f4"), np.zeros(4)):
        assert not JetImagesReader.sniff(write(a=good, b=other))
        with pytest.raises(DataError, match=r"the images differ in size|wanted shape|found 1 axes"):
            JetImagesReader(path)
    with pytest.raises(DataError, match=r"holds nothing"):
        JetImagesReader(write())
