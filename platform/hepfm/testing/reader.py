"""The contract of a reader, as checks."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hepfm.api import Batch, RaggedTable
from hepfm.errors import DataError
from hepfm.testing.checks import run_checks


def reader_contract(reader: type[Any], path: Path, config: Any = None) -> None:
    """Checks a reader's class against the contract of `hepfm.api.Reader`.

    Args:
        reader: The class.
        path: A good file or folder of its format, with at least three events. Damaged copies are made of it.
        config: Its configuration; by default ``reader.Config()``.

    Raises:
        AssertionError: Names each rule that is broken.
    """
    run_checks("reader", CHECKS, _Subject(reader, path, config if config is not None else reader.Config()))


@dataclass(frozen=True)
class _Subject:
    reader: type[Any]
    path: Path
    config: Any

    def open(self, path: Path | None = None) -> Any:
        return self.reader(path or self.path, self.config)

    @contextmanager
    def copy(self) -> Iterator[tuple[Path, Path]]:
        """A copy of the data, and its first file."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / self.path.name
            if self.path.is_dir():
                shutil.copytree(self.path, copy, copy_function=shutil.copyfile)
            else:
                shutil.copyfile(self.path, copy)
            yield copy, copy if copy.is_file() else min(file for file in copy.rglob("*") if file.is_file())


def lengths_are_true(subject: _Subject) -> None:
    """``lengths`` gives the rows that are read, of every event and part."""
    reader = subject.open()
    batch = reader.read(range(len(reader)))
    assert len(batch) == len(reader), f"{len(batch)} events read of {len(reader)}"
    for part, schema in reader.parts.items():
        lengths = reader.lengths(part)
        assert lengths.dtype == np.int64, f"lengths are {lengths.dtype}, not int64"
        table = batch.parts.get(part, {}).get(schema.primary) or batch.labels[part][schema.primary]
        wrong = np.flatnonzero(lengths != table.lengths)
        assert not len(wrong), (
            f"part {part}: lengths differ from what is read for events {wrong[:5].tolist()}"
        )
    cost = sum(reader.lengths(part) for part in reader.parts)
    assert np.array_equal(batch.cost, cost), "cost is not the rows of the primary tables as stored"


def ids_are_stable(subject: _Subject) -> None:
    """Event ids are unique uint64, the same at each opening, and those of the batches."""
    ids = subject.open().event_ids()
    assert ids.dtype == np.uint64, f"ids are {ids.dtype}, not uint64"
    assert len(np.unique(ids)) == len(ids), "ids repeat"
    assert np.array_equal(ids, subject.open().event_ids()), "a second opening gives other ids"
    assert np.array_equal(subject.open().read(range(len(ids))).event_ids.view(np.uint64), ids), (
        "batches differ"
    )


def any_order_is_read(subject: _Subject) -> None:
    """Events are read in the order asked for, repeats included, equal to events read alone."""
    reader = subject.open()
    last = len(reader) - 1
    order = [last, 0, 1, last, 0]
    together = reader.read(order)
    assert len(together) == len(order), f"{len(together)} events for {len(order)} indices"
    for row, index in enumerate(order):
        _assert_event(together, row, reader.read([index]), f"event {index} at place {row} of {order}")
    assert len(reader.read([])) == 0, "no indices give events"


def columns_follow_the_schema(subject: _Subject) -> None:
    """Columns have the names, types and shapes of the schema; labels are apart, and left out on request."""
    reader = subject.open()
    batch = reader.read([0, 1, 2])
    without = reader.read([0, 1, 2], labels=False)
    assert not any(tables for tables in without.labels.values()), "labels=False gives labels"
    for part, schema in reader.parts.items():
        assert schema.primary in schema.tables, f"part {part} has no table '{schema.primary}'"
        for table, columns in schema.tables.items():
            for name, column in columns.items():
                kept = batch.labels if column.label else batch.parts
                where = f"part {part}, table {table}, column {name}"
                found = kept[part][table].columns.get(name)
                assert found is not None, f"{where} is missing"
                assert found.dtype == column.dtype, f"{where} is {found.dtype}, not {column.dtype}"
                assert found.shape[1:] == column.shape, (
                    f"{where} has rows of {found.shape[1:]}, not {column.shape}"
                )
        for table, ragged in without.parts[part].items():
            _assert_table(
                ragged, batch.parts[part][table], f"part {part}, table {table}, read without labels"
            )


def processes_can_share_it(subject: _Subject) -> None:
    """It can be pickled after use, and a forked process reads the same from a reader that is open."""
    reader = subject.open()
    last = len(reader) - 1
    wanted = reader.read([last])
    _assert_event(pickle.loads(pickle.dumps(reader)).read([last]), 0, wanted, "the unpickled reader")  # noqa: S301
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=lambda: send.send(reader.read([last])))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads is what is tested
        child.start()
    reader.read([0])
    found = receive.recv() if receive.poll(60) else None
    child.join(10)
    assert found is not None, "the forked process did not answer"
    _assert_event(found, 0, wanted, "the forked process")
    _assert_event(reader.read([last]), 0, wanted, "the parent after the fork")


def closing_is_no_end(subject: _Subject) -> None:
    """After ``close`` it can be read again."""
    reader = subject.open()
    wanted = reader.read([1])
    reader.close()
    _assert_event(reader.read([1]), 0, wanted, "the event read after closing")


def digest_is_of_the_content(subject: _Subject) -> None:
    """The digest is hex, and the same for a copy elsewhere; so are the event ids."""
    reader = subject.open()
    digest = reader.digest()
    assert len(digest) >= 32, f"'{digest}' is too short to tell data sets apart"
    assert set(digest) <= set("0123456789abcdef"), f"'{digest}' is not hex"
    with subject.copy() as (copy, _):
        moved = subject.open(copy)
        assert moved.digest() == digest, "a copy has another digest"
        assert np.array_equal(moved.event_ids(), reader.event_ids()), "a copy has other event ids"


def good_data_pass_the_check(subject: _Subject) -> None:
    """``check`` finds nothing wrong with good data, and ``sniff`` knows it."""
    assert list(subject.open().check()) == [], "check complains of good data"
    assert subject.reader.sniff(subject.path), "sniff does not know its own format"


def strangers_are_refused(subject: _Subject) -> None:
    """Text, nothing and a missing path are refused with `DataError`; ``sniff`` says no and never raises."""
    with tempfile.TemporaryDirectory() as folder:
        text, empty, missing = (
            Path(folder) / f"{name}{subject.path.suffix}" for name in ("text", "empty", "none")
        )
        text.write_text("This is no event data.\n" * 100)
        empty.touch()
        for path in (text, empty, missing):
            assert not subject.reader.sniff(path), f"sniff takes the {path.stem} file for its own"
            _assert_refused(subject, path, f"the {path.stem} file")


def truncated_files_are_refused(subject: _Subject) -> None:
    """A truncated file is refused with `DataError` on opening or reading, or named by ``check``."""
    for share in (0.3, 0.9):
        with subject.copy() as (copy, file):
            size = file.stat().st_size
            with file.open("r+b") as stream:
                stream.truncate(int(size * share))
            subject.reader.sniff(copy)
            _assert_refused(subject, copy, f"the file cut to {share:.0%}")


def _assert_refused(subject: _Subject, path: Path, what: str) -> None:
    message = ""
    problems: list[str] = []
    try:
        reader = subject.open(path)
        reader.read(range(len(reader)))
        problems = list(reader.check())
    except DataError as error:
        message = str(error)
    assert message or problems, f"{what} is read without complaint"
    assert not message or path.name in message, f"the error for {what} does not say which file: {message}"


def _assert_event(found: Batch, row: int, wanted: Batch, what: str) -> None:
    """One row of a batch equals the only event of another."""
    assert found.event_ids[row] == wanted.event_ids[0], f"{what}: another event id"
    for kind in ("parts", "labels"):
        for part, tables in getattr(wanted, kind).items():
            for name, table in tables.items():
                other = getattr(found, kind)[part][name]
                for column in table.columns:
                    same = np.array_equal(other[column][row], table[column][0])
                    assert same, f"{what}: part {part}, table {name}, column {column} differs"


def _assert_table(found: RaggedTable, wanted: RaggedTable, what: str) -> None:
    assert np.array_equal(found.offsets, wanted.offsets), f"{what}: other offsets"
    assert found.columns.keys() == wanted.columns.keys(), f"{what}: other columns"
    for name, values in wanted.columns.items():
        assert np.array_equal(found.columns[name], values), f"{what}: column {name} differs"


CHECKS = (
    lengths_are_true,
    ids_are_stable,
    any_order_is_read,
    columns_follow_the_schema,
    processes_can_share_it,
    closing_is_no_end,
    digest_is_of_the_content,
    good_data_pass_the_check,
    strangers_are_refused,
    truncated_files_are_refused,
)
