"""The spool: entries in order, a cursor, and a line that a crash cut short."""

from __future__ import annotations

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
