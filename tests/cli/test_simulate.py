"""``hepfm simulate``: its options are the generator's, and no event is lost or doubled on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hepfm.cli.simulate import app
from hepfm.data.generator import GeneratedEvents
from hepfm.errors import DataError, PluginError, RecipeError
from hepfm.readers.plan import SIMULATION, claimed
from hepfm.readers.store import StoreReader

pytestmark = pytest.mark.usefixtures("tracks_plugin")


def run(*words, fails=None):
    """Runs ``hepfm simulate``; gives its output, or the error where it should fail."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    if fails is int:
        assert result.exit_code == 2, (result.exception, result.output)
        return result.output
    if fails is not None:
        assert isinstance(result.exception, fails), (result.exception, result.output)
        return result.exception
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


@pytest.fixture
def process(tracks_plugin):
    """Starts ``hepfm simulate`` as a user does."""

    def start(*words, **env):
        path = os.pathsep.join(filter(None, (str(tracks_plugin), os.environ.get("PYTHONPATH"))))
        fixed = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "140", "RAY_ADDRESS": ""}
        environment = {**os.environ, **fixed, **env}
        environment = {name: value for name, value in environment.items() if value}
        return subprocess.Popen(
            [sys.executable, "-m", "hepfm", "simulate", *map(str, words)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def ids_of(folder):
    with StoreReader(Path(folder)) as reader:
        return reader.event_ids().tolist()


def wanted_ids(first, events, *, seed=1, **options):
    source = GeneratedEvents("tracks", options, seed=seed)
    return [source.event_id(index) for index in range(first, first + events)]


def test_the_list_of_generators_imports_none_of_them(process):
    code = (
        "import sys\nsys.argv = ['hepfm', 'simulate', '--help']\n"
        "from hepfm.cli.main import app\n"
        "try: app()\nexcept SystemExit: pass\n"
        "loaded = {'hepfm_tracks.generator', 'torch', 'ray', 'h5py', 'numpy'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    path = os.pathsep.join(
        filter(None, (str(Path(__file__).parents[1] / "plugins" / "tracks"), os.environ.get("PYTHONPATH")))
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "140"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "tracks" in done.stdout
    assert "Straight muons in a cube of argon." in done.stdout


def test_options_are_those_of_the_generator(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    shown = run("tracks", "--help")
    for words in (
        "--voxel-mm",
        "Edge of a voxel.",
        "moyal|none",
        "--no-forward",
        "--shard-events",
        "--calibration",
    ):
        assert words in shown
    assert "--noise" not in shown
    assert "--set noise.OPTION=VALUE" in shown  # a section: told, but no flag
    collider = run("collider", "--help")
    assert "hepfm[collider]" in collider  # what stands in brackets is no markup
    assert "--set 'pt_gev=[500.0, 1000.0]': Least and greatest transverse momentum" in collider


def test_a_store_holds_the_events_asked_for(tmp_path):
    out = tmp_path / "out"
    words = ("tracks", "--events", 20, "--first", 5, "--seed", 4, "--shard-events", 8, "--workers", 0)
    options = ("--grid", 16, "--straggling", "none", "--forward", "--set", "noise.voxels=1.5")
    shown = run(*words, *options, "--out", out, "--parts", "image3d")
    assert "20 events written" in shown
    assert "events/s" in shown
    given = {"grid": 16, "straggling": "none", "forward": True, "noise": {"voxels": 1.5}}
    assert ids_of(out) == wanted_ids(5, 20, seed=4, **given)
    reader = StoreReader(out)
    assert set(reader.parts) == {"image3d"}
    assert reader.provenance["configuration"]["noise"] == {"voxels": 1.5, "energy_mev": 0.3}
    assert "nothing to do" in run(*words, *options, "--out", out, "--parts", "image3d")
    refused = run(*words, *options, "--out", out, fails=DataError)
    assert "another simulation: other parts" in str(refused)


def test_a_file_that_is_given_is_found_by_other_processes_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("calibration.txt").write_text("2.0")
    for out, given in (("a", "./calibration.txt"), ("b", "calibration.txt")):
        run("tracks", "--events", 1, "--grid", 16, "--workers", 0, "--out", out, "--calibration", given)
        with StoreReader(tmp_path / out) as reader:
            assert reader.provenance["configuration"]["calibration"] == str(tmp_path / "calibration.txt")


def test_json_says_what_was_made(tmp_path):
    out = tmp_path / "out"
    words = ("tracks", "--events", 3, "--grid", 16, "--workers", 0, "--out", out, "--json")
    found = json.loads(run(*words))
    assert (found["events"], found["written"], found["parts"]) == (3, 3, ["image3d", "muons"])
    assert found["configuration"]["grid"] == 16
    assert json.loads(run(*words))["written"] == 0


@pytest.mark.parametrize(
    ("words", "kind", "why"),
    [
        (("--events", 0), int, "greater than or equal to 1"),
        (("--first", 99999999999999999999), int, "less than or equal to 4611"),
        (("--seed", 2**63), int, "less than or equal to 4611"),
        (("--grid", 4), RecipeError, "grid is 4; wanted: 8 or more"),
        (("--grid", "wide"), int, "a valid integer"),
        (("--set", "grd=16"), RecipeError, "did you mean 'grid'"),
        (("--set", "grid"), RecipeError, "not an override"),
        (("--set", "muons=3", "--muons", 2), RecipeError, "'muons' is given twice"),
        (("--parts", "image3d,muon"), RecipeError, "did you mean 'muons'"),
        (("--parts", "muons,,muons"), RecipeError, "twice or not at all"),
        (("--calibration", "./none.txt"), RecipeError, "no such calibration"),
        (("--workers", 0, "--address", "auto"), RecipeError, "uses no Ray"),
        (("--fail-at", 2), PluginError, "ZeroDivisionError: a mistake"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, monkeypatch, words, kind, why):
    monkeypatch.setenv("COLUMNS", "160")
    start = ("tracks", "--events", 5, "--out", tmp_path / "out", "--workers", 0)
    assert why.lower() in str(run(*start, *words, fails=kind)).lower()
    assert not list(tmp_path.glob("out/*.h5"))


def test_an_unknown_generator_gets_a_hint(tmp_path):
    assert "did you mean 'tracks'" in str(run("track", "--events", 5, "--out", tmp_path, fails=PluginError))


def test_a_killed_simulation_goes_on(tmp_path, process):
    """kill -9 at some moment: what is there is refused as unfinished, and a second run completes it exactly."""
    out = tmp_path / "out"
    words = ("tracks", "--events", 4000, "--shard-events", 40, "--workers", 0, "--out", out, "--grid", 32)
    killed = process(*words)
    deadline = time.monotonic() + 60
    while len(list(out.glob("*.h5"))) < 2 and time.monotonic() < deadline and killed.poll() is None:
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.h5")}
    assert 2 <= len(before) < 100, "the kill came at no useful moment"
    (out / "00099.h5.partial").write_bytes(b"half a shard")
    with pytest.raises(DataError, match="the simulation is not finished"):
        StoreReader(out)
    assert "another simulation: other seed" in str(run(*words, "--seed", 2, fails=DataError))
    with pytest.warns(UserWarning, match="was not finished and is dropped"):
        run(*words)
    assert ids_of(out) == wanted_ids(0, 4000, grid=32)
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("*.h5")}
    assert before.items() <= after.items(), "finished shards were written again"
    assert list(StoreReader(out).check()) == []


def test_a_second_simulation_into_one_folder_is_refused_and_the_first_one_named(tmp_path, process):
    out = tmp_path / "out"
    words = ("tracks", "--events", 4000, "--shard-events", 40, "--workers", 0, "--out", out, "--grid", 32)
    first = process(*words)
    deadline = time.monotonic() + 60
    while not list(out.glob("*.h5")) and time.monotonic() < deadline and first.poll() is None:
        time.sleep(0.002)
    first.send_signal(signal.SIGSTOP)
    try:
        refused = run(*words, fails=DataError)
        assert "another process fills this folder with a simulation" in refused.what
        assert f'"pid": {first.pid}' in refused.where
    finally:
        first.kill()
        first.communicate()
    before = len(list(out.glob("*.h5")))
    assert 0 < before < 100, "the stop came at no useful moment"
    with claimed(out, SIMULATION):  # the dead let go
        pass


def test_ctrl_c_ends_it_with_a_word_on_how_it_goes_on(tmp_path, process):
    out = tmp_path / "out"
    begun = process("tracks", "--events", 4000, "--shard-events", 40, "--workers", 0, "--out", out)
    deadline = time.monotonic() + 60
    while not list(out.glob("*.h5")) and time.monotonic() < deadline and begun.poll() is None:
        time.sleep(0.01)
    begun.send_signal(signal.SIGINT)
    stderr = begun.communicate(timeout=60)[1]
    assert begun.returncode == 130, stderr
    assert "the same command goes on" in stderr
    assert "Traceback" not in stderr or "Exception ignored" in stderr  # in a callback of Python's own
    assert 0 < len(list(out.glob("*.h5"))) < 100


@pytest.mark.parametrize(
    ("words", "env", "where"),
    [
        (("--address", "127.0.0.1:9"), "", "--address"),
        (("--address", "127.0.0.1:9", "--events", 1), "", "--address"),
        (("--shard-events", 2), "127.0.0.1:9", "RAY_ADDRESS"),
        (("--workers", 1), "127.0.0.1:9", "RAY_ADDRESS"),
    ],
)
def test_a_ray_that_is_not_there_is_refused_before_anything_is_made(tmp_path, monkeypatch, words, env, where):
    monkeypatch.setenv("RAY_ADDRESS", env)
    refused = run("tracks", "--events", 5, "--out", tmp_path / "out", *words, fails=RecipeError)
    assert refused.what == "No Ray cluster answers at '127.0.0.1:9': nothing listens there."
    assert refused.where == where
    assert not (tmp_path / "out").exists()


def test_without_ray_its_address_is_not_looked_at(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    for name, words in (("one", ()), ("none", ("--workers", 0, "--shard-events", 2))):
        run("tracks", "--events", 5, "--grid", 16, "--out", tmp_path / name, *words)
        assert len(ids_of(tmp_path / name)) == 5


def test_a_failed_run_does_not_block_its_own_mending(tmp_path):
    words = ("tracks", "--events", 60, "--grid", 16, "--workers", 0, "--out", tmp_path / "out")
    run(*words, "--fail-at", 0, "--shard-events", 60, fails=PluginError)
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.exception
    assert "nothing was finished" in result.stderr
    assert ids_of(tmp_path / "out") == wanted_ids(0, 60, grid=16)
    assert len(list((tmp_path / "out").glob("*.h5"))) == 4  # of 16, so that a kill loses no more


def test_a_full_disk_is_said_and_the_same_command_goes_on(tmp_path, process):
    out = tmp_path / "out"
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=260k", "hepfm-test", str(out)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("file systems may not be mounted here")
    words = ("tracks", "--events", 300, "--shard-events", 100, "--workers", 0, "--out", out)
    try:
        full = process(*words)
        stderr = full.communicate(timeout=120)[1]
        assert full.returncode == 3, stderr
        assert "cannot be written: No space left on device" in stderr
        assert "2 of 3 shards were not written" in stderr  # the one that failed, and the one after it
        assert "bytes are free there" in stderr
        assert "run the same command again" in stderr
        assert "Traceback" not in stderr
        assert sorted(path.name for path in out.iterdir()) == ["00000.h5", "simulate.json"]
        subprocess.run(["mount", "-o", "remount,size=9m", str(out)], check=True)
        again = process(*words)
        again.communicate(timeout=120)
        assert again.returncode == 0
        assert ids_of(out) == wanted_ids(0, 300)
        assert list(StoreReader(out).check()) == []
    finally:
        subprocess.run(["umount", "--lazy", str(out)], check=True)


@pytest.mark.ray
def test_ray_makes_the_same_files_and_goes_on_past_a_bad_one(tmp_path, process):
    words = ("tracks", "--events", 50, "--shard-events", 10, "--grid", 24, "--fail-at", 17)
    for out, workers in ((tmp_path / "alone", 0), (tmp_path / "ray", 2)):
        done = process(*words, "--out", out, "--workers", workers)
        stderr = done.communicate(timeout=180)[1]
        assert done.returncode == 4, stderr
        assert "1 of 5 shards were not written" in stderr
        assert "ZeroDivisionError: a mistake" in stderr
        assert "generator tracks, seed 1, event 17" in stderr
        assert "Traceback" not in stderr
    names = [f"{k:05d}.h5" for k in (0, 2, 3, 4)]
    for name in names:
        one, two = StoreReader(tmp_path / "alone" / name), StoreReader(tmp_path / "ray" / name)
        assert (one.digest(), one.provenance) == (two.digest(), two.provenance)
    assert not (tmp_path / "ray" / "00001.h5").exists()
    assert not (tmp_path / "alone" / "00001.h5").exists()
