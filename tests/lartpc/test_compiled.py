"""Machine code is kept for one state of the source, and made anew for another."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import hepfm_lartpc

CALLER = """
from hepfm_lartpc import streams
from hepfm_lartpc.compiled import compiled


@compiled
def draw(s):
    return streams.uniform(s)
"""
CALL = "from hepfm_lartpc.caller import draw, streams; print(draw(streams.stream(1, 'x', 0)))"


def test_a_change_in_what_a_compiled_function_calls_is_seen(tmp_path):
    package, home = tmp_path / "hepfm_lartpc", tmp_path / "cache"
    source = Path(hepfm_lartpc.__file__).parent
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "caller.py").write_text(CALLER)

    def draw() -> float:
        environment = os.environ | {"PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(home)}
        command = [sys.executable, "-B", "-c", CALL]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return float(done.stdout)

    first = draw()
    assert draw() == first
    assert len(list((home / "hepfm" / "compiled").iterdir())) == 1
    streams = package / "streams.py"
    streams.write_text(streams.read_text().replace("+ 0.5) * _STEP", "+ 0.5) * _STEP * 0.5"))
    assert draw() == first / 2
    assert len(list((home / "hepfm" / "compiled").iterdir())) == 2


def test_the_cache_is_that_of_this_source_whatever_lies_beside_it(tmp_path):
    caches = tmp_path / "hepfm" / "compiled"
    caches.mkdir(parents=True)
    (caches / "removed-by-another-process").symlink_to(tmp_path / "gone")
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | {
        "XDG_CACHE_HOME": str(tmp_path)
    }
    code = "import numba, hepfm_lartpc.compiled; print(numba.config.CACHE_DIR)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert Path(done.stdout.strip()).parent == caches
