"""Small event stores with two parts, made by the store's own writer, and brute-force copies of their events."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from hepfm.api import Column, PartSchema, Sample
from hepfm.data.source import EventSource
from hepfm.readers.pack import pack
from hepfm.readers.sniff import open_reader
from hepfm.readers.writer import StoreWriter

HITS = PartSchema(
    kind="hits",
    primary="hits",
    tables={
        "hits": {
            "voxel": Column(dtype="uint16", shape=(3,)),
            "energy_mev": Column(dtype="float32", unit="MeV"),
            "semantic": Column(dtype="int8", label=True),
        },
        "runs": {"n_hits": Column(dtype="int32", lengths_of="hits")},
    },
)
LIGHT = PartSchema(
    kind="light", primary="flashes", tables={"flashes": {"pe": Column(dtype="float32", unit="PE")}}
)


class EnergyCut:
    """A modality as far as reading needs one: hits above half an MeV."""

    def select(self, tables):
        return {"hits": tables["hits"].columns["energy_mev"] > 0.5}


def events(n: int, seed: int, *, light: bool = True, longest: int = 30) -> list[Sample]:
    """Events of 0 to ``longest`` hits in two runs, with ids over all 64 bits."""
    rng = np.random.default_rng(seed)
    samples = []
    for length in rng.integers(0, longest + 1, n).tolist():
        first = int(rng.integers(0, length + 1))
        hits = {
            "voxel": rng.integers(0, 65536, (length, 3)).astype(np.uint16),
            "energy_mev": rng.random(length).astype(np.float32),
        }
        parts = {"image": {"hits": hits, "runs": {"n_hits": np.array([first, length - first], np.int32)}}}
        if light:
            parts["light"] = {"flashes": {"pe": rng.random(int(rng.integers(0, 5))).astype(np.float32)}}
        labels = {"image": {"hits": {"semantic": rng.integers(0, 5, length).astype(np.int8)}}}
        samples.append(
            Sample(event_id=int(rng.integers(0, 2**64, dtype=np.uint64)), parts=parts, labels=labels)
        )
    return samples


def store(path: Path, samples: list[Sample], image: PartSchema = HITS) -> Path:
    parts = {"image": image, "light": LIGHT}
    parts = {name: schema for name, schema in parts.items() if not samples or name in samples[0].parts}
    with StoreWriter(path, parts, {}, block_events=8) as writer:
        writer.write(pack(samples, parts))
    return path


def opened(paths: list[Path], parts=("image", "light"), *, cut: bool = False, **options) -> EventSource:
    source = EventSource(paths, partial(open_reader, reader="store"), parts=parts, **options)
    if cut:
        source.modalities["image"] = EnergyCut()
    return source


@pytest.fixture(scope="session")
def two_files(tmp_path_factory) -> tuple[list[Path], list[Sample]]:
    """Two stores, the second without light, and all their events in order."""
    folder = tmp_path_factory.mktemp("stores")
    first, second = events(21, 1), events(13, 2, light=False)
    return [store(folder / "a.h5", first), store(folder / "b.h5", second)], first + second


@pytest.fixture(scope="session")
def make_store() -> Callable[..., Path]:
    return store


@pytest.fixture(scope="session")
def make_events() -> Callable[..., list[Sample]]:
    return events


@pytest.fixture(scope="session")
def open_stores() -> Callable[..., EventSource]:
    return opened
