"""The compiler of the simulation's inner loops."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])

_KEPT_DAYS = 30.0


def compiled(function: F) -> F:
    """The function as machine code, made at its first call and kept in a cache for later processes."""
    return cast("F", numba.njit(cache=True, error_model="numpy")(function))


def _use_cache_of_this_source() -> None:
    """Has numba (0.68) keep machine code in a folder of its own for each state of this package.

    By itself it looks at a function's own file, and would go on with old code of what the function calls.
    ``NUMBA_CACHE_DIR`` in the environment is taken as it is.
    """
    if numba.config.CACHE_DIR:
        return
    source = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        source.update(path.read_bytes())
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hepfm" / "compiled"
    folder = caches / source.hexdigest()[:16]
    with suppress(OSError):  # a home that cannot be written to: numba finds another place, or none
        new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        numba.config.CACHE_DIR = str(folder)  # before what another process may do at the same time, too
        for other in caches.iterdir() if new else ():
            if time.time() - other.stat().st_mtime > 86_400 * _KEPT_DAYS:
                shutil.rmtree(other, ignore_errors=True)


_use_cache_of_this_source()
