"""Storage that turns read-only: tried again for a while, then a clean stop; it goes on when storage is back."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from hepfm.errors import TrainingError
from hepfm.tracking import storage
from hepfm.training import start
from hepfm.training.worker import train

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)


class ReadOnlyFromTheStart:
    """Mounts a folder read-only when training starts."""

    def __init__(self, folder):
        self.folder = folder

    def on_start(self, run):
        subprocess.run(["mount", "-o", "remount,ro", str(self.folder)], check=True)

    def on_validation(self, step, figures): ...
    def on_checkpoint(self, step, path): ...
    def on_end(self, run): ...


def test_it_stops_cleanly_after_a_while_and_goes_on_when_storage_is_back(
    make_run, figures, mounted, monkeypatch
):
    monkeypatch.setattr(storage, "WAITS_S", (0.1, 0.2, 0.3))
    golden, request = make_run(train__steps=3)
    train(request)
    run, request = make_run(train__steps=3)
    mounted(run.checkpoints, 64 << 20)
    with monkeypatch.context() as patch:
        patch.setattr(start, "_callbacks", lambda: [ReadOnlyFromTheStart(run.checkpoints)])
        with pytest.raises(
            TrainingError, match="checkpoint of step 3 cannot be written: Read-only file"
        ) as ro:
            train(request)
    assert str(run.checkpoints) in ro.value.where
    assert run.log_path.read_text().count("Trying again in") == 3
    assert run.json()["status"] == "failed"
    subprocess.run(["mount", "-o", "remount,rw", str(run.checkpoints)], check=True)
    train(replace(request, resume_from="newest"))
    assert figures(run, "train/loss") == figures(golden, "train/loss")
    assert run.json()["weights_sha256"] == golden.json()["weights_sha256"]
