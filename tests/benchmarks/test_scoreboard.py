"""What the scoreboard says is what was measured; the code for a card runs, small, on a CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def test_a_ratio_says_how_many_times_better_ours_is():
    from benchmarks.measure import ratios

    assert ratios([10.0, 10.0, 12.0], [2.0, 5.0, 4.0], higher_is_better=True).median == 3.0
    assert ratios([2.0, 5.0, 4.0], [10.0, 10.0, 12.0], higher_is_better=False).median == 3.0


def test_the_first_round_does_not_count():
    from benchmarks.measure import ROUNDS, in_turn

    calls: list[str] = []
    ways = {name: lambda name=name: calls.append(name) or float(len(calls)) for name in "ab"}
    figures = in_turn(ways, quick=False)
    assert calls == ["a", "b"] * (ROUNDS + 1)
    assert figures["a"] == [float(2 * k + 1) for k in range(1, ROUNDS + 1)]


def test_a_row_measured_again_replaces_itself_alone(tmp_path, monkeypatch):
    from benchmarks import table
    from benchmarks.measure import Line, Spread, machine

    monkeypatch.setattr(table, "LINES", tmp_path / "results.jsonl")
    monkeypatch.setattr(table, "TABLE", tmp_path / "RESULTS.md")

    def line(row, value, met):
        exact = asdict(Line(what=f"row {row}", unit="B", ours=Spread.exact(value), target="<= 8", met=met))
        return {"row": row, **exact, "date": "today", "load": 0.1, **machine()}

    table.keep(2, [line(2, 5.0, True)])
    table.keep(1, [line(1, 9.0, False)])
    table.keep(1, [line(1, 11.0, False)])
    table.write()
    rows = [row for row in (tmp_path / "RESULTS.md").read_text().splitlines() if "<= 8" in row]
    assert [row.split("|")[3].strip() for row in rows] == ["11 B", "5 B"]
    assert "**missed**" in rows[0]
    assert "reached" in rows[1]
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 2


def test_what_is_kept_has_all_that_the_table_shows():
    lines = [json.loads(line) for line in (ROOT / "benchmarks" / "results.jsonl").read_text().splitlines()]
    for line in lines:
        assert {"row", "ours", "date", "processor", "cores", "torch", "load"} <= line.keys()
        assert line["met"] is not False or line["note"], f"row {line['row']} is missed, and nothing says why"


def test_figures_of_a_card_can_be_tried_on_a_cpu(tmp_path):
    out = tmp_path / "figures.jsonl"
    command = [sys.executable, "-m", "benchmarks.gpu", "attention", "transfer", "--quick", "--device", "cpu"]
    subprocess.run([*command, "--out", str(out)], cwd=ROOT, check=True, capture_output=True)
    figures = [json.loads(line) for line in out.read_text().splitlines()]
    assert {figure["way"] for figure in figures} >= {"hepfm", "padded", "nested", "u16 until on the device"}
    assert all(figure["card"] == "CPU, a dry run" for figure in figures)
