"""Makes the sample that the package ships, from the Geant4 events described in the data folder's README.

``python tools/make_sample.py DATA`` with DATA the folder that holds ``geant4_lartpc``. The result depends on
the events alone: the same command makes the same digests.
"""
# ruff: noqa: INP001  a script, not a package

from __future__ import annotations

import sys
from pathlib import Path

from hepfm.readers.hilbert import order_rows
from hepfm.readers.sniff import SAMPLE
from hepfm.readers.store import StoreWriter
from hepfm_image3d.pilarnet import PilarnetReader
from hepfm_image3d.schema import image3d_schema

EVENTS = {"train": 128, "val": 32}
COLUMNS = ("voxel", "energy_mev", "time_ns", "semantic", "fragment", "group", "interaction")
SIMULATION = (
    "768^3 voxels of 3 mm; 1 or 2 interactions of 1 to 4 particles and Poisson(0.7) cosmic muons an event; "
    "deposits kept above 0.02 MeV a voxel; made for hepfm"
)


def make_sample(data: Path, split: str, target: Path) -> None:
    """Writes the first events of a split as an event store.

    Args:
        data: The folder that holds ``geant4_lartpc``.
        split: ``train`` or ``val``.
        target: The store's file; must not exist.
    """
    [source] = sorted((data / "geant4_lartpc" / split).glob("*.h5"))
    reader = PilarnetReader(source)
    attributes = reader.parts["image3d"].attributes
    schema = image3d_schema(
        voxels=COLUMNS,
        fragments=reader.parts["image3d"].tables["fragments"],
        voxel_mm=attributes["voxel_mm"],
        grid=tuple(attributes["grid"]),
        origin_mm=tuple(attributes["origin_mm"]),
    )
    batch = order_rows(reader.read(range(EVENTS[split])), reader.parts)
    parts = {"image3d": schema}
    provenance = {
        **reader.provenance,
        "source_digest": reader.digest(),
        "events": f"the first {EVENTS[split]} of {split}",
        "simulation": SIMULATION,
        "licence": "Apache-2.0",
    }
    with StoreWriter(target, parts, provenance, compression="zstd", compression_level=22) as writer:
        writer.write(batch)
    print(f"{target}: {len(batch)} events, {batch.cost.sum()} voxels, {target.stat().st_size} bytes")  # noqa: T201


if __name__ == "__main__":
    for name in EVENTS:
        out = SAMPLE / f"{name}.h5"
        out.unlink(missing_ok=True)
        make_sample(Path(sys.argv[1]), name, out)
