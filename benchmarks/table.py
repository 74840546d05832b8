"""The table of results: rows are measured at different times, and each says when, and how loaded the
machine was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LINES = HERE / "results.jsonl"
TABLE = HERE / "RESULTS.md"

_ABOUT = """# Scoreboard

Made by `python -m benchmarks --write`; each row's file says how it is measured. Ways that are timed are run
in turn in one process or group of processes, at least 7 times; figures are medians with their quartiles,
ratios are taken round by round. A figure without quartiles is counted, or measured once, which its note then
says. A ratio says how many times better hepfm is. What is calculated and not measured says so.
"""


def keep(row: int, lines: Sequence[Mapping[str, Any]]) -> None:
    """Replaces what was kept of a row."""
    kept = [line for line in read() if line["row"] != row]
    text = "".join(json.dumps(line) + "\n" for line in sorted([*kept, *lines], key=lambda line: line["row"]))
    LINES.write_text(text, encoding="utf-8")


def read() -> list[dict[str, Any]]:
    """All lines that were kept."""
    if not LINES.exists():
        return []
    return [json.loads(line) for line in LINES.read_text(encoding="utf-8").splitlines()]


def write() -> None:
    """Writes ``RESULTS.md`` from all that was kept."""
    lines = read()
    out = [_ABOUT]
    head = ("row", "what", "hepfm", "peer", "peer's", "ratio", "target", "limit")
    out += [_cells(head), _cells(["---"] * len(head))]
    out += [_cells(_row(line)) for line in lines]
    out += ["", "## Notes", ""]
    notes: dict[str, None] = dict.fromkeys(
        f"- Row {line['row']}, {line['what']}: {line['note']}" for line in lines if line["note"]
    )
    out += list(notes)
    out += ["", "## When and where", ""]
    out += dict.fromkeys(
        f"- Row {line['row']}: {line['date']}, {line['processor']}, {line['cores']} cores, torch "
        f"{line['torch']}, Python {line['python']}; load before it {line['load']:.1f}"
        for line in lines
    )
    TABLE.write_text("\n".join(out) + "\n", encoding="utf-8")


def show(lines: Sequence[Mapping[str, Any]]) -> None:
    """Prints lines for people."""
    for line in lines:
        cells = _row(line)
        print(f"row {cells[0]}  {cells[1]}: {cells[2]}" + (f"; {cells[3]}: {cells[4]}" if cells[3] else ""))
        print(
            "       "
            + "; ".join(word for word in (f"ratio {cells[5]}", cells[6], line["note"]) if word.strip())
        )


def _row(line: Mapping[str, Any]) -> list[str]:
    unit = line["unit"]
    target = line["target"]
    if line["met"] is not None:
        target += ": reached" if line["met"] else ": **missed**"
    theirs = line["theirs"]
    return [
        str(line["row"]),
        line["what"],
        _figure(line["ours"], unit),
        line["peer"],
        _figure(theirs, unit) if theirs else ("not measured" if line["peer"] else ""),
        _figure(line["ratio"], "x") if line["ratio"] else "",
        target,
        line["limit"],
    ]


def _figure(spread: Mapping[str, float], unit: str) -> str:
    low, high = spread["low"], spread["high"]
    text = f"{_short(spread['median'])} {unit}".rstrip()
    return text if low == high else f"{text} ({_short(low)}-{_short(high)})"


def _short(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _cells(words: Sequence[str]) -> str:
    return "| " + " | ".join(words) + " |"
