"""Events in every modality: their parts are of one mind. What all generators keep to is in tests/contract."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest
import yaml

from hepfm.errors import DataError, RecipeError
from hepfm_lartpc.generator import LartpcGenerator
from hepfm_lartpc.transport import TransportConfig
from hepfm_lartpc.vertices import CompositionConfig


@pytest.fixture(scope="module")
def wire():
    return LartpcGenerator(LartpcGenerator.Config(detector="wire"), seed=5)


def test_image_charge_light_and_truth_are_of_one_event(wire):
    """A muon's energy, seen four times."""
    particles = [
        {"name": "mu-", "kinetic_mev": 800.0, "direction": (0.2, -1.0, 0.1), "position_mm": (0, 383, 0)}
    ]
    composition = CompositionConfig(sources=[{"kind": "particles", "particles": particles}], nuclear=False)
    generator = LartpcGenerator(wire.config.model_copy(update={"vertices": composition}), seed=1)
    simulated, yields = generator.simulate(0)
    sample = generator.event(0)
    image, truth = sample.parts["image3d"]["voxels"], sample.parts["truth"]["particles"]
    deposited = simulated.deposits.energy_mev.sum()
    below = 1.0  # voxels below the threshold
    assert image["energy_mev"].sum() == pytest.approx(deposited, abs=below)
    assert truth["deposited_mev"].sum() == pytest.approx(deposited, rel=1e-6)
    assert image["electrons"].sum() == pytest.approx(yields.electrons.sum(), rel=0.01)
    # Electrons of the collection plane are those of the image that reach the anode, less what drifts out or
    # lies outside the kept regions.
    charge, labels = sample.parts["charge"], sample.labels["charge"]
    plane = np.repeat(charge["traces"]["plane"], charge["traces"]["n_samples"])
    collected = labels["samples"]["electrons"][plane == 2].sum()
    drift_us = (image["voxel"][:, 0] + 0.5) * 3.0 / 1.6
    surviving = (image["electrons"] * np.exp(-drift_us / 10_000)).sum()
    assert collected == pytest.approx(surviving, rel=0.03)
    # W wires stand along z: the charge of a wire is that of a slice of the image.
    hits = np.bincount(
        np.repeat(charge["traces"]["channel"], charge["traces"]["n_samples"])[plane == 2] - 512,
        weights=labels["samples"]["electrons"][plane == 2],
        minlength=256,
    )
    slices = np.bincount(image["voxel"][:, 2], weights=image["electrons"], minlength=256)
    assert np.corrcoef(hits, slices)[0, 1] > 0.95
    # Light: photons times visibility and efficiency, within the window.
    seen = sample.labels["light"]["samples"]["photoelectrons"].sum()
    expected = yields.photons.sum() * 16 * 0.03 * 100 * 100 / (4 * np.pi * 384**2)  # a crude solid angle
    assert 0.2 * expected < seen < 2 * expected


def test_signals_without_noise_are_told_of_the_same_events(wire):
    """On request; what the digitiser adds to them is its noise and its rounding, on each wire and detector."""
    told = LartpcGenerator(wire.config.model_copy(update={"signal_adc": True}), seed=5)
    assert told.digest() == wire.digest()
    plain, sample = wire.event(1), told.event(1)
    for part, noise in (("charge", 2.2), ("light", 2.0)):
        assert "signal_adc" not in wire.parts[part].tables["samples"]
        assert told.parts[part].tables["samples"]["signal_adc"].label
        for half in ("parts", "labels"):
            for table, columns in getattr(plain, half)[part].items():
                for name, values in columns.items():
                    np.testing.assert_array_equal(getattr(sample, half)[part][table][name], values)
        traces, truth = sample.parts[part]["traces"], sample.labels[part]["samples"]
        pedestal = np.repeat(traces["pedestal_adc"], traces["n_samples"])
        adc, signal = sample.parts[part]["samples"]["adc"], truth["signal_adc"]
        inside = (adc > 0) & (adc < 4095 if part == "charge" else True)
        added = (adc - pedestal - signal)[inside]
        assert signal.max() > 20 * noise  # there is something to be told
        assert added.std() == pytest.approx(np.hypot(noise, 12**-0.5), rel=0.1)
        assert abs(added.mean()) < 0.2
        assert abs(np.corrcoef(added, signal[inside])[0, 1]) < 0.03


def test_the_digest_is_of_all_that_events_depend_on(tmp_path):
    def digest(**changes):
        return LartpcGenerator(LartpcGenerator.Config(**changes), seed=1).digest()

    found = {
        digest(),
        digest(detector="wire"),
        digest(composition="cosmics"),
        digest(transport=TransportConfig(delta_cut_mev=0.4)),
        digest(image_deposits="point"),
    }
    assert len(found) == 5
    assert digest(composition="bombs") == digest()


def test_the_digest_knows_what_files_hold_and_not_where_they_lie(tmp_path):
    """Ids of events follow from it: they outlive a move, and a detector's words about itself."""
    shipped = yaml.safe_load(files("hepfm_lartpc").joinpath("detectors/wire.yaml").read_text())

    def digest(folder, content=b"records", **changes):
        folder.mkdir()
        (folder / "detector.yaml").write_text("# a comment\n" + yaml.safe_dump(shipped | changes))
        (folder / "records.hepmc").write_bytes(content)
        source = {"kind": "file", "path": folder / "records.hepmc"}
        config = {"detector": str(folder / "detector.yaml"), "vertices": {"sources": [source]}}
        return LartpcGenerator(LartpcGenerator.Config(**config), seed=1).digest()

    here = digest(tmp_path / "a")
    about = {"name": "mine", "summary": "renamed", "sources": ["somebody else"]}
    assert digest(tmp_path / "b", **about) == here
    assert digest(tmp_path / "c", content=b"others") != here
    assert digest(tmp_path / "d", field_kv_cm=0.4321) != here


def test_point_deposits_hold_the_same_energy():
    path, point = (
        LartpcGenerator(LartpcGenerator.Config(image_deposits=how), seed=2, parts=["image3d"]).event(1)
        for how in ("path", "point")
    )
    energies = [s.parts["image3d"]["voxels"]["energy_mev"].sum() for s in (path, point)]
    assert energies[0] == pytest.approx(energies[1], rel=0.01)
    assert len(path.parts["image3d"]["voxels"]["energy_mev"]) > len(
        point.parts["image3d"]["voxels"]["energy_mev"]
    )


@pytest.mark.parametrize("part", ["charge", "images"])
def test_a_part_that_the_detector_lacks_is_refused(part):
    with pytest.raises(RecipeError, match=f"no part '{part}'"):
        LartpcGenerator(LartpcGenerator.Config(), seed=1, parts=[part])


def test_an_unknown_composition_is_met_with_known_ones():
    with pytest.raises(RecipeError, match="geant4-sample"):
        LartpcGenerator(LartpcGenerator.Config(composition="geant4"), seed=1)


def test_a_missing_file_of_records_is_said():
    vertices = CompositionConfig(sources=[{"kind": "file", "path": "/none/records.hepmc3"}])
    generator = LartpcGenerator(LartpcGenerator.Config(vertices=vertices), seed=1)
    with pytest.raises(DataError, match="cannot be read: No such file") as raised:
        generator.digest()
    assert raised.value.where == "/none/records.hepmc3"
