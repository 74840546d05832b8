"""Row 14: resident memory that an event costs before anything of it is read.

Each way opens 10,000, 100,000 and 1,000,000 events of three voxels in a process of its own, makes what it
needs to read them in random order, reads 32 batches of 32, and says how much its resident memory has grown
since before (it has done the same with the smallest set then). The figure is the slope from the smallest to
the largest set, measured once. Ray Data shuffles blocks in its object store, which is shared memory: there
their size is what is counted.
"""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import psutil

from benchmarks.events import PARTS, made
from benchmarks.measure import Line, Spread
from hepfm.api import Batch, RaggedTable
from hepfm.readers.store import StoreWriter

SIZES = (10_000, 100_000, 1_000_000)
ROWS = 3
BATCH = 32


def run(*, quick: bool) -> list[Line]:
    """The slope of each way, in fresh processes."""
    sizes = SIZES[:2] if quick else SIZES
    ours = _slope("hepfm", sizes)
    lines = []
    for peer, name in (
        ("pilarnet", "PILArNet-style reader's index"),
        ("ray", "Ray Data, shuffled blocks"),
    ):
        theirs = _slope(peer, sizes)
        lines.append(
            Line(
                what=f"resident bytes an event, {sizes[0]:,} to {sizes[-1]:,} events",
                unit="B",
                ours=Spread.exact(ours),
                peer=name,
                theirs=Spread.exact(theirs),
                ratio=Spread.exact(theirs / ours),
                target="<= 8 B an event",
                met=ours <= 8,
                limit="0",
                note=NOTES[peer],
            )
        )
    return lines


NOTES = {
    "pilarnet": "measured once, in a fresh process for each size. hepfm keeps 4 B of cost and 4 B of offsets "
    "an event, and 1.3 kB for each block of 1,024 events; the order is computed, not kept. What is missed is "
    "the blocks' share and what HDF5 keeps. The peer's index holds 8 B of each event's place in its file, "
    "and a shuffled order of 8 B; the other 5 B are HDF5's of the open file, grown as the index is made: "
    "closing the file gives them back",
    "ray": "hepfm's measured once, as above; its blocks hold the events themselves (30 B each, counted), in "
    "shared memory",
}


def _slope(way: str, sizes: tuple[int, ...]) -> float:
    grown = []
    for size in sizes:
        command = [sys.executable, "-m", "benchmarks.row14_memory", way, str(size)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        grown.append(int(done.stdout.split()[-1]))
        print(f"{way}, {size:,} events: {grown[-1] / 1e6:.2f} MB", flush=True)
    return (grown[-1] - grown[0]) / (sizes[-1] - sizes[0])


def _store(n: int) -> Path:
    def make(path: Path) -> None:
        rng = np.random.default_rng(0)
        with StoreWriter(path, PARTS, {"made_by": "benchmarks"}) as writer:
            for first in range(0, n, 10_000):
                columns = {
                    "voxel": rng.integers(0, 768, (10_000 * ROWS, 3)).astype(np.uint16),
                    "energy_mev": rng.random(10_000 * ROWS, np.float32),
                }
                table = RaggedTable(columns, np.arange(10_001) * ROWS)
                parts = {"image3d": {"voxels": table}}
                ids = np.arange(first, first + 10_000)
                writer.write(Batch(event_ids=ids, cost=np.full(10_000, ROWS), parts=parts, labels={}))

    return made(f"small-{n}.h5", make)


def _pilarnet(n: int) -> Path:
    def make(path: Path) -> None:
        with h5py.File(path, "w", libver="latest") as file:
            points = file.create_dataset("point", (n,), h5py.vlen_dtype(np.float32))
            for first in range(0, n, 10_000):
                # h5py takes an array whose rows are equally long for one of more axes, unless told.
                rows = np.empty(10_000, h5py.vlen_dtype(np.float32))
                for i in range(len(rows)):
                    rows[i] = np.zeros(4 * ROWS, np.float32)
                rows[0] = np.zeros(0, np.float32)
                points[first : first + 10_000] = rows

    return made(f"small-pilarnet-{n}.h5", make)


def _hepfm(path: Path) -> object:
    from hepfm.data.loader import Loader
    from hepfm.data.source import EventSource
    from hepfm.readers.store import StoreReader

    source = EventSource([path], StoreReader, parts=PARTS)
    cost = ROWS * BATCH
    steps = iter(Loader(source, seed=0, batch_cost=cost, micro_batch_cost=cost))
    for _ in range(BATCH):
        next(steps)
    return steps


def _pilarnet_style(path: Path) -> object:
    file = h5py.File(path, "r", libver="latest")
    points = file["point"]
    # Lengths are taken in chunks, where the original walks event by event: the same index, sooner.
    lengths = [
        np.array([len(row) for row in points[first : first + 10_000]])
        for first in range(0, len(points), 10_000)
    ]
    index = np.argwhere(np.concatenate(lengths) >= 4).flatten()
    order = np.random.default_rng(0).permutation(len(index))
    del lengths
    for at in range(BATCH * BATCH):
        points[index[order[at]]]
    return file, index, order


def _ray(path: Path) -> int:
    """Bytes of the object store that a shuffled set takes."""
    import pyarrow as pa
    import ray

    with h5py.File(path) as file:
        blocks = [block["image3d/voxels"] for block in file["blocks"].values()]
        voxel = np.concatenate([block["voxel"][:] for block in blocks])
        energy = np.concatenate([block["energy_mev"][:] for block in blocks])
    columns = {
        "voxel": pa.FixedSizeListArray.from_arrays(voxel.ravel(), 3 * ROWS),
        "energy": pa.FixedSizeListArray.from_arrays(energy, ROWS),
    }
    ray.init("local", num_cpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    shuffled = ray.data.from_arrow(pa.table(columns)).random_shuffle(seed=0).materialize()
    batches = iter(shuffled.iter_batches(batch_size=BATCH, batch_format="numpy"))
    for _ in range(BATCH):
        next(batches)
    return int(shuffled.size_bytes())


def _resident() -> int:
    """Bytes that are held, without those that the allocator keeps to give out again."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return psutil.Process().memory_info().rss


def main(way: str, n: int) -> None:
    """Prints by how many bytes this process has grown."""
    path = _pilarnet(n) if way == "pilarnet" else _store(n)
    if way == "ray":  # what its workers hold is in shared memory, which is counted there
        print(_ray(path))
        return
    use = _hepfm if way == "hepfm" else _pilarnet_style
    use(_pilarnet(SIZES[0]) if way == "pilarnet" else _store(SIZES[0]))  # what it imports and keeps once
    before = _resident()
    held = use(path)
    print(_resident() - before)
    del held


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
