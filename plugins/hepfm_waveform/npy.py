"""numpy arrays in a zip or tar archive, or alone in a file: headers first, checked, and never pickles.

Members of a zip and of a plain tar are read where they are. A compressed tar has no random access: all
arrays that are asked for are read in one pass, once in each process, and stay in memory.
"""

from __future__ import annotations

import lzma
import math
import tarfile
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

from hepfm.errors import DataError
from hepfm.readers.safety import refuse_count

DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)
"""What the standard library and numpy raise for a damaged archive or array."""
_SMALL = 1 << 20
"""Bytes of an array that is kept from the first pass over a compressed tar: lists of channels, masks."""


@dataclass(frozen=True)
class Header:
    """What a ``.npy`` file says of its array.

    Attributes:
        shape: Its axes.
        dtype: With the file's byte order.
        fortran: Whether the first axis runs fastest.
        start: Byte of the file where the values begin.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    start: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class NpyArchive:
    """The ``.npy`` members of a zip (``.npz`` is one) or tar archive, or a single ``.npy`` file.

    It holds no open file: it may be pickled, and used after a fork.

    Attributes:
        headers: Name of each array, without folder and ending, to its header; in the file's order.

    Args:
        path: The file.

    Raises:
        DataError: The file is absent, damaged, or holds arrays of Python objects.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise DataError("there is no such file", where=str(path), fix="check the path")
        if not path.stat().st_size:
            raise DataError("the file is empty (0 bytes)", where=str(path), fix="copy or make it again")
        self._kind = _kind(path)
        self._small: dict[str, np.ndarray[Any, Any]] = {}
        self._large: dict[str, np.ndarray[Any, Any]] = {}
        self._members: dict[str, str] = {}
        self.headers: dict[str, Header] = {}
        with _reading(path):
            for name, member, size, stream in self._walk():
                self._note(name, member, size, stream)

    def _walk(self) -> Iterator[tuple[str, str, int, IO[bytes]]]:
        """Name, member, size and stream of each array."""
        if self._kind == "npy":
            with self.path.open("rb") as file:
                yield self.path.stem, "", self.path.stat().st_size, file
        elif self._kind == "zip":
            with zipfile.ZipFile(self.path) as archive:
                for info in archive.infolist():
                    with archive.open(info) as stream:  # which compares the member's two names
                        if info.filename.endswith(".npy"):
                            yield PurePosixPath(info.filename).stem, info.filename, info.file_size, stream
        else:
            total = 0
            with tarfile.open(self.path, "r:*") as archive:
                for member in archive:
                    total += member.size
                    refuse_count(total, 1, path=self.path, where=f"{self.path}, {member.name}")
                    inside = archive.extractfile(member) if member.isreg() else None
                    if inside is not None and member.name.endswith(".npy"):
                        yield PurePosixPath(member.name).stem, member.name, member.size, inside
                # A damaged header, or none, ends an archive without a word; a whole one ends with zeros.
                assert archive.fileobj is not None
                archive.fileobj.seek(archive.offset)
                if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    raise tarfile.ReadError(f"a header is damaged or missing at byte {archive.offset}")
                while part := archive.fileobj.read(_SMALL):  # to the end, where gzip has its checksum
                    total += len(part)
                    refuse_count(total, 1, path=self.path, where=str(self.path))

    def _note(self, name: str, member: str, size: int, stream: IO[bytes]) -> None:
        where = f"{self.path}, {member or name}"
        if name in self.headers:
            raise DataError("an array is there twice", where=where, fix="make the file again")
        header = read_header(stream, where=where)
        if header.nbytes != size - header.start:
            what = f"the array has {size - header.start} bytes, and declares {header.nbytes}"
            raise DataError(what, where=where, fix="the file is damaged: copy or make it again")
        refuse_count(math.prod(header.shape), header.dtype.itemsize, path=self.path, where=where)
        self.headers[name], self._members[name] = header, member
        if self._kind == "packed" and header.nbytes <= _SMALL:
            self._small[name] = _values(stream, header)

    def array(self, name: str, *, with_others: Collection[str] = ()) -> np.ndarray[Any, Any]:
        """An array in the machine's byte order, rows first.

        Args:
            name: Of those in `headers`.
            with_others: Names that will be asked for too: a compressed tar is passed once for all of them.

        Raises:
            DataError: It is damaged.
        """
        header, where = self.headers[name], f"{self.path}, {self._members[name] or name}"
        if name in self._small:
            return self._small[name]
        if self._kind == "packed":
            if name not in self._large:
                wanted = {name, *with_others}
                with _reading(self.path):
                    for found, _, _, stream in self._walk():
                        if found in wanted:
                            stream.read(header.start if found == name else self.headers[found].start)
                            self._large[found] = _values(stream, self.headers[found])
            return self._large[name]
        with _reading(self.path, where):
            if self._kind == "npy":
                with self.path.open("rb") as file:
                    file.seek(header.start)
                    return _values(file, header)
            if self._kind == "zip":
                with zipfile.ZipFile(self.path) as archive, archive.open(self._members[name]) as stream:
                    stream.read(header.start)
                    return _values(stream, header)
            with tarfile.open(self.path, "r:") as tar:
                opened = tar.extractfile(self._members[name])
                assert opened is not None  # it was a regular file when it was noted
                opened.seek(header.start)
                return _values(opened, header)

    @property
    def is_single(self) -> bool:
        """Whether this is a ``.npy`` file, of which pieces can be read."""
        return self._kind == "npy"

    def piece(self, at: Any) -> np.ndarray[Any, Any]:
        """What is at an index of the array of a ``.npy`` file; no more of it is read."""
        (header,) = self.headers.values()
        with _reading(self.path):
            shape = header.shape[::-1] if header.fortran else header.shape
            mapped = np.memmap(self.path, header.dtype, "r", header.start, shape)
            return np.array((mapped.T if header.fortran else mapped)[at], header.dtype.newbyteorder("="))

    def forget(self) -> None:
        """Frees the arrays of a compressed tar; they are read again where they are asked for."""
        self._large = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_large": {}}


def read_header(stream: IO[bytes], *, where: str) -> Header:
    """The header of a ``.npy`` file, at whose values the stream stands afterwards.

    Raises:
        DataError: It is none, or of an array of Python objects, which are pickles and could run code.
    """
    try:
        version = np.lib.format.read_magic(stream)
        if version not in {(1, 0), (2, 0)}:
            raise DataError(f"numpy's file format {version} is not read", where=where)
        one, two = np.lib.format.read_array_header_1_0, np.lib.format.read_array_header_2_0
        shape, fortran, dtype = (one if version == (1, 0) else two)(stream)
    except (ValueError, TypeError, SyntaxError, tokenize.TokenError, EOFError, OSError) as error:
        raise DataError(
            f"this is no numpy array ({error})", where=where, fix="make the file again"
        ) from error
    if min(shape, default=0) < 0:
        raise DataError(f"an axis is {min(shape)} long", where=where, fix="make the file again")
    if dtype.hasobject:
        what = "arrays of Python objects are refused: they are pickles, which could run any code"
        raise DataError(what, where=where, fix="save it as an array of numbers (all rows of one length)")
    return Header(shape, dtype, fortran, stream.tell())


def first_name(path: Path) -> str | None:
    """The name of an archive's first file, or None for what is no archive; reads no more than that."""
    try:
        if not path.is_file():
            return None
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return next((name for name in archive.namelist() if not name.endswith("/")), None)
        if tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                return next((member.name for member in archive if member.isreg()), None)
    except DAMAGE:
        return None
    return None


def _kind(path: Path) -> str:
    """``npy``, ``zip``, ``tar`` or ``packed`` (a compressed tar)."""
    with path.open("rb") as file:
        if file.read(6) == np.lib.format.MAGIC_PREFIX:
            return "npy"
    if zipfile.is_zipfile(path):
        return "zip"
    try:
        if tarfile.is_tarfile(path):
            with path.open("rb") as file:
                file.seek(257)
                return "tar" if file.read(5) == b"ustar" else "packed"
    except DAMAGE:
        pass
    what = "this is no whole zip or tar archive, nor a numpy array"
    raise DataError(what, where=str(path), fix="check the path, or copy the file again: it may be truncated")


def _values(stream: IO[bytes], header: Header) -> np.ndarray[Any, Any]:
    raw, at = np.empty(header.nbytes, np.uint8), 0
    while at < len(raw):
        part = stream.read(min(len(raw) - at, 1 << 24))
        if not part:
            raise EOFError("the array ends too early")
        raw[at : at + len(part)] = np.frombuffer(part, np.uint8)
        at += len(part)
    stream.read(1)  # a zip's checksum is compared at the end
    native = raw.view(header.dtype).astype(header.dtype.newbyteorder("="), copy=False)
    if header.fortran:
        return np.ascontiguousarray(native.reshape(header.shape[::-1]).T)
    return native.reshape(header.shape)


@contextmanager
def _reading(path: Path, where: str = "") -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        what = f"the archive cannot be read ({error})"
        fix = "it is truncated or damaged: copy or make it again"
        raise DataError(what, where=where or str(path), fix=fix) from error
