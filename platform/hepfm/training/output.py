"""What libraries print belongs into the run's log, not over the user's screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO


@contextmanager
def output_to(log: Path) -> Iterator[tuple[TextIO, TextIO]]:
    """Appends this process's standard output and error, down to C libraries, to a file.

    Yields:
        The original output and error, to write to the user.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    log_fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    os.close(log_fd)
    original = tuple(os.fdopen(os.dup(fd), "w", buffering=1, encoding="utf-8") for fd in saved)
    try:
        yield original[0], original[1]
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # of a full disk; what ended the run tells of that
                stream.flush()
        for stream in original:
            stream.close()
        for number, fd in zip((1, 2), saved, strict=True):
            os.dup2(fd, number)
            os.close(fd)
