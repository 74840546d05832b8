"""Row 2: bytes that an event takes on disk, with all columns and labels, without loss.

PILArNet's own file cannot be compressed by HDF5: a filter sees the descriptors of variable-length rows, not
the rows. The peer is therefore the whole file through gzip, which can no longer be read at random; beside
it stands the file as it is. Events: those of the data folder's Geant4 sample in PILArNet's layout.
"""

from __future__ import annotations

import gzip
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from benchmarks.events import PARTS
from benchmarks.measure import Line, Spread
from hepfm.api import Batch
from hepfm.readers.convert import Settings, convert, plan
from hepfm.readers.hilbert import order_rows
from hepfm.readers.pack import take
from hepfm.readers.store import StoreReader, StoreWriter
from hepfm_image3d.pilarnet import PilarnetReader


def run(*, quick: bool) -> list[Line]:
    """Converts a file, compares all events, and weighs it."""
    data = Path(os.environ.get("HEPFM_REAL_DATA", "../shared/data")) / "geant4_lartpc"
    source = next((data / ("val" if quick else "train")).glob("*.h5"))
    with tempfile.TemporaryDirectory() as folder:
        sizes = {}
        for compression in ("none", "zstd"):
            target = Path(folder, f"{compression}.h5")
            settings = Settings(reader="pilarnet", compression=compression)
            for unit in plan([source], target, settings):
                convert(unit)
            sizes[compression] = target.stat().st_size
        there, here = PilarnetReader(source), StoreReader(target)
        for event in range(0, len(there), 10):
            _assert_same(there.read([event]), here.read([event]))
        n = len(there)
        inputs = _inputs_alone(there, Path(folder))
    as_it_is = source.stat().st_size
    zipped = len(gzip.compress(source.read_bytes(), 6))
    ours = Spread.exact(sizes["zstd"] / n)

    def line(peer: str, size: int, note: str, *, target: float = 0.0) -> Line:
        return Line(
            what=f"bytes an event, {n} Geant4 events, all columns and labels",
            unit="B",
            ours=ours,
            peer=peer,
            theirs=Spread.exact(size / n),
            ratio=Spread.exact(size / sizes["zstd"]),
            target=f">= {target:g} times smaller" if target else "",
            met=size / sizes["zstd"] >= target if target else None,
            limit="entropy",
            note=note,
        )

    return [
        line(
            "PILArNet's layout",
            as_it_is,
            "as its files are: a filter of HDF5 does not reach rows of variable length. What is left of "
            "hepfm's are "
            "the random digits of four float32 columns, at 2 to 3.3 B a value, which zstd and gzip leave "
            "as they are; "
            f"without compression hepfm's store takes {sizes['none'] / n:,.0f} B",
            target=2.5,
        ),
        Line(
            what=f"bytes an event, {n} Geant4 events, voxels and energies alone",
            unit="B",
            ours=Spread.exact(inputs[0] / n),
            peer="PILArNet's layout, four float32 columns",
            theirs=Spread.exact(inputs[1] / n),
            ratio=Spread.exact(inputs[1] / inputs[0]),
            limit="entropy",
        ),
        line(
            "PILArNet's file through gzip -6",
            zipped,
            "the whole file as one stream, which can no longer be read at random; the store can",
        ),
    ]


def _inputs_alone(there: PilarnetReader, folder: Path) -> tuple[int, int]:
    """Bytes of voxels and energies in hepfm's store, and as variable-length rows."""
    batch = order_rows(there.read(range(len(there)), labels=False), there.parts)
    with StoreWriter(folder / "inputs.h5", PARTS, {}, compression="zstd") as writer:
        writer.write(replace(batch, labels={}))
    table = batch.parts["image3d"]["voxels"]
    rows = np.column_stack([table.columns["voxel"], table.columns["energy_mev"]]).astype(np.float32)
    with h5py.File(folder / "rows.h5", "w", libver="latest") as file:
        points = file.create_dataset("point", (len(there),), h5py.vlen_dtype(np.float32))
        for event, of_event in enumerate(np.split(rows, table.offsets[1:-1])):
            points[event] = of_event.ravel()
    return (folder / "inputs.h5").stat().st_size, (folder / "rows.h5").stat().st_size


def _assert_same(there: Batch, here: Batch) -> None:
    """All columns of an event, whose voxels the store has in another order."""

    def in_order(batch: Batch) -> Batch:
        voxel = batch.parts["image3d"]["voxels"].columns["voxel"]
        order = np.lexsort(voxel.T)
        for tables in (batch.parts, batch.labels):
            columns = tables["image3d"]["voxels"].columns
            for name in columns:
                columns[name] = columns[name][order]
        return batch

    there, here = in_order(take(there, [0])), in_order(take(here, [0]))
    for theirs, ours in ((there.parts, here.parts), (there.labels, here.labels)):
        for table, rows in theirs["image3d"].items():
            for name, column in rows.columns.items():
                np.testing.assert_array_equal(ours["image3d"][table].columns[name], column)
