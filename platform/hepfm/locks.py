"""Files that one process holds at a time. The kernel frees them when it dies, however that happens."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from hepfm.errors import HepfmError


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[int]:
    """Holds an exclusive lock on a file, made where it is missing. Who holds it may remove the file.

    Yields:
        The file's descriptor.

    Raises:
        BlockingIOError: Another process holds it, and ``wait`` is False.
    """
    descriptor = _locked(path, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _locked(path: Path, how: int) -> int:
    """The descriptor of the file that is there; one that its holder removed meanwhile locks nobody out."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, how)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


@contextmanager
def held(
    path: Path,
    taken: Callable[[str], HepfmError],
    *,
    patience_s: float = 0.0,
    unless: Callable[[], object] = lambda: False,
) -> Iterator[None]:
    """Holds a lock, and says in its file who does: ``pid``, ``host`` and ``since``.

    Args:
        path: The file.
        taken: Makes what is raised where another process holds it, of the file and what it says.
        patience_s: How long another process that holds it is waited for.
        unless: Ends the waiting where it returns something true.
    """
    end = time.monotonic() + patience_s
    with ExitStack() as stack:
        while True:
            try:
                descriptor = stack.enter_context(locked(path, wait=False))
                break
            except BlockingIOError:
                if time.monotonic() < end and not unless():
                    time.sleep(0.2)
                    continue
                with suppress(FileNotFoundError):  # removed by now, so free
                    raise taken(f"{path}: {path.read_text() or 'just locked'}") from None
        since = datetime.now(UTC).isoformat(timespec="seconds")
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
        yield
