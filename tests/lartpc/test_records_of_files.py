"""Events that begin with records of a file: training and validation apart, and what was skipped is told."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from hepfm.cli.data.inspect import inspect
from hepfm.cli.simulate import app as simulate_app
from hepfm.data.source import check_apart, open_source
from hepfm.errors import DataError, RecipeError
from hepfm.readers.layout import COUNTS
from hepfm.readers.store import StoreReader
from hepfm.recipe.schema import Generated, Part

IMAGE = {"image3d": Part(kind="image3d")}


@pytest.fixture
def gibuu(real_data):
    return real_data / "gibuu" / "EventOutput.Pert.00000001.root"


def drawn(*files, seed=1, **source):
    sources = [{"kind": "file", "path": str(file), "unknown": "skip", **source} for file in files]
    vertices = {"sources": [*sources, {"kind": "cosmics"}]}
    return open_source(Generated(generator="lartpc", events=10, seed=seed, vertices=vertices), parts=IMAGE)


def test_validation_on_records_that_are_trained_on_is_refused_whatever_the_seed(gibuu, tmp_path):
    copy = tmp_path / "copy.root"
    copy.write_bytes(gibuu.read_bytes())
    other = tmp_path / "other.root"
    other.write_bytes(gibuu.read_bytes() + b"\0")
    for val in (drawn(gibuu, seed=2), drawn(copy, seed=2), drawn(gibuu, seed=2, share=(0.8, 1))):
        with pytest.raises(DataError, match="records of a file that training") as refused:
            check_apart(drawn(gibuu, share=(0, 0.9)), val)
        assert "share" in refused.value.fix
    check_apart(drawn(gibuu, share=(0, 0.9)), drawn(copy, seed=2, share=(0.9, 1)))
    check_apart(drawn(gibuu), drawn(other, seed=2))
    with pytest.raises(DataError, match="records of a file"):
        check_apart(drawn(other, gibuu), drawn(gibuu, seed=2))


def test_a_recipe_that_does_so_is_no_valid_one(gibuu, tmp_path):
    def validate(share):
        val = json.dumps({"kind": "file", "path": str(gibuu), "share": share})
        train = json.dumps({"kind": "file", "path": str(gibuu), "share": [0, 0.9]})
        (tmp_path / "drawn.yaml").write_text(
            "extends: image3d/masked-tiny\nname: drawn\ndata:\n"
            f"  train: {{generator: lartpc, events: 9, seed: 1, vertices: {{sources: [{train}]}}}}\n"
            f"  val: {{generator: lartpc, events: 9, seed: 2, vertices: {{sources: [{val}]}}}}\n"
        )
        return CliRunner().invoke(recipe_app(), ["validate", str(tmp_path / "drawn.yaml")])

    assert isinstance(validate([0, 1]).exception, DataError)
    done = validate([0.9, 1])
    assert done.exit_code == 0, done.exception
    assert "is a valid recipe" in done.output


def recipe_app():
    from hepfm.cli.recipe import app

    return app


@pytest.mark.parametrize(
    ("val", "error", "why"),
    [
        ("{generator: lartpc, events: 9, seed: 1}", DataError, "seed 1, event 0"),
        ("{generator: lartpc, events: 9, seed: 2, detector: cub}", RecipeError, "did you mean 'cube'"),
    ],
)
def test_validating_a_recipe_asks_its_generators(tmp_path, val, error, why):
    (tmp_path / "drawn.yaml").write_text(
        "extends: image3d/masked-tiny\nname: drawn\n"
        f"data: {{train: {{generator: lartpc, events: 9, seed: 1}}, val: {val}}}\n"
    )
    done = CliRunner().invoke(recipe_app(), ["validate", str(tmp_path / "drawn.yaml")])
    assert isinstance(done.exception, error)
    assert why in str(done.exception)


def simulate(*words):
    done = CliRunner().invoke(simulate_app, ["lartpc", *map(str, words)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_skipped_particles_are_told_at_the_end_and_by_the_store(gibuu, tmp_path):
    source = json.dumps({"kind": "file", "path": str(gibuu), "unknown": "skip", "pick": "in-order"})
    words = ("--parts", "truth", "--workers", 0, "--shard-events", 2, "--first", 15, "--events", 4)
    words += ("--set", f"vertices={{sources: [{source}]}}", "--set", "transport.nuclear=false")
    done = simulate(*words, "--out", tmp_path / "out")
    told = "particles skipped, PDG number 4122: 1"  # of record 16, see test_records
    assert told in done.output
    with StoreReader(tmp_path / "out") as reader:
        assert reader.provenance[COUNTS]["particles skipped, PDG number 4122"] == 1
        assert reader.provenance["configuration"]["composition"] is None  # it begins with the file
    with StoreReader(tmp_path / "out" / "00001.h5") as reader:
        assert COUNTS not in reader.provenance  # events 17 and 18 lost none
    assert told in simulate(*words, "--out", tmp_path / "out").output
    shown = CliRunner().invoke(inspect_app(), [str(tmp_path / "out")])
    assert "PDG number 4122" in shown.output


def inspect_app():
    import typer

    shell = typer.Typer()
    shell.command()(inspect)
    return shell


def test_a_composition_beside_vertices_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="leave one out"):
        simulate(
            "--events", 1, "--out", tmp_path / "out", "--composition", "cosmics",
            "--set", "vertices={sources: [{kind: cosmics}]}",
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_doubts_about_a_detector_are_warnings_before_the_first_event(tmp_path):
    (tmp_path / "small.yaml").write_text(
        "name: small\nsources: [made up]\nlow_mm: [-99, -99, -99]\nhigh_mm: [99, 99, 99]\n"
        "tpcs: [{low_mm: [-99, -99, -99], high_mm: [99, 99, 99], anode: x+}]\n"
        "image: {origin_mm: [-99, -99, -99], grid: [66, 66, 60]}\n"
    )
    words = ("--events", 1, "--workers", 0, "--parts", "image3d", "--out", tmp_path / "out")
    done = simulate(*words, "--detector", tmp_path / "small.yaml")
    assert "warning: image: voxels reach from -99 to 81 mm in z" in done.stderr


def test_steps_that_would_fill_the_memory_are_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"max_step_mm is 1e-06; wanted: 0\.005 or more"):
        simulate("--events", 1, "--out", tmp_path / "out", "--set", "transport.max_step_mm=1e-6")
