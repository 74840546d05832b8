# ruff: noqa: INP001
"""Events of structured data, split so that no event is on both sides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hepfm.api import Batch, Reader
from hepfm.random import stable_id
from hepfm.readers.pack import take
from hepfm.readers.writer import StoreWriter

Array = np.ndarray[Any, Any]
HELD_OUT = 0.25
"""Share of events that is held out."""


def split(reader: Reader, event: Array, out: Path) -> dict[str, Batch]:
    """Writes ``train.h5`` and ``held_out.h5``; gives what is in them.

    Args:
        reader: Of the file.
        event: ``(N, K)`` what says which event a row of the file is of. Rows of one event stay together.
        out: Folder.
    """
    batch = reader.read(range(len(reader)))
    lot = np.array([stable_id("split", *row.tolist()) / 2**64 for row in event])
    found = {}
    for name, rows in (("train", lot >= HELD_OUT), ("held_out", lot < HELD_OUT)):
        path = out / f"{name}.h5"
        path.unlink(missing_ok=True)
        found[name] = take(batch, rows)
        with StoreWriter(path, reader.parts, {"source": reader.path.name}) as writer:
            writer.write(found[name])
    return found
