"""Run folders: names that stay inside, files that survive a kill, one trainer at a time, and finding a run."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepfm.errors import RecipeError, TrainingError
from hepfm.tracking.runs import STOP_NOW, RunDir, create_run, find_run


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


def test_a_new_run_has_its_recipe_and_no_results(tmp_path):
    run = create_run(tmp_path / "deep" / "runs", "tiny", "name: tiny\n", parent="other-12345678")
    assert re.fullmatch(r"tiny-[0-9a-f]{8}", run.name)
    assert run.recipe_path.read_text() == "name: tiny\n"
    content = run.json()
    assert content["run_dir"] == str(run.path)
    assert content["parent"] == "other-12345678"
    results = (
        "run_id",
        "checkpoint",
        "steps",
        "train_loss",
        "val_loss",
        "val_loss_baseline",
        "weights_sha256",
    )
    assert all(content[key] is None for key in results)


@given(st.text(max_size=90))
def test_no_name_leads_out_of_the_folder(tmp_path_factory, name):
    root = tmp_path_factory.getbasetemp() / "names"
    try:
        run = create_run(root, name, "")
    except RecipeError:
        assert not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", name)
    else:
        assert run.path.parent == root.resolve()


@pytest.mark.parametrize("name", ["../x", "/x", ".x", "", "a/b", "a\n", "a" * 81])
def test_bad_names_are_refused(tmp_path, name):
    with pytest.raises(RecipeError, match="cannot be a run's name"):
        create_run(tmp_path / "runs", name, "")
    assert not (tmp_path / "runs").exists()


def test_run_json_is_whole_after_any_kill(tmp_path):
    run = create_run(tmp_path, "tiny", "")
    code = (
        "import sys\nfrom pathlib import Path\nfrom hepfm.tracking.runs import RunDir\n"
        "run = RunDir(Path(sys.argv[1]))\nprint('ready', flush=True)\n"
        "for i in range(10**9): run.update(steps=i, filler='x' * 100_000)"
    )
    last = -1
    for wait in (0.0, 0.011, 0.023, 0.037, 0.05):
        process = start(code, run.path)
        process.stdout.readline()
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        steps = json.loads((run.path / "run.json").read_bytes())["steps"]
        last = max(last, -1 if steps is None else steps)
    assert last > 0
    run.update(steps=7)
    assert run.json()["steps"] == 7


def test_updates_at_the_same_time_are_all_kept(tmp_path):
    run = create_run(tmp_path, "tiny", "")
    threads = [
        threading.Thread(target=lambda i=i: [run.update(**{f"field_{i}_{j}": j}) for j in range(10)])
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = run.json()
    assert all(content[f"field_{i}_{j}"] == j for i in range(4) for j in range(10))


def test_a_run_is_trained_once_and_a_dead_trainer_frees_it(tmp_path):
    run = create_run(tmp_path, "tiny", "")
    code = (
        "import sys\nfrom pathlib import Path\nfrom hepfm.tracking.runs import RunDir\n"
        "with RunDir(Path(sys.argv[1])).lock():\n    print('locked', flush=True)\n    sys.stdin.read()"
    )
    trainer = subprocess.Popen(
        [sys.executable, "-c", code, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert trainer.stdout.readline() == "locked\n"
    with pytest.raises(TrainingError, match="trained already") as refused, run.lock():
        pass
    assert f'"pid": {trainer.pid}' in refused.value.where
    trainer.send_signal(signal.SIGKILL)
    trainer.communicate()
    with run.lock():
        assert json.loads((run.path / "lock").read_text())["pid"] == os.getpid()


def test_a_lock_that_another_process_holds_is_waited_for_with_patience(tmp_path):
    run = create_run(tmp_path, "tiny", "")
    with ExitStack() as other:
        other.enter_context(run.lock())
        threading.Timer(0.5, other.close).start()
        begin = time.monotonic()
        with run.lock(patience_s=60.0):
            assert 0.4 < time.monotonic() - begin < 30
    with run.lock():
        begin = time.monotonic()
        with pytest.raises(TrainingError, match="trained already"), run.lock(patience_s=0.3):
            pass
        assert 0.3 < time.monotonic() - begin < 30
        ends = iter((False, False, True))
        with pytest.raises(TrainingError), run.lock(patience_s=60.0, unless=lambda: next(ends)):
            pass
        assert time.monotonic() - begin < 30


def test_an_error_of_the_training_passes_through_the_lock(tmp_path):
    run = create_run(tmp_path, "tiny", "")
    with pytest.raises(BlockingIOError), run.lock():
        raise BlockingIOError


def test_a_run_is_found_by_any_of_its_names(tmp_path, monkeypatch):
    run = create_run(tmp_path, "tiny", "")
    other = create_run(tmp_path, "wide", "")
    run.update(run_id="feed" * 8)
    identity = run.json()["id"]
    monkeypatch.chdir(tmp_path)
    for name in (
        str(run.path),
        run.name,
        f"./{run.name}",
        identity,
        identity[:7],
        "tin",
        "feed" * 8,
        "feedfe",
    ):
        assert find_run(name, tmp_path).path == run.path, name
    assert find_run("w", tmp_path).path == other.path


def test_of_two_runs_the_exact_name_wins_and_a_prefix_of_both_is_refused(tmp_path):
    first, second = create_run(tmp_path, "tiny", ""), create_run(tmp_path, "tiny", "")
    first.update(run_id="abc")
    second.update(run_id="abcd")
    assert find_run("abc", tmp_path).path == first.path
    with pytest.raises(RecipeError, match="could be 2 runs") as refused:
        find_run("tiny", tmp_path)
    assert first.name in refused.value.fix
    assert second.name in refused.value.fix
    longer = create_run(tmp_path, "tiny-long", "")
    job = tmp_path / "tiny-light"  # as a job is called: without an id
    shutil.copytree(first.path, job)
    with pytest.raises(RecipeError, match="could be 2 runs"):
        find_run("tiny", tmp_path)
    other = create_run(tmp_path, "ti", "")
    assert find_run("ti", tmp_path).path == other.path
    assert find_run("tiny-long", tmp_path).path == longer.path


def test_an_unknown_run_lists_the_newest(tmp_path):
    with pytest.raises(RecipeError, match="no run 'x'"):
        find_run("x", tmp_path / "none")
    names = [create_run(tmp_path, "tiny", "").name for _ in range(10)]
    for age, name in enumerate(reversed(names)):
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    with pytest.raises(RecipeError) as refused:
        find_run("zzz", tmp_path)
    listed = refused.value.fix.split(": ")[1].split(", ")
    assert listed == names[:1:-1]
    with pytest.raises(RecipeError):
        find_run("", tmp_path)


def test_links_out_of_the_folder_are_refused(tmp_path):
    outside = create_run(tmp_path / "outside", "tiny", "")
    runs = tmp_path / "runs"
    run = create_run(runs, "wide", "")
    (runs / "link").symlink_to(outside.path)
    with pytest.raises(RecipeError, match="leads out"):
        find_run("link", runs)
    run.checkpoints.rmdir()
    run.checkpoints.symlink_to(outside.checkpoints)
    with pytest.raises(RecipeError, match="leads out"):
        find_run("wide", runs)
    with pytest.raises(RecipeError, match="leads out"):
        find_run(str(run.path), runs)


def test_a_moved_run_says_where_it_is_now(tmp_path):
    run = create_run(tmp_path / "a", "tiny", "")
    (tmp_path / "b").mkdir()
    moved = run.path.rename(tmp_path / "b" / run.name)
    assert RunDir(moved).json()["run_dir"] == str(moved)


def test_a_run_is_asked_to_stop_by_a_file_that_may_also_be_made_by_hand(tmp_path):
    run = create_run(tmp_path, "tiny", "")
    assert run.stop_asked() is None
    run.ask_to_stop("job stop")
    assert run.stop_asked() == "job stop"
    run.forget_stop()
    run.forget_stop()
    assert run.stop_asked() is None
    for content in (b"", b"{", b"[]", b"\xff"):
        (run.path / "stop").write_bytes(content)
        assert run.stop_asked() == "the file 'stop' in its folder"


def test_a_stop_file_that_cannot_be_read_for_a_moment_asks_for_nothing(tmp_path, monkeypatch):
    run = create_run(tmp_path, "tiny", "")
    run.ask_to_stop("job stop")
    for number, wanted in ((errno.EIO, None), (errno.ESTALE, None), (errno.EACCES, "the file 'stop'")):

        def fails(path, number=number):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(Path, "read_bytes", fails)
        assert (run.stop_asked() or "").startswith(wanted or "")
        assert (run.stop_asked() is None) == (wanted is None)


def test_a_request_to_stop_is_not_lost_to_a_lesser_one(tmp_path):
    run = create_run(tmp_path, "tiny", "")
    run.ask_to_stop("room", unless_asked=True)
    assert run.stop_asked() == "room"
    run.ask_to_stop("SIGTERM")
    run.ask_to_stop("room", unless_asked=True)
    run.forget_stop("room")  # the run has obeyed it meanwhile
    assert run.stop_asked() == "SIGTERM"
    run.ask_to_stop(STOP_NOW)
    run.ask_to_stop("SIGTERM")
    assert run.stop_asked() == STOP_NOW
    run.forget_stop(STOP_NOW)
    assert run.stop_asked() is None
    assert not list(run.path.glob(".stop*"))


def test_a_request_that_comes_while_another_is_forgotten_stays(tmp_path, monkeypatch):
    run = create_run(tmp_path, "tiny", "")
    run.ask_to_stop("room")
    rename = Path.rename

    def meets(path, target):
        run.ask_to_stop("SIGTERM")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", meets)
    run.forget_stop("room")
    assert run.stop_asked() == "SIGTERM"
    assert not list(run.path.glob(".stop*"))
