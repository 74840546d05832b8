"""``python -m benchmarks [ROW ...]``: measures rows of the scoreboard, each in a process of its own."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from benchmarks import peers, table

ROWS = {
    1: ("row01_read", 150),
    2: ("row02_bytes", 20),
    3: ("row03_balance", 20),
    4: ("row04_tokenizer", 20),
    5: ("row05_attention", 60),
    7: ("row07_jets", 60),
    8: ("row08_state_space", 150),
    10: ("row10_overhead", 600),
    11: ("row11_first_step", 900),
    12: ("row12_checkpoint", 60),
    13: ("row13_scaling", 180),
    14: ("row14_memory", 90),
    15: ("row15_simulation", 180),
    16: ("row16_end_to_end", 300),
}
"""Row to its module, and the seconds that it takes."""


def main() -> None:
    """Measures rows, prints them, and with ``--write`` keeps them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", type=int, metavar="ROW", help="rows; by default all")
    parser.add_argument("--quick", action="store_true", help="one short round: does it work? Nothing is kept")
    parser.add_argument("--write", action="store_true", help="keep the results, and write RESULTS.md")
    parser.add_argument("--setup-peers", action="store_true", help="make .venv-peers, and do nothing else")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.setup_peers:
        peers.setup()
        return
    if unknown := set(options.rows) - ROWS.keys():
        parser.error(f"there is no row {min(unknown)}; there are {', '.join(map(str, ROWS))}")
    if options.one:
        _measure(options.rows[0], options.one, quick=options.quick)
        return
    failed = [row for row in options.rows or ROWS if not _run(row, quick=options.quick, write=options.write)]
    if failed:
        sys.exit(f"rows that failed: {', '.join(map(str, failed))}")


def _run(row: int, *, quick: bool, write: bool) -> bool:
    """Measures a row in a process of its own, whose threads are fixed from its start."""
    load = os.getloadavg()[0]
    warning = f"; the load is {load:.1f}, so timings mean little" if load > 0.5 else ""
    print(f"\nrow {row}, about {ROWS[row][1]} s{warning}", flush=True)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "lines.json")
        command = [peers.python(), "-m", "benchmarks", str(row), "--one", str(out)]
        ended = subprocess.run(
            [*command, *["--quick"] * quick],
            env={**os.environ, **threads},
            cwd=Path(__file__).parents[1],
            check=False,
        )
        if ended.returncode or not out.exists():
            return False
        lines = [{**line, "load": load} for line in json.loads(out.read_text())]
    table.show(lines)
    if write and not quick:
        table.keep(row, lines)
        table.write()
    return True


def _measure(row: int, out: Path, *, quick: bool) -> None:
    from benchmarks.measure import machine

    began = time.perf_counter()
    lines = import_module(f"benchmarks.{ROWS[row][0]}").run(quick=quick)
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    out.write_text(json.dumps([{"row": row, **asdict(line), "date": date, **machine()} for line in lines]))
    print(f"row {row} took {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
