"""Opening HDF5 files that strangers made: what is refused, and why.

An HDF5 file can point at other files (external links, external storage, virtual datasets), declare sizes
that it does not hold, and hold chunks that were never written and read as zeros. All of that is found here,
before any data is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  registers zstd, blosc and others with HDF5
import numpy as np

from hepfm.errors import DataError

DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""What h5py raises for a damaged file, depending on which of its structures is hit."""
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_STRUCTURES = 1 << 17
"""Bytes of a file's structures that HDF5 keeps, as they are in the file; in memory, ten times as many."""
_LARGEST_EXPANSION = 1000
"""A file may decompress to this many times its own size. Physics data reaches 10, rows of zeros some 100."""


def open_h5(path: Path) -> h5py.File:
    """Opens an HDF5 file for reading, without locks (a network mount may lack them, and readers need none).

    Raises:
        DataError: The file is absent, empty, of another format, truncated, or still being written.
    """
    if not path.is_file():
        raise DataError("there is no such file", where=str(path), fix="check the path")
    with path.open("rb") as file:
        head = file.read(len(_SIGNATURE))
    if not head:
        raise DataError("the file is empty (0 bytes)", where=str(path), fix="copy or make it again")
    if head != _SIGNATURE:
        raise DataError("the file is not HDF5", where=str(path), fix="check the path, or name its reader")
    try:
        return _small_cache(h5py.File(path, "r", libver="latest", locking="best-effort"))
    except OSError as error:
        what = (
            "the file is truncated" if "truncated" in str(error) else f"HDF5 cannot open the file ({error})"
        )
        raise DataError(what, where=str(path), fix="copy or make it again") from error


def _small_cache(file: h5py.File) -> h5py.File:
    """The file, which keeps few of its structures: what readers need of them they note, and HDF5 would take
    20 kB for each block that it has seen, without giving them back.
    """
    config = file.id.get_mdc_config()
    config.set_initial_size = True
    config.initial_size = config.min_size = config.max_size = _STRUCTURES
    file.id.set_mdc_config(config)
    return file


def dataset(group: h5py.Group, name: str, *, path: Path) -> h5py.Dataset:
    """A dataset of the group by its path, after all checks.

    Raises:
        DataError: It is missing, not a dataset, lies outside the file, refers to objects, was not completely
            written, or declares more than the file can hold. The message names file and field.
    """
    where = f"{path}, field {group.name.rstrip('/')}/{name}"
    with reading(where):
        *folders, last = name.split("/")
        for folder in folders:
            group = _member(group, folder, h5py.Group, where)
        found = _member(group, last, h5py.Dataset, where)
        _refuse_foreign(found, where)
        _check_storage(found, path, where)
    return found


def group(parent: h5py.Group, name: str, *, path: Path) -> h5py.Group:
    """A group of the parent by its path; links to other places are refused.

    Raises:
        DataError: It is missing, a link, or no group. The message names file and field.
    """
    where = f"{path}, field {parent.name.rstrip('/')}/{name}"
    with reading(where):
        for folder in name.split("/"):
            parent = _member(parent, folder, h5py.Group, where)
    return parent


def _refuse_foreign(found: h5py.Dataset, where: str) -> None:
    fix = "convert it from its source again, or make the file self-contained (h5repack)"
    plist = found.id.get_create_plist()
    if plist.get_layout() == h5py.h5d.VIRTUAL:
        raise DataError("a virtual dataset is refused: its data is in other files", where=where, fix=fix)
    if plist.get_external_count():
        raise DataError("external storage is refused: the data is in other files", where=where, fix=fix)
    if _has_reference(found.id.get_type()):
        raise DataError("references are refused", where=where, fix=fix)


def _member(group: h5py.Group, name: str, kind: type, where: str) -> Any:
    link = group.get(name, getlink=True) if name in group or _dangling(group, name) else None
    if link is None:
        known = ", ".join(list(group)[:12]) or "nothing"
        raise DataError("a field is missing", where=where, fix=f"the file has here: {known}")
    if not isinstance(link, h5py.HardLink):
        kind_of = "an external link" if isinstance(link, h5py.ExternalLink) else "a soft link"
        raise DataError(f"{kind_of} is refused", where=where, fix="copy what it points at into the file")
    try:
        found = group[name]
    except (KeyError, OSError, RuntimeError) as error:
        raise DataError(
            f"a field cannot be opened ({error})", where=where, fix="make the file again"
        ) from error
    if not isinstance(found, kind):
        raise DataError(
            f"wanted a {kind.__name__.lower()}, found a {type(found).__name__.lower()}", where=where
        )
    return found


def _dangling(group: h5py.Group, name: str) -> bool:
    # ``name in group`` is False for a link whose target is absent; such a link is to be refused, not missed.
    return bool(group.id.links.exists(name.encode()))


def _has_reference(kind: h5py.h5t.TypeID) -> bool:
    if isinstance(kind, h5py.h5t.TypeReferenceID):
        return True
    if isinstance(kind, h5py.h5t.TypeCompoundID):
        return any(_has_reference(kind.get_member_type(i)) for i in range(kind.get_nmembers()))
    if isinstance(kind, h5py.h5t.TypeVlenID | h5py.h5t.TypeArrayID):
        return _has_reference(kind.get_super())
    return False


def _check_storage(found: h5py.Dataset, path: Path, where: str) -> None:
    nbytes = math.prod(found.shape or ()) * found.id.get_type().get_size()
    if not nbytes:
        return
    held = path.stat().st_size
    fix = "convert it from its source again"
    if found.chunks is None:
        if found.id.get_storage_size() < nbytes:
            what = f"the field declares {nbytes} bytes but {found.id.get_storage_size()} were written"
            raise DataError(what, where=where, fix=fix)
        start = found.id.get_offset()
        if start is not None and start + nbytes > held:
            raise DataError(f"the field ends after the end of the file ({held} bytes)", where=where, fix=fix)
        return
    if nbytes > _most_bytes(held):
        what = f"the field declares {nbytes} bytes, which a file of {held} bytes cannot hold"
        raise DataError(
            what, where=where, fix="it is damaged or made to exhaust memory: get it from its source"
        )
    wanted = math.prod(-(-n // c) for n, c in zip(found.shape, found.chunks, strict=True))
    if (written := found.id.get_num_chunks()) != wanted:
        what = f"{wanted - written} of {wanted} chunks were never written (they would read as zeros)"
        raise DataError(what, where=where, fix=fix)


def _most_bytes(held: int) -> int:
    return max(_LARGEST_EXPANSION * held, 1 << 26)


def refuse_count(count: int, nbytes: int, *, path: Path, where: str) -> None:
    """Raises `DataError` for a number of things of ``nbytes`` each that the file cannot hold."""
    if count * nbytes > _most_bytes(held := path.stat().st_size):
        what = f"the field counts {count}, which a file of {held} bytes cannot hold"
        raise DataError(what, where=where, fix="the file is damaged: get it from its source")


def expect(
    found: h5py.Dataset, *, path: Path, dtype: Any = None, shape: tuple[int | None, ...] | None = None
) -> None:
    """Raises `DataError` unless the dataset has this dtype and shape (None for any length of an axis)."""
    where = f"{path}, field {found.name}"
    if dtype is not None and found.dtype != np.dtype(dtype):
        raise DataError(f"wanted type {np.dtype(dtype)}, found {found.dtype}", where=where)
    if shape is not None and (
        len(shape) != len(found.shape)
        or any(w is not None and w != f for w, f in zip(shape, found.shape, strict=True))
    ):
        wanted = tuple("any" if n is None else n for n in shape)
        raise DataError(f"wanted shape {wanted}, found {found.shape}", where=where)


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Turns what HDF5 raises for a damaged file into `DataError`."""
    try:
        yield
    except DAMAGE as error:
        raise _read_error(error, where) from error


def _read_error(error: Exception, where: str) -> DataError:
    if "can't open directory" in str(error) or "filter" in str(error):
        return DataError(f"the field's compression cannot be undone ({error})", where=where)
    return DataError(
        f"HDF5 cannot read the field ({error})", where=where, fix="the file is damaged: make it again"
    )
