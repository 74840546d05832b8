"""What a run has to tell MLflow, on disk first: a file of entries, and how far MLflow has them.

An entry is a line of JSON with its ``kind`` and ``time``: ``start`` (all that a store needs to begin the
run), ``metrics``, ``artifact``, ``model``, ``resume``, ``end``. Each may be sent again without harm: MLflow
drops a metric that it has with the same key, step, time and value.
"""

from __future__ import annotations

import io
import json
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hepfm.tracking.files import append, replace
from hepfm.tracking.lines import decode, encode


@dataclass(frozen=True)
class Cursor:
    """The entries before ``offset`` (bytes) are in the MLflow run ``run_id``."""

    offset: int = 0
    run_id: str | None = None


class Spool:
    """The entries of one run."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.entries_path = folder / "outbox.jsonl"
        self.cursor_path = folder / "cursor.json"
        self.lock_path = folder / "lock"
        self._file = io.FileIO(self.entries_path, "ab")
        self._appending = threading.Lock()
        self._cut = self._ends_in_a_cut_line()

    def append(self, entry: dict[str, Any]) -> None:
        """Adds an entry; threads may share it; one system call, so a kill leaves it whole or out.

        Raises:
            OSError: It cannot be written.
        """
        with self._appending:
            # After a line that a crash or a full disk cut short, the entry begins its own.
            line = b"\n" * self._cut + encode(entry)
            self._cut = True
            append(self._file, line)
            self._cut = False

    def sync(self) -> None:
        """Makes the entries durable; done before they are sent: MLflow never knows more than the disk."""
        os.fsync(self._file.fileno())

    def read(self, offset: int, limit: int) -> list[tuple[dict[str, Any], int]]:
        """Up to ``limit`` entries from an offset on, each with the offset of its end."""
        found: list[tuple[dict[str, Any], int]] = []
        with self.entries_path.open("rb") as file:
            file.seek(offset)
            while len(found) < limit and (line := file.readline()).endswith(b"\n"):
                offset += len(line)
                found.append((decode(line) or {"kind": "damaged"}, offset))
        return found

    def told(self) -> tuple[dict[str, int], dict[str, str]]:
        """The last step of each metric in the entries, and the run's tags."""
        steps: dict[str, int] = {}
        tags: dict[str, str] = {}
        with self.entries_path.open("rb") as file:
            for line in file:
                entry = decode(line) or {}
                steps.update(dict.fromkeys(entry.get("metrics", ()), entry.get("step", -1)))
                tags.update(entry.get("tags", {}))
        return steps, tags

    @property
    def empty(self) -> bool:
        return self.entries_path.stat().st_size == 0

    @property
    def cursor(self) -> Cursor:
        if not self.cursor_path.exists():
            return Cursor()
        return Cursor(**json.loads(self.cursor_path.read_bytes()))

    @cursor.setter
    def cursor(self, cursor: Cursor) -> None:
        replace(self.cursor_path, json.dumps(asdict(cursor)).encode())

    @property
    def pending(self) -> int:
        """Entries that are not in MLflow."""
        with self.entries_path.open("rb") as file:
            file.seek(self.cursor.offset)
            return sum(1 for _ in file)

    def close(self) -> None:
        self._file.close()

    def _ends_in_a_cut_line(self) -> bool:
        with self.entries_path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            return size > 0 and file.read(1) != b"\n"
