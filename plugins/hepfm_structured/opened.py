"""A file that is opened when it is first needed, and again in each process."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Opened(Generic[T]):
    """What a function opens, as long as it is wanted. Pickles without it.

    Args:
        opener: Opens the file; can be pickled.
    """

    def __init__(self, opener: Callable[[], T]) -> None:
        self._opener = opener
        self._pid = 0
        self._found: T | None = None

    def get(self) -> T:
        """The open file; opened anew after a fork, which leaves the parent its own."""
        if self._found is None or self._pid != os.getpid():
            self._found, self._pid = self._opener(), os.getpid()
        return self._found

    def close(self) -> None:
        """Closes what this process opened."""
        if self._found is not None and self._pid == os.getpid():
            self._found.close()  # type: ignore[attr-defined]
        self._found, self._pid = None, 0

    def __getstate__(self) -> dict[str, Any]:
        return {"_opener": self._opener, "_pid": 0, "_found": None}
