from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import pytest
import torch

from hepfm.errors import CheckpointError
from hepfm.training.checkpoint import begin, complete, find_newest, retain, verify, write_file
from hepfm.training.ranks import Ranks
from hepfm.training.saver import Saver
from hepfm.training.weights import load_weights, read_weights, to_safetensors, weights_sha256

ALONE = Ranks(rank=0, world=1, device=torch.device("cpu"))


def make(folder: Path, step: int, val_loss: float | None = None) -> Path:
    saver = Saver(folder, ALONE)
    files = {"engine/shard.pt": [bytes([step % 256]) * 600, bytes([step % 256]) * 400]}
    saver.begin(
        step, files | {"model.json": [f'{{"step": {step}}}'.encode()]}, lambda: {"val_loss": val_loss}
    )
    path = None
    while saver.active:
        path = saver.advance()
    assert path is not None
    return path


def test_the_manifest_has_the_hash_of_each_file(tmp_path):
    checkpoint = make(tmp_path, 7, 0.5)
    manifest = verify(checkpoint)
    assert checkpoint.name == "step-00000007"
    assert manifest["val_loss"] == 0.5
    assert manifest["files"]["engine/shard.pt"] == {
        "bytes": 1000,
        "sha256": hashlib.sha256(bytes([7]) * 1000).hexdigest(),
    }
    assert set(manifest["files"]) == {"engine/shard.pt", "model.json"}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda c: flip(c / "engine/shard.pt"), "has sha256"),
        (lambda c: (c / "engine/shard.pt").unlink(), "is missing"),
        (lambda c: (c / "engine/shard.pt").write_bytes(b""), "has sha256"),
        (lambda c: (c / "engine/more.pt").write_bytes(b"payload"), "is not in the manifest"),
        (lambda c: (c / "manifest.json").write_text("{"), "cannot be read"),
        (lambda c: (c / "manifest.json").unlink(), "cannot be read"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_previous_one_used(tmp_path, harm, said):
    before, newest = make(tmp_path, 100), make(tmp_path, 200)
    wanted = verify(newest)["files"]["engine/shard.pt"]["sha256"]
    harm(newest)
    found, (damage,) = find_newest(tmp_path)
    assert found == before
    assert said in str(damage)
    assert "step-00000200" in str(damage)
    if said == "has sha256":
        assert "engine/shard.pt" in str(damage)
        assert wanted in str(damage)


def test_a_link_in_place_of_a_file_is_refused(tmp_path):
    checkpoint = make(tmp_path / "run", 1)
    shard = checkpoint / "engine" / "shard.pt"
    elsewhere = tmp_path / "same"
    elsewhere.write_bytes(shard.read_bytes())
    shard.unlink()
    shard.symlink_to(elsewhere)
    with pytest.raises(CheckpointError, match=r"shard\.pt of the checkpoint is a link"):
        verify(checkpoint)


def test_a_link_in_place_of_a_checkpoint_or_its_engine_is_refused(tmp_path):
    before, elsewhere = make(tmp_path / "run", 1), make(tmp_path / "elsewhere", 2)
    linked = tmp_path / "run" / "step-00000002"
    linked.symlink_to(elsewhere)
    found, (damage,) = find_newest(tmp_path / "run")
    assert found == before
    assert "is a link to" in str(damage)
    make(tmp_path / "run", 2)  # takes its place, and leaves alone what it led to
    assert not linked.is_symlink()
    assert verify(elsewhere)

    engine = linked / "engine"
    engine.rename(tmp_path / "engine")
    engine.symlink_to(tmp_path / "engine")
    with pytest.raises(CheckpointError, match="engine of the checkpoint is a link"):
        verify(linked)


def test_damaged_ones_that_are_newer_take_no_place_of_good_ones(tmp_path):
    make(tmp_path, 3)
    for step in (6, 9):
        flip(make(tmp_path, step) / "engine/shard.pt")
    make(tmp_path, 4)
    make(tmp_path, 5)
    assert [path.name for path in retain(tmp_path, keep=2, keep_best=0)] == ["step-00000004", "step-00000005"]


def test_without_a_complete_one_nothing_is_found(tmp_path):
    assert find_newest(tmp_path / "absent") == (None, [])
    (tmp_path / "step-00000001").mkdir()
    found, damaged = find_newest(tmp_path)
    assert found is None
    assert len(damaged) == 1


def test_the_newest_is_by_step_not_by_clock(tmp_path):
    older, newer = make(tmp_path, 10), make(tmp_path, 20)
    os.utime(newer, (0, 0))
    assert find_newest(tmp_path)[0] == newer
    assert older.exists()


def test_a_damaged_checkpoint_is_replaced_when_its_step_comes_again(tmp_path):
    flip(make(tmp_path, 5) / "engine/shard.pt")
    assert verify(make(tmp_path, 5))["step"] == 5


def test_the_newest_and_the_best_are_kept(tmp_path):
    losses = {10: 0.5, 20: 0.1, 30: float("nan"), 40: 0.3, 50: 0.4, 60: None}
    for step, loss in losses.items():
        make(tmp_path, step, loss)
    left = retain(tmp_path, keep=2, keep_best=1)
    assert [path.name for path in left] == ["step-00000020", "step-00000050", "step-00000060"]
    assert sorted(tmp_path.iterdir()) == left


def test_a_loss_that_is_not_finite_is_never_best(tmp_path):
    for step, loss in ((1, float("nan")), (2, float("-inf")), (3, 9.0), (4, None)):
        make(tmp_path, step, loss)
    assert [path.name for path in retain(tmp_path, keep=1, keep_best=3)] == ["step-00000003", "step-00000004"]


def test_weights_come_back_bitwise_and_their_hash_sees_each_bit(tmp_path):
    weights = {"b": torch.randn(3, 2), "a": torch.tensor(3), "c": torch.zeros(0)}
    write_file(tmp_path / "w.safetensors", to_safetensors(weights))
    read = read_weights(tmp_path / "w.safetensors")
    assert weights_sha256(read) == weights_sha256(weights)
    for changed in (
        {**weights, "b": weights["b"] + torch.finfo(torch.float32).eps},
        {**weights, "b": weights["b"].T},
        {"b": weights["b"], "A": weights["a"], "c": weights["c"]},
    ):
        assert weights_sha256(changed) != weights_sha256(weights)


def test_weights_of_another_model_are_refused(tmp_path):
    write_file(tmp_path / "w.safetensors", to_safetensors(torch.nn.Linear(3, 2).state_dict()))
    same = torch.nn.Linear(3, 2)
    load_weights(same, tmp_path / "w.safetensors")
    assert torch.equal(same.weight, read_weights(tmp_path / "w.safetensors")["weight"])
    with pytest.raises(CheckpointError, match="1 do not fit"):
        load_weights(torch.nn.Linear(4, 2), tmp_path / "w.safetensors")


def test_one_that_cannot_be_read_is_passed_over_like_a_damaged_one(tmp_path):
    before, newest = make(tmp_path, 100), make(tmp_path, 200)
    shard = newest / "engine" / "shard.pt"
    shard.unlink()
    with socket.socket(socket.AF_UNIX) as unreadable:  # to open it is an OSError, also for root
        unreadable.bind(str(shard))
        found, damaged = find_newest(tmp_path)
    assert found == before
    assert "shard.pt of the checkpoint cannot be read" in damaged[0].what


def test_completing_again_what_is_renamed_already_gives_the_checkpoint(tmp_path):
    aside = begin(tmp_path, 4)
    files = {"model": write_file(aside / "model", [b"weights"])}
    made = complete(aside, files, {"step": 4})
    assert complete(aside, files, {"step": 4}) == made
    assert verify(made)["step"] == 4
