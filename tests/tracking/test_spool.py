"""The spool: entries in order, a cursor, and a line that a crash cut short."""

from __future__ import annotations

import os
import subprocess
import sys

from hepfm.tracking.files import replace
from hepfm.tracking.spool import Cursor, Spool


def test_entries_are_read_from_an_offset_on(tmp_path):
    spool = Spool(tmp_path / "spool")
    for i in range(5):
        spool.append({"kind": "metrics", "step": i, "metrics": {"a": 1.0}})
    first = spool.read(0, 2)
    rest = spool.read(first[-1][1], 10)
    assert [entry["step"] for entry, _ in first + rest] == [0, 1, 2, 3, 4]
    spool.cursor = Cursor(first[-1][1], "id")
    assert spool.pending == 3
    spool.close()
    again = Spool(tmp_path / "spool")
    assert again.cursor == Cursor(first[-1][1], "id")
    again.close()


def test_a_cut_line_spoils_neither_the_lines_before_nor_those_after(tmp_path):
    spool = Spool(tmp_path)
    spool.append({"kind": "metrics", "step": 1, "metrics": {"a": 1.0}})
    spool.close()
    with spool.entries_path.open("ab") as file:
        file.write(b'{"kind": "metr')
    spool = Spool(tmp_path)
    spool.append({"kind": "metrics", "step": 2, "metrics": {"a": 1.0, "b": 1.0}})
    spool.append({"kind": "end"})
    assert [entry["kind"] for entry, _ in spool.read(0, 10)] == ["metrics", "damaged", "metrics", "end"]
    assert spool.told() == ({"a": 2, "b": 2}, {})
    spool.close()


def test_a_line_that_finds_no_room_leaves_no_part_and_may_be_tried_again(tmp_path):
    code = """
import io, resource, signal, sys
from hepfm.tracking.files import append
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
file = io.FileIO(sys.argv[1], "ab")
append(file, b"first" * 100)
resource.setrlimit(resource.RLIMIT_FSIZE, (700, resource.RLIM_INFINITY))
try:
    append(file, b"second" * 100)
except OSError:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    append(file, b"second" * 100)
    print("tried again")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "file")], capture_output=True, check=True, text=True
    )
    assert done.stdout == "tried again\n"
    assert (tmp_path / "file").read_bytes() == b"first" * 100 + b"second" * 100


def test_a_file_is_replaced_by_a_handler_in_the_middle_of_replacing_it(tmp_path, monkeypatch):
    path = tmp_path / "stop"
    fsync = os.fsync

    def interrupted(descriptor):
        monkeypatch.setattr(os, "fsync", fsync)
        replace(path, b"the handler's")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", interrupted)
    replace(path, b"the first")
    assert path.read_bytes() == b"the first"
    assert [each.name for each in tmp_path.iterdir()] == ["stop"]
