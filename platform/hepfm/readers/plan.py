"""The plan in a folder of shards: what is written into it, so that the same work goes on, and no other.

A shard is complete or it does not exist. So what is left to do is what the plan says and the folder lacks.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepfm.errors import DataError
from hepfm.locks import held
from hepfm.readers.layout import PARTIAL

_LOCK = ".lock"
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP}
"""What a file system says that knows no locks."""


@dataclass(frozen=True)
class Work:
    """What fills folders: the file of its plan, its name and its command."""

    file: str
    name: str
    command: str


CONVERSION = Work("convert.json", "conversion", "hepfm data convert")
SIMULATION = Work("simulate.json", "simulation", "hepfm simulate")
PREDICTION = Work("predict.json", "prediction", "hepfm predict")
EMBEDDING = Work("embed.json", "embedding", "hepfm embed")
SCORING = Work("anomaly.json", "scoring", "hepfm anomaly")


@contextmanager
def claimed(folder: Path, work: Work) -> Iterator[None]:
    """Within, no other process fills the folder, where its file system knows locks.

    One that was made and got no plan goes again.

    Args:
        folder: Of shards; made where it is missing.
        work: What fills it.

    Raises:
        DataError: Another process fills it, which is named; or it holds something else, or cannot be made.
    """
    new = not folder.exists()
    _make(folder, work)

    def taken(holder: str) -> DataError:
        fix = f"wait for it and run the same {work.command} again, or give another folder"
        return DataError(f"another process fills this folder with a {work.name}", where=holder, fix=fix)

    with ExitStack() as stack:
        try:
            stack.enter_context(held(folder / _LOCK, taken))
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise _unusable(folder, error) from error
        try:
            yield
        finally:
            with suppress(OSError):
                (folder / _LOCK).unlink(missing_ok=True)
                if new and not (folder / work.file).exists():
                    folder.rmdir()


def planned(folder: Path, work: Work) -> dict[str, Any] | None:
    """The plan that is in a folder; None where there is none. `DataError` for one that is no JSON."""
    path = folder / work.file
    if not path.exists():
        return None
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise DataError(f"the {work.name}'s plan makes no sense ({error})", where=str(path)) from error


def agree(
    folder: Path, work: Work, wanted: Mapping[str, Any], *, say: Callable[[str], None] = lambda _: None
) -> None:
    """Puts the plan into an empty folder, or compares it with the one that is there.

    Another plan of which no shard was finished makes room; what it had begun goes.

    Args:
        folder: Of shards; made where it is missing.
        work: What fills it.
        wanted: All that decides what is written, as JSON.
        say: Told in a sentence of a plan that made room.

    Raises:
        DataError: The folder holds something else, or cannot be made; or its plan is no JSON.
    """
    wanted = json.loads(json.dumps(wanted))
    path = folder / work.file
    there = planned(folder, work)
    if (
        there is not None
        and there != wanted
        and {entry.name for entry in folder.iterdir()} <= _begun(folder, work)
    ):
        for begun in folder.glob(f"*{PARTIAL}"):
            begun.unlink()
        path.unlink()
        say(f"{folder} held a {work.name} of which nothing was finished; it gives way to this one")
        there = None
    if there is not None:
        if other := sorted(key for key in {*there, *wanted} if there.get(key) != wanted.get(key)):
            what = f"the folder holds the result of another {work.name}: other {', '.join(other)}"
            raise DataError(what, where=str(path), fix="give another folder, or remove this one")
        return
    _make(folder, work)
    aside = path.with_name(work.file + PARTIAL)
    aside.write_text(json.dumps(wanted, indent=2) + "\n")
    aside.replace(path)


def _begun(folder: Path, work: Work) -> set[str]:
    """Names of what lies in a folder whose work has finished nothing."""
    return {work.file, _LOCK, *(path.name for path in folder.glob(f"*{PARTIAL}"))}


def _make(folder: Path, work: Work) -> None:
    """Makes a folder, and refuses one that holds something else."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise _unusable(folder, error) from error
    if work.file not in names and names - {work.file + PARTIAL, _LOCK}:
        raise DataError("the target folder is not empty", where=str(folder), fix="give another folder")


def _unusable(folder: Path, error: OSError) -> DataError:
    what = f"the target folder cannot be made or written: {error.strerror}"
    return DataError(what, where=str(folder), fix="give another folder")


def refuse_unfinished(folder: Path, events: int) -> None:
    """Raises `DataError` for a folder with fewer events than its plan says: whole shards, but not all."""
    for work in (CONVERSION, SIMULATION, PREDICTION, EMBEDDING, SCORING):
        path = folder / work.file
        if not path.is_file():
            continue
        try:
            said = json.loads(path.read_text())
            wanted = (
                sum(source["events"] for source in said["sources"]) if "sources" in said else said["events"]
            )
            missing = events < wanted
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"the {work.name}'s plan makes no sense ({error})", where=str(path)) from error
        if missing:
            what = f"the {work.name} is not finished: {events} of {wanted} events are there"
            raise DataError(what, where=str(folder), fix=f"run the same {work.command} again: it goes on")
