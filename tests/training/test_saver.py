from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from hepfm.errors import TrainingError
from hepfm.tracking import storage
from hepfm.training import checkpoint, effective, worker
from hepfm.training.checkpoint import find_newest, verify, write_file
from hepfm.training.ranks import Ranks
from hepfm.training.saver import Saver
from hepfm.training.weights import to_safetensors

ALONE = Ranks(rank=0, world=1, device=torch.device("cpu"))


def finish(saver):
    path = None
    while saver.active:
        path = saver.advance()
    return path


def test_a_checkpoint_holds_what_was_there_when_it_was_begun(tmp_path):
    saver = Saver(tmp_path, ALONE)
    live = {"a": torch.randn(1000, 1000), "b": torch.randn(7)}
    for step in (1, 2):  # the second time, the copies lie where the first ones lay
        then = {name: tensor.clone() for name, tensor in live.items()}
        copies = saver.stage("model", live.items())
        saver.begin(step, {"model.safetensors": to_safetensors(copies)}, dict)
        for tensor in live.values():
            tensor.mul_(-1)
        path = finish(saver)
        assert verify(path)["step"] == step
        saved = load_file(path / "model.safetensors")
        assert all(torch.equal(saved[name], then[name]) for name in then)


def test_whoever_begins_it_goes_on_while_it_is_written(tmp_path):
    saver = Saver(tmp_path, ALONE)
    content = os.urandom(1 << 20)
    may_go_on = threading.Event()

    class Slow:
        def __iter__(self):
            for start in range(0, len(content), 1 << 18):
                may_go_on.wait()
                yield content[start : start + (1 << 18)]

    saver.begin(1, {"model.bin": Slow()}, lambda: {"of": "rank 0"})
    time.sleep(0.1)
    assert saver.active
    assert saver.busy
    assert find_newest(tmp_path) == (None, [])
    may_go_on.set()
    path = finish(saver)
    assert not saver.active
    assert not saver.busy
    assert (path / "model.bin").read_bytes() == content
    assert json.loads((path / "manifest.json").read_text())["of"] == "rank 0"


class Slow:
    """Content that takes its time."""

    def __init__(self):
        self.written = False

    def __iter__(self):
        time.sleep(0.5)
        yield b"1"
        self.written = True


def test_settling_waits_for_the_thread_of_either_stage(tmp_path, monkeypatch):
    saver, content = Saver(tmp_path, ALONE), Slow()
    saver.settle()  # there is none
    saver.begin(1, {"model.bin": content}, dict)
    saver.settle()
    assert content.written
    assert not saver.busy
    done = []
    real = checkpoint.complete
    monkeypatch.setattr(checkpoint, "complete", lambda *a: time.sleep(0.5) or done.append(real(*a)))
    saver.advance()
    saver.settle()
    assert [path.name for path in done] == ["step-00000001"]


def test_no_thread_of_a_checkpoint_outlives_a_training_of_several_ranks_that_fails(make_run, monkeypatch):
    """Else it would go on writing when the run's lock is free, and another attempt has begun."""
    run, request = make_run()
    content, saver = Slow(), Saver(run.checkpoints, ALONE)
    session = SimpleNamespace(callbacks=(), recorder=None, saver=saver, clock=None)

    def lost(_):
        saver.begin(1, {"model.bin": content}, dict)
        raise RuntimeError("a rank is lost")

    monkeypatch.setattr("hepfm.training.start.start", lambda *_: session)
    monkeypatch.setattr("hepfm.training.loop.run_loop", lost)
    resolved = SimpleNamespace(hash="", recipe=SimpleNamespace(seed=1))
    with effective.attempt(run, time.time()), pytest.raises(RuntimeError, match="lost"):
        worker._train(request, resolved, run, replace(ALONE, world=2))
    assert content.written


def test_storage_that_fails_is_said_when_the_stage_ends_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "WAITS_S", (0.01,))
    saver = Saver(tmp_path, ALONE)
    saver.begin(3, {"there": [b"1"], "no such folder/model": [b"2"]}, dict)
    with pytest.raises(TrainingError, match="The checkpoint of step 3 cannot be written: No such file"):
        finish(saver)
    assert not saver.active
    assert list(tmp_path.iterdir()) == []
    saver.begin(4, {"model": [b"3"]}, dict)
    assert finish(saver).name == "step-00000004"


@pytest.mark.parametrize("odd", [1, 3, 5])
def test_files_are_safetensors_as_its_own_library_reads_them(tmp_path, odd):
    kinds = (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int32)
    tensors = {f"{kind}": torch.randn(odd, 3).to(kind) for kind in kinds}
    tensors |= {"flags": torch.ones(odd, dtype=torch.bool), "bytes": torch.arange(odd, dtype=torch.uint8)}
    tensors |= {"none": torch.zeros(0, 4), "one": torch.tensor(odd), "turned": torch.randn(4, odd).T}
    write_file(tmp_path / "it", to_safetensors(tensors, {"pieces": "{}"}))
    read = load_file(tmp_path / "it")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)
    with safe_open(tmp_path / "it", framework="pt") as file:
        assert file.metadata() == {"pieces": "{}"}
