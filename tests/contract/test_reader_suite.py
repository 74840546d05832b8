"""The suite of readers passes one that keeps to the contract, and names the rule that a broken one breaks."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest

from hepfm import api
from hepfm.errors import DataError
from hepfm.readers.pack import pack
from hepfm.readers.store import StoreReader
from hepfm.readers.writer import StoreWriter
from hepfm.testing import reader_contract


@pytest.fixture
def store(calo, tmp_path):
    """A store of 9 events in several blocks, labels included."""
    rng = np.random.default_rng(3)
    samples = []
    for i, event in enumerate(calo.showers(9)):
        particle = rng.integers(0, 5, len(event["hits"]["layer"])).astype(np.int32)
        labels = {"calo": {"hits": {"particle": particle}}}
        samples.append(api.Sample(event_id=2**63 + 7 * i, parts={"calo": event}, labels=labels))
    parts = {"calo": calo.SCHEMA}
    with StoreWriter(tmp_path / "store.h5", parts, {"source": "test"}, block_events=4) as writer:
        writer.write(pack(samples, parts))
    return tmp_path / "store.h5"


def test_a_reader_that_keeps_to_the_contract_passes(store):
    reader_contract(StoreReader, store)


class Sorting(StoreReader):
    def read(self, indices, *, labels=True):
        return super().read(sorted(indices), labels=labels)


class Relabelling(StoreReader):
    def read(self, indices, *, labels=True):
        return super().read(indices)


class Guessing(StoreReader):
    def lengths(self, part):
        return np.full(len(self), 30)


class Renumbering(StoreReader):
    def event_ids(self):
        return np.zeros(len(self), np.uint64)


class Holding(StoreReader):
    def __init__(self, path, config=None):
        super().__init__(path, config)
        self.lock = threading.Lock()


class Believing(StoreReader):
    @classmethod
    def sniff(cls, path):
        return path.suffix == ".h5"


class Wandering(StoreReader):
    def digest(self):
        return str(self.path.parent).encode().hex()


class Complaining(StoreReader):
    def check(self):
        yield "event 3 is odd"


class Closing(StoreReader):
    closed = False

    def close(self):
        self.closed = True

    def read(self, indices, *, labels=True):
        if self.closed:
            raise ValueError("read of closed file")
        return super().read(indices, labels=labels)


class Careless(StoreReader):
    """Reads what is left of a broken file."""

    def __init__(self, path, config=None):
        try:
            super().__init__(path, config)
        except DataError:
            self.parts, self.broken = {}, True

    broken = False

    def __len__(self):
        return 0 if self.broken else super().__len__()

    def read(self, indices, *, labels=True):
        return () if self.broken else super().read(indices, labels=labels)

    def check(self):
        return iter(()) if self.broken else super().check()


READERS = {
    Sorting: "Events are read in the order asked for",
    Relabelling: "labels=False gives labels",
    Guessing: "``lengths`` gives the rows that are read",
    Renumbering: "Event ids are unique uint64",
    Holding: "It can be pickled after use",
    Believing: "Text, nothing and a missing path are refused",
    Wandering: "a copy has another digest",
    Complaining: "check complains of good data",
    Closing: "After ``close`` it can be read again",
    Careless: "A truncated file is refused",
}


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_the_rule_that_a_reader_breaks_is_named(store, reader):
    with pytest.raises(AssertionError, match=re.escape(READERS[reader])):
        reader_contract(reader, store)
