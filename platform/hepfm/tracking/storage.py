"""Storage that is full, read-only or failing: tried again for a while, then said with path and bytes."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError

from hepfm.errors import TrainingError

T = TypeVar("T")

WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Between tries. A file server that is started again is back by then, and a user who waits is not gone."""

_NOT_WRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
FAILING = _NOT_WRITABLE | {errno.EIO, errno.ESTALE}
"""What the system says of storage that is full or fails."""

_log = logging.getLogger(__name__)


class StorageError(TrainingError):
    """Something that training cannot go on without could not be written, or storage failed."""


@contextmanager
def storing(what: str, folder: Path, needed: int | None = None) -> Iterator[None]:
    """Turns what the system says of a failed write into a `StorageError`.

    Args:
        what: Cannot be written (``the checkpoint of step 100``).
        folder: Where to.
        needed: Bytes, where they are known.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        beginning = f"{what[0].upper()}{what[1:]} cannot be written: "
        raise _sentence(beginning, error, folder, needed) from error


def in_words(error: BaseException, folder: Path) -> BaseException:
    """The same error, or a `StorageError` where it says that the storage of a run's folder fails."""
    if isinstance(error, OSError) and error.errno in FAILING:
        full = error.errno in _NOT_WRITABLE
        return _sentence("The run's record cannot be written: " if full else "Storage fails: ", error, folder)
    return error


def _sentence(beginning: str, error: Exception, folder: Path, needed: int | None = None) -> StorageError:
    number = re.search(r"\(os error (\d+)\)", str(error))  # of safetensors
    said = getattr(error, "strerror", None) or (os.strerror(int(number[1])) if number else str(error))
    path = getattr(error, "filename", None) or folder
    return StorageError(
        f"{beginning}{said}.",
        where=f"{path}; {_free(folder)} bytes are free there" + (f", {needed} are needed" if needed else ""),
        fix="make room or repair it; hepfm resume goes on from the newest complete checkpoint",
    )


def with_patience(attempt: Callable[[], T]) -> T:
    """What an attempt returns; after a `StorageError` it is made again, five times within half a minute.

    On several ranks, an attempt has to end alike on all of them (`Ranks.on_first`, `Ranks.each`).
    """
    for wait_s in WAITS_S:
        try:
            return attempt()
        except StorageError as error:
            _log.warning("%s Trying again in %g s.", error.what, wait_s)
            time.sleep(wait_s)
    return attempt()


def _free(folder: Path) -> int | str:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return "unknown"
