"""Row 1: events a second that one core reads, in random order, batch 32, joined to packed float32 rows.

All ways read the same 20,000 events from a warm page cache and give ``(N, 4)`` float32 tensors of x, y, z
and energy, and offsets. hepfm's way is the loader that trains. PILArNet-style reading takes one
variable-length row after the other through h5py. The other peers store, as hepfm does, u16 voxels and f32
energies, and shuffle as they can: MosaicML streaming over the whole set by its own order, litdata its chunks
of 64 MB and all events within each, webdataset within a buffer of 1,000 events. Before anything is timed,
each way reads the whole set once, and all must have given the same events.
"""

from __future__ import annotations

import importlib.machinery
import sys
import types
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from benchmarks.events import PARTS, Event, N, events, made, pilarnet, store
from benchmarks.measure import Line, Spread, in_turn, one_core, ratios, seconds
from hepfm.data.loader import Loader
from hepfm.data.source import EventSource
from hepfm.readers.pack import offsets_of
from hepfm.readers.store import StoreReader

BATCH = 32
BATCHES = 100
"""Of a timing."""

IN, OUT = 10, 16
"""Bytes of a voxel and its energy as they are stored, and as float32."""

Packed = tuple[torch.Tensor, torch.Tensor]
"""``(N, 4)`` float32 rows and ``(B+1,)`` offsets."""


def run(*, quick: bool) -> list[Line]:
    """Compares all ways on what they read, then times them in turn."""
    n = 2000 if quick else N
    made_by = {
        "hepfm": partial(hepfm, store(n)),
        "hepfm, u16 kept": partial(hepfm_u16, store(n)),
        "PILArNet-style reader": partial(variable_length, pilarnet(n)),
        "MosaicML streaming": partial(mosaic, _mosaic_store(n)),
        "litdata": partial(litdata, _litdata_store(n)),
        "webdataset": partial(webdataset, _webdataset_store(n)),
    }
    one_core()
    wanted = None
    for name, make in made_by.items():
        if name == "hepfm, u16 kept":
            continue
        found = _fingerprints(make(), n)
        wanted = found if wanted is None else wanted
        np.testing.assert_allclose(found, wanted, rtol=1e-6, err_msg=name)
    streams = {name: make() for name, make in made_by.items()}
    ways = {name: partial(_speed, stream, 10 if quick else BATCHES) for name, stream in streams.items()}
    speeds = in_turn(ways, quick=quick)
    ours = speeds["hepfm"]
    peers = [name for name in speeds if not name.startswith("hepfm")]
    best = max(peers[1:], key=lambda name: Spread.of(speeds[name]).median)
    targets = {"PILArNet-style reader": 20.0, best: 1.5}
    bandwidth, rows = _bandwidth(), float(np.mean([len(energy) for _, energy in islice(events(n), 500)]))

    def limit(moved: int) -> float:
        """Events a second if nothing took time but to move so many bytes a voxel, in and out."""
        return bandwidth / (rows * moved)

    def line(name: str) -> Line:
        ratio = ratios(ours, speeds[name], higher_is_better=True)
        target = targets.get(name)
        return Line(
            what="read, one core, random order, batch 32, to packed float32",
            unit="events/s",
            ours=Spread.of(ours),
            peer=name,
            theirs=Spread.of(speeds[name]),
            ratio=ratio,
            target=f">= {target:g} times" + (" the best peer" if name == best else "") if target else "",
            met=ratio.median >= target if target else None,
            limit=f"copy bandwidth, {limit(IN + OUT):,.0f} events/s",
            note=NOTES.get(name, ""),
        )

    kept = Line(
        what="read, one core, voxels kept u16 until on the device",
        unit="events/s",
        ours=Spread.of(speeds["hepfm, u16 kept"]),
        limit=f"copy bandwidth, {limit(2 * IN):,.0f} events/s",
        note="what training reads: no float32 copy of the voxels is made on the host",
    )
    return [*map(line, peers), kept]


NOTES = {
    "PILArNet-style reader": "most of hepfm's time goes into making float32 of u16 voxels, which training "
    "leaves to the device (last line); the rest are system calls, one for each column of each event",
    "MosaicML streaming": "its shuffle, over the whole set; one process, no workers",
    "litdata": "shuffles its chunks of 64 MB (about 1,400 events), and all events within each; it reads one "
    "chunk after the other",
    "webdataset": "shuffles within 1,000 events alone; it reads files from end to end",
}


def _speed(stream: Iterator[Any], batches: int) -> float:
    """Events a second over the stream's next batches."""
    read = 0

    def draw() -> None:
        nonlocal read
        for batch in islice(stream, batches):
            read += len(batch[1]) - 1

    taken = seconds(draw)
    return read / taken


def _bandwidth() -> float:
    """Bytes a second that a copy reads and writes, together."""
    source, target = np.ones((2, 1 << 26), np.uint8)
    return 2 * len(source) / min(seconds(partial(np.copyto, target, source)) for _ in range(5))


def _fingerprints(stream: Iterator[Packed], n: int) -> np.ndarray[Any, Any]:
    """Of each of ``n`` events its rows, and sums over them; in an order of their own."""
    prints: list[np.ndarray[Any, Any]] = []
    seen = 0
    for rows, offsets in stream:
        sums = np.add.reduceat(rows.double().numpy(), offsets[:-1].numpy())
        prints.append(np.column_stack((offsets.diff().numpy(), sums)))
        seen += len(sums)
        if seen >= n:
            break
    found = np.concatenate(prints)[:n]
    return found[np.lexsort(found.T)]


def hepfm(path: Path) -> Iterator[Packed]:
    """Batches of about 32 events, of equal cost, as in training; joined to float32."""
    for table in _tables(path):
        voxel, energy = table.columns["voxel"], table.columns["energy_mev"]
        rows = torch.empty(len(voxel), 4)
        rows[:, :3] = voxel
        rows[:, 3] = energy
        yield rows, table.offsets


def hepfm_u16(path: Path) -> Iterator[tuple[Any, torch.Tensor]]:
    """The same, as it is stored."""
    for table in _tables(path):
        yield table.columns, table.offsets


def _tables(path: Path) -> Iterator[Any]:
    source = EventSource([path], StoreReader, parts=PARTS)
    cost = int(source.costs.mean() * BATCH)
    for step in Loader(source, seed=0, batch_cost=cost, micro_batch_cost=2 * cost):
        [batch] = step.micro_batches
        yield batch.parts["image3d"]["voxels"]


def join(some: list[Event]) -> Packed:
    """Events end to end."""
    offsets = torch.from_numpy(offsets_of([len(energy) for _, energy in some]))
    rows = torch.empty(int(offsets[-1]), 4)
    into = rows.numpy()
    np.concatenate([voxel for voxel, _ in some], out=into[:, :3], casting="unsafe")
    np.concatenate([energy for _, energy in some], out=into[:, 3])
    return rows, offsets


def variable_length(path: Path) -> Iterator[Packed]:
    """A map-style data set of h5py rows, shuffled and batched by torch."""

    class Rows(torch.utils.data.Dataset):
        def __init__(self) -> None:
            self.points = h5py.File(path, "r", libver="latest")["point"]

        def __len__(self) -> int:
            return len(self.points)

        def __getitem__(self, index: int) -> np.ndarray[Any, Any]:
            return self.points[index].reshape(-1, 4)

    def collate(some: list[np.ndarray[Any, Any]]) -> Packed:
        offsets = torch.from_numpy(offsets_of([len(rows) for rows in some]))
        return torch.from_numpy(np.concatenate(some)), offsets

    loader = torch.utils.data.DataLoader(Rows(), batch_size=BATCH, shuffle=True, collate_fn=collate)
    while True:
        yield from loader


def _mosaic() -> Any:
    """MosaicML streaming, whose image data sets alone would need a torchvision that fits torch."""
    names = {"datasets": ("VisionDataset",), "transforms": (), "transforms.functional": ("to_tensor",)}
    for name, things in {"": (), **names}.items():
        module = types.ModuleType(f"torchvision.{name}".rstrip("."))
        module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None)
        for thing in things:
            setattr(module, thing, object)
        sys.modules.setdefault(module.__name__, module)
    import streaming

    return streaming


def _mosaic_store(n: int) -> Path:
    def make(path: Path) -> None:
        columns = {"voxel": "ndarray:uint16", "energy": "ndarray:float32"}
        with _mosaic().MDSWriter(out=str(path), columns=columns) as writer:
            for voxel, energy in events(n):
                writer.write({"voxel": voxel, "energy": energy})

    return made(f"mosaic-{n}", make)


def mosaic(path: Path) -> Iterator[Packed]:
    """Its data set and torch's loader."""
    data = _mosaic().StreamingDataset(local=str(path), shuffle=True, batch_size=BATCH)
    loader = torch.utils.data.DataLoader(data, batch_size=BATCH, collate_fn=_join_samples)
    while True:
        yield from loader


def _join_samples(some: list[dict[str, Any]]) -> Packed:
    return join([(sample["voxel"], sample["energy"]) for sample in some])


def _sample(event: Event) -> dict[str, Any]:
    return {"voxel": event[0], "energy": event[1]}


def _litdata_store(n: int) -> Path:
    def make(path: Path) -> None:
        from litdata import optimize

        some = list(events(n))
        optimize(_sample, some, str(path), num_workers=1, chunk_bytes="64MB", start_method="fork")

    return made(f"litdata-{n}", make)


def litdata(path: Path) -> Iterator[Packed]:
    """Its data set and its loader."""
    from litdata import StreamingDataLoader, StreamingDataset

    data = StreamingDataset(str(path), shuffle=True, item_shuffle_window="full")  # by default, 256 events
    loader = StreamingDataLoader(data, batch_size=BATCH, num_workers=0, collate_fn=_join_samples)
    while True:
        yield from loader


def _webdataset_store(n: int) -> Path:
    def make(path: Path) -> None:
        from webdataset import ShardWriter

        path.mkdir()
        with ShardWriter(f"{path}/%06d.tar", maxcount=2000, verbose=0) as writer:
            for i, (voxel, energy) in enumerate(events(n)):
                writer.write({"__key__": f"{i:08d}", "voxel.npy": voxel, "energy.npy": energy})

    return made(f"webdataset-{n}", make)


def webdataset(path: Path) -> Iterator[Packed]:
    """Its pipeline of shards, shuffle buffer and decoding."""
    import webdataset as wds

    shards = sorted(str(shard) for shard in path.glob("*.tar"))
    data = wds.WebDataset(shards, shardshuffle=len(shards), seed=0).shuffle(1000).decode()
    loader = data.to_tuple("voxel.npy", "energy.npy").batched(BATCH, collation_fn=join)
    while True:
        yield from loader
