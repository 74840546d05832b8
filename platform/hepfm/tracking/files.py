"""Files that survive a kill: replaced whole, or grown by whole lines."""

from __future__ import annotations

import errno
import io
import itertools
import os
from contextlib import suppress
from pathlib import Path

_number = itertools.count()
"""Tells files apart that threads, or a signal's handler, write aside in one process at the same time."""


def replace(path: Path, content: bytes) -> None:
    """Replaces a file at once: whoever reads it sees the old content or the new, also after a crash.

    Written aside, fsynced, renamed, and the rename made durable with the folder's own fsync.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}-{next(_number)}")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError:
        with suppress(OSError):
            aside.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def append(file: io.FileIO, line: bytes) -> None:
    """Adds a line to an unbuffered file in one system call.

    Raises:
        OSError: Not all of it found room; only a crash leaves a part of the line in the file.
    """
    written = file.write(line) or 0
    if written == len(line):
        return
    before = os.fstat(file.fileno()).st_size - written
    try:
        written += file.write(line[written:]) or 0  # says why, where the rest finds no room either
        if written != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301
    except OSError:
        with suppress(OSError):  # the part goes again: the line may be tried again
            file.truncate(before)
        raise
