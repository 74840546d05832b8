"""The 20,000 events that rows are measured on, made from the sample that hepfm ships; the same on every
machine.

Each lays one to three events of the sample over one another, each turned by a symmetry of the cube: 4,400
voxels on average, as many as PILArNet-M's, and as widely spread. They are kept below ``HEPFM_BENCHMARKS``
(by default ``~/.cache/hepfm/benchmarks``), in hepfm's store and in the layouts of the peers.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hepfm.api import Batch, RaggedTable
from hepfm.readers.pack import offsets_of
from hepfm.readers.sniff import SAMPLE
from hepfm.readers.store import StoreReader, StoreWriter
from hepfm_image3d.schema import image3d_schema

N = 20_000
SIDE = 768
PARTS = {"image3d": image3d_schema(voxels=("voxel", "energy_mev"))}

Event = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
"""``(n, 3)`` uint16 voxels and ``(n,)`` float32 energies in MeV."""


def folder() -> Path:
    """Where event sets are kept."""
    default = Path.home() / ".cache" / "hepfm" / "benchmarks"
    return Path(os.environ.get("HEPFM_BENCHMARKS", default))


def made(name: str, make: Callable[[Path], None]) -> Path:
    """A file or folder of this name; made where it is not there, and never seen half made."""
    path = folder() / name
    if not path.exists():
        aside = path.with_name(f".{os.getpid()}-{name}")
        aside.parent.mkdir(parents=True, exist_ok=True)
        print(f"making {path}", flush=True)
        make(aside)
        aside.rename(path)
    return path


@cache
def sample() -> list[Event]:
    """The sample's training events."""
    table = StoreReader(SAMPLE / "train.h5").read(range(128), labels=False).parts["image3d"]["voxels"]
    cuts = table.offsets[1:-1]
    columns = (np.split(table.columns[name], cuts) for name in ("voxel", "energy_mev"))
    return list(zip(*columns, strict=True))


def events(n: int = N) -> Iterator[Event]:
    """The first events of the set."""
    turns = list(
        itertools.product(itertools.permutations(range(3)), itertools.product((False, True), repeat=3))
    )
    rng = np.random.default_rng(0)
    for _ in range(n):
        voxels, energies = [], []
        for _ in range(rng.integers(1, 4)):
            voxel, energy = sample()[rng.integers(len(sample()))]
            axes, flips = turns[rng.integers(len(turns))]
            voxels.append(np.where(flips, SIDE - 1 - voxel[:, axes], voxel[:, axes]).astype(np.uint16))
            energies.append(energy)
        yield np.concatenate(voxels), np.concatenate(energies)


@cache
def lengths(n: int = N) -> np.ndarray[Any, np.dtype[np.int64]]:
    """``(n,)`` voxels of each event."""
    return np.diff(_offsets(n))


def _offsets(n: int) -> np.ndarray[Any, Any]:
    return offsets_of([len(energy) for _, energy in events(n)])


def store(n: int = N) -> Path:
    """The events as hepfm's store, not compressed."""

    def make(path: Path) -> None:
        with StoreWriter(path, PARTS, {"made_by": "benchmarks"}) as writer:
            source, first = events(n), 0
            while some := list(itertools.islice(source, 1000)):
                offsets = offsets_of([len(energy) for _, energy in some])
                voxel, energy = (np.concatenate(column) for column in zip(*some, strict=True))
                table = RaggedTable({"voxel": voxel, "energy_mev": energy}, offsets)
                ids = np.arange(first, first + len(some))
                parts = {"image3d": {"voxels": table}}
                writer.write(Batch(event_ids=ids, cost=np.diff(offsets), parts=parts, labels={}))
                first += len(some)

    return made(f"events-{n}.h5", make)


def pilarnet(n: int = N) -> Path:
    """The events as variable-length rows of x, y, z and energy in float32, in PILArNet's manner."""
    import h5py

    def make(path: Path) -> None:
        with h5py.File(path, "w", libver="latest") as file:
            points = file.create_dataset("point", (n,), h5py.vlen_dtype(np.float32))
            for i, (voxel, energy) in enumerate(events(n)):
                points[i] = np.column_stack((voxel, energy)).astype(np.float32).ravel()

    return made(f"pilarnet-{n}.h5", make)
