"""A pickle in a checkpoint's file is never opened, whatever the manifest says. (Names and links: test_runs.)"""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest

from hepfm.errors import CheckpointError
from hepfm.training.worker import train

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def test_a_pickle_in_place_of_any_file_is_refused_unopened(make_run, tmp_path):
    run, request = make_run(train__steps=2, checkpoint__every=1)
    mark = tmp_path / "opened"
    payload = pickle.dumps(Payload(mark))
    pickle.loads(payload)
    assert mark.exists()
    mark.unlink()
    train(request)
    checkpoint = Path(run.json()["checkpoint"])
    manifest_path = checkpoint / "manifest.json"
    original = json.loads(manifest_path.read_text())
    assert not [name for name in original["files"] if not name.endswith((".safetensors", ".json"))]
    for name in original["files"]:
        path = checkpoint / name
        content = path.read_bytes()
        path.write_bytes(payload)
        manifest = json.loads(json.dumps(original))
        manifest["files"][name] = {"bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()}
        manifest_path.write_text(json.dumps(manifest))
        with pytest.raises(CheckpointError) as refused:
            train(request)
        assert name.split("/")[-1] in str(refused.value)
        assert not mark.exists()
        path.write_bytes(content)
    manifest_path.write_text(json.dumps(original))
    train(request)
    assert run.json()["status"] == "done"
