"""The schema of a 3D image part: names, types and units of its columns, and its classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hepfm.api import ClassName, Column, PartSchema

SEMANTIC = (
    ClassName(value=0, name="shower", colour="#E69F00"),
    ClassName(value=1, name="track", colour="#0072B2"),
    ClassName(value=2, name="Michel", colour="#CC79A7"),
    ClassName(value=3, name="delta", colour="#009E73"),
    ClassName(value=4, name="LED", colour="#999999"),
)
"""PILArNet's semantic classes; LED are low-energy deposits. Colours: Okabe and Ito's."""

PID = (
    ClassName(value=-1, name="none"),
    ClassName(value=0, name="photon"),
    ClassName(value=1, name="electron"),
    ClassName(value=2, name="muon"),
    ClassName(value=3, name="pion"),
    ClassName(value=4, name="proton"),
)

VOXELS = {
    "voxel": Column(dtype="uint16", shape=(3,), unit="voxel", doc="voxel index along x, y, z"),
    "energy_mev": Column(dtype="float32", unit="MeV", doc="energy in the voxel"),
    "time_ns": Column(dtype="float32", unit="ns", doc="time of the deposit"),
    "de_mev": Column(dtype="float32", unit="MeV", doc="energy deposited, PILArNet's dE"),
    "electrons": Column(dtype="float32", doc="number of ionisation electrons"),
    "dx_mm": Column(dtype="float32", unit="mm", doc="path length in the voxel"),
    "semantic": Column(dtype="int8", label=True, vocabulary="semantic", doc="semantic class"),
    "fragment": Column(dtype="int32", label=True, doc="fragment_id; -1 for low-energy deposits"),
    "group": Column(dtype="int32", label=True, doc="group_id: the particle; -1 for low-energy deposits"),
    "interaction": Column(dtype="int32", label=True, doc="interaction_id; -1 for low-energy deposits"),
    "pdg": Column(dtype="int32", label=True, doc="PDG code of the particle that left most energy"),
}
"""Columns of the table ``voxels``; a file may lack any but ``voxel`` and ``energy_mev``."""

VERTEX = Column(
    dtype="float32",
    shape=(3,),
    unit="mm",
    label=True,
    doc="in the detector's frame, see origin_mm; -1 for none",
)
"""PILArNet's vertices lie within +-1152 mm, half of its 768 voxels of 3 mm: mm, from the centre."""

FRAGMENTS = {
    "fragment_id": Column(dtype="int32", label=True),
    "group_id": Column(dtype="int32", label=True),
    "interaction_id": Column(dtype="int32", label=True),
    "semantic": Column(dtype="int8", label=True, vocabulary="semantic"),
    "n_voxels": Column(dtype="int32", label=True, doc="rows of voxels, before any cut"),
    "pid": Column(dtype="int8", label=True, vocabulary="pid"),
    "mass_mev": Column(dtype="float32", label=True, unit="MeV"),
    "momentum_gev": Column(dtype="float32", label=True, unit="GeV/c"),
    "vertex": VERTEX,
    "is_primary": Column(dtype="float32", label=True),
    "momentum_xyz_gev": Column(dtype="float32", shape=(3,), label=True, unit="GeV/c"),
    "parent_pdg": Column(dtype="int32", label=True),
    "parent_track_id": Column(dtype="int32", label=True),
}
"""Columns of the table ``fragments``, in the file's order; PILArNet's row 0 is the low-energy deposits."""

INTERACTIONS = {
    "interaction_id": Column(dtype="int32", label=True),
    "vertex": VERTEX,
}


def image3d_schema(
    *,
    voxels: Iterable[str],
    fragments: Iterable[str] = (),
    interactions: Iterable[str] = (),
    voxel_mm: float = 3.0,
    grid: tuple[int, int, int] = (768, 768, 768),
    origin_mm: tuple[float, float, float] = (-1152.0, -1152.0, -1152.0),
    **attributes: Any,
) -> PartSchema:
    """The schema of an image with these columns, on a grid of cubes of ``voxel_mm`` from ``origin_mm`` on."""
    tables = {"voxels": {name: VOXELS[name] for name in voxels}}
    if columns := {name: FRAGMENTS[name] for name in fragments}:
        tables["fragments"] = columns
    if columns := {name: INTERACTIONS[name] for name in interactions}:
        tables["interactions"] = columns
    return PartSchema(
        kind="image3d",
        primary="voxels",
        tables=tables,
        vocabularies={"semantic": SEMANTIC, "pid": PID},
        attributes={
            "voxel_mm": voxel_mm,
            "grid": list(grid),
            "origin_mm": list(origin_mm),
            "hilbert_column": "voxel",  # the store keeps an event's rows in this column's Hilbert order
            **attributes,
        },
    )
