"""Digests of content: what provenance, event ids and resume compare."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

SIZE = 16
"""Bytes of a digest (blake2b)."""


def file_digest(path: Path) -> str:
    """Hex digest of a file's bytes; remembered under ``~/.cache/hepfm`` by path, size and time of change."""
    path = path.resolve()
    stat = path.stat()
    key = hashlib.blake2b(
        f"{path}\x1f{stat.st_size}\x1f{stat.st_mtime_ns}".encode(), digest_size=SIZE
    ).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hepfm" / "digests"
    with contextlib.suppress(OSError):
        known = (cache / key).read_text()
        if len(known) == 2 * SIZE:
            return known
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=SIZE)).hexdigest()
    with contextlib.suppress(OSError):  # a home that cannot be written costs time, nothing else
        cache.mkdir(parents=True, exist_ok=True)
        aside = cache / f"{key}.{os.getpid()}"
        aside.write_text(digest)
        aside.replace(cache / key)
    return digest


def arrays_digest(arrays: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """Hex digest of named arrays: names in order, dtypes, shapes and bytes."""
    h = hashlib.blake2b(digest_size=SIZE)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        h.update(f"{name}\x1f{array.dtype.str}\x1f{array.shape}\x1f".encode())
        h.update(array.data.cast("B") if array.size else b"")
    return h.hexdigest()


def json_digest(value: Any) -> str:
    """Hex digest of what JSON can say, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=SIZE).hexdigest()
