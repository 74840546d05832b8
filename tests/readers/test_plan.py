"""A folder of shards is filled by one process at a time, and what is somebody else's is left alone."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import ExitStack

import pytest

from hepfm.errors import DataError
from hepfm.readers.plan import SIMULATION, agree, claimed


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_that_is_filled_is_refused_with_who_fills_it(tmp_path):
    with claimed(tmp_path / "out", SIMULATION):
        agree(tmp_path / "out", SIMULATION, {"seed": 1})
        again = claimed(tmp_path / "out", SIMULATION)
        with pytest.raises(DataError, match="another process fills") as refused, again:
            pass
        assert f'"pid": {os.getpid()}' in refused.value.where
        assert "hepfm simulate" in refused.value.fix
    with claimed(tmp_path / "out", SIMULATION):
        agree(tmp_path / "out", SIMULATION, {"seed": 1})
    assert names(tmp_path / "out") == ["simulate.json"]


def test_of_three_processes_one_fills_a_folder(tmp_path, monkeypatch):
    """The second opens the lock's file, the first ends and removes it; the third must not make another."""
    agree(tmp_path, SIMULATION, {"seed": 1})
    first = ExitStack()
    first.enter_context(claimed(tmp_path, SIMULATION))
    flock = fcntl.flock

    def late(*arguments):
        monkeypatch.setattr("hepfm.locks.fcntl.flock", flock)
        first.close()
        flock(*arguments)

    monkeypatch.setattr("hepfm.locks.fcntl.flock", late)
    with claimed(tmp_path, SIMULATION):
        third = claimed(tmp_path, SIMULATION)
        with pytest.raises(DataError, match="another process fills"), third:
            pass
    assert names(tmp_path) == ["simulate.json"]


def test_a_folder_that_got_no_plan_goes_again(tmp_path):
    (tmp_path / "mine").mkdir()
    for folder in ("mine", "new"):
        with pytest.raises(DataError, match="broken"), claimed(tmp_path / folder, SIMULATION):
            raise DataError("the source is broken")
    assert names(tmp_path) == ["mine"]
    assert names(tmp_path / "mine") == []


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"), claimed(tmp_path, SIMULATION):
        pass
    assert names(tmp_path) == ["notes.txt"]


def test_a_file_system_without_locks_is_written_all_the_same(tmp_path, monkeypatch):
    def unknown(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("hepfm.locks.fcntl.flock", unknown)
    with claimed(tmp_path / "out", SIMULATION):
        agree(tmp_path / "out", SIMULATION, {"seed": 1})
    assert names(tmp_path / "out") == ["simulate.json"]


def test_a_folder_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("hepfm.locks.fcntl.flock", refused)
    unwritable = claimed(tmp_path / "out", SIMULATION)
    with pytest.raises(DataError, match="made or written: Permission denied"), unwritable:
        pass
