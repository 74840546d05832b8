"""``python -m benchmarks.gpu [NAME ...]``: measures on one card, and prints it with its name.

``--device cpu --quick`` runs the same code small on a CPU: does it work? Its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import torch

NAMES = ("attention", "step", "transfer", "zero")


def main() -> None:
    """Runs the parts that are asked for, in one process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)}; by default all")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--quick", action="store_true", help="small, with two rounds")
    parser.add_argument("--out", type=Path, help="a file to which each figure is added as a line of JSON")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"there is no {min(unknown)}; there are {', '.join(NAMES)}")
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("There is no CUDA device here; '--device cpu --quick' tries the code on a CPU.")
    if options.device == "cpu":
        torch.set_num_threads(1)
    card = torch.cuda.get_device_name() if options.device == "cuda" else "CPU, a dry run"
    print(f"{card}, torch {torch.__version__}")
    for name in options.names or NAMES:
        for figure in import_module(f"benchmarks.gpu.{name}").run(options.device, quick=options.quick):
            print(f"{name:10} " + ", ".join(f"{key} {value}" for key, value in figure.items()), flush=True)
            line = {"part": name, **figure, "card": card, "torch": torch.__version__}
            line["date"] = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
            if options.out:
                with options.out.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
