"""What libraries print goes to the log, also what C code prints; the user's streams come back after it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import os, sys
from pathlib import Path
from hepfm.training.output import output_to

print("before")
with output_to(Path(sys.argv[1])) as (out, err):
    print("chatter")
    os.write(1, b"C chatter\\n")
    os.system("echo child chatter")
    out.write("for the user\\n")
    err.write("progress\\n")
print("after")
"""


def test_output_goes_to_the_log_and_comes_back(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("earlier\n")
    done = subprocess.run([sys.executable, "-c", _PROGRAM, log], capture_output=True, text=True, check=True)
    assert done.stdout == "before\nfor the user\nafter\n"
    assert done.stderr == "progress\n"
    assert set(log.read_text().splitlines()) == {"earlier", "chatter", "C chatter", "child chatter"}
