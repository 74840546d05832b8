"""A disk that is full: the last good checkpoint is kept, and the error names path and bytes."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from pathlib import Path

import pytest

from hepfm.errors import TrainingError
from hepfm.tracking import storage
from hepfm.training.checkpoint import find_newest
from hepfm.training.worker import train

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(storage, "WAITS_S", (0.1, 0.2))


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def checkpoint_bytes():
    return {}


@pytest.fixture
def needed(make_run, checkpoint_bytes):
    """Bytes of a checkpoint of the small run."""
    if not checkpoint_bytes:
        run, request = make_run(train__steps=1)
        train(request)
        checkpoint_bytes["all"] = size_of(run.checkpoints)
    return checkpoint_bytes["all"]


def test_a_checkpoint_that_does_not_fit_leaves_the_last_good_one(make_run, mounted, needed):
    run, request = make_run(train__steps=2, checkpoint__every=1)
    mounted(run.checkpoints, needed * 3 // 2)
    with pytest.raises(TrainingError, match="checkpoint of step 2 cannot be written: No space left") as full:
        train(request)
    assert str(run.checkpoints) in full.value.where
    manifest = json.loads((run.checkpoints / "step-00000001" / "manifest.json").read_text())
    assert f"{sum(entry['bytes'] for entry in manifest['files'].values())} are needed" in full.value.where
    assert "bytes are free" in full.value.where
    found, damaged = find_newest(run.checkpoints)
    assert (found.name, damaged) == ("step-00000001", [])
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["step-00000001"]
    assert run.json()["status"] == "failed"
    assert "No space left" in run.json()["reason"]
    subprocess.run(["mount", "-o", f"remount,size={needed * 4}", str(run.checkpoints)], check=True)
    train(request)
    assert (run.json()["status"], run.json()["steps"]) == ("done", 2)


def test_room_that_is_made_in_time_is_used(make_run, mounted, needed, monkeypatch):
    monkeypatch.setattr(storage, "WAITS_S", (0.5,) * 20)
    run, request = make_run(train__steps=2, checkpoint__every=1)
    mounted(run.checkpoints, needed * 3 // 2)

    def make_room() -> None:
        while not run.log_path.exists() or "Trying again" not in run.log_path.read_text():
            time.sleep(0.05)
        subprocess.run(["mount", "-o", f"remount,size={needed * 4}", str(run.checkpoints)], check=True)

    helper = threading.Thread(target=make_room)
    helper.start()
    train(request)
    helper.join()
    assert (run.json()["status"], run.json()["steps"]) == ("done", 2)
    assert "No space left on device" in run.log_path.read_text()


def test_metrics_that_cannot_be_written_end_the_run_in_a_sentence(make_run, mounted):
    run, request = make_run(train__steps=3)
    content = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    mounted(run.path, 32 << 20)
    for folder in (run.spool, run.checkpoints):
        folder.mkdir()
    for name, data in content.items():
        (run.path / name).write_bytes(data)
    filler = run.path / "filler"

    class Fill:
        def on_start(self, run):
            with filler.open("wb", buffering=0) as file:
                try:
                    while file.write(bytes(4096)):
                        pass
                except OSError:
                    pass

    with pytest.MonkeyPatch.context() as patch:
        from hepfm.training import start

        class Callback(Fill):
            def on_validation(self, step, figures): ...
            def on_checkpoint(self, step, path): ...
            def on_end(self, run): ...

        patch.setattr(start, "_callbacks", lambda: [Callback()])
        patch.setattr(storage, "WAITS_S", (0.1, 0.2))
        with pytest.raises(TrainingError, match="cannot be written") as full:
            train(request)
    assert "No space left" in str(full.value)
    assert str(run.path) in full.value.where
    filler.unlink()
    train(request)
    assert run.json()["status"] == "done"
