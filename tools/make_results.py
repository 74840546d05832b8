# ruff: noqa: INP001
"""Figures on the Geant4 sample, and demonstrations on real detector data: those of docs/results.md.

``python tools/make_results.py`` (``make results``) trains each named recipe in full, one after the other. It
writes ``docs/images/results-*.png`` and ``results.json``, and prints the page's tables, which are pasted into
it; runs and stores go to ``runs/results``. The picture of structured data takes gibuu and dimuons together.
``--set train.steps=20`` is passed on to each recipe.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from results import pictures
from results.page import tables

ROOT = Path(__file__).parents[1]
DEMONSTRATIONS = ("geant4", "protodune", "microboone", "legend", "gibuu", "dimuons")


def main() -> None:
    """Makes figures and pictures of the demonstrations that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images", help="of pictures and figures")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "results", help="of runs and stores")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("HEPFM_REAL_DATA", ROOT.parent / "shared" / "data")),
        help="folder of real data",
    )
    parser.add_argument("--only", choices=DEMONSTRATIONS, nargs="*", default=list(DEMONSTRATIONS))
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / "results.json"
    figures = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    structured = {}
    for name in given.only:
        out = given.runs / name
        out.mkdir(parents=True, exist_ok=True)
        figures[name], shown = importlib.import_module(f"results.{name}").main(
            given.data, out, given.overrides
        )
        if name in ("gibuu", "dimuons"):
            structured[name] = shown
        elif shown:
            getattr(pictures, name)(shown, given.out)
        file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        print(name, json.dumps(figures[name], indent=1))  # noqa: T201
    if len(structured) == 2:
        pictures.structured(structured, given.out)
    elif structured:
        print("no picture of structured data: it needs --only gibuu dimuons")  # noqa: T201
    if set(DEMONSTRATIONS) <= figures.keys():
        print(*tables(figures), sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()
