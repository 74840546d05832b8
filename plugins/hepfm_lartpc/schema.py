"""The parts of a simulated event: names, types and units of their columns, and their classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hepfm.api import ClassName, Column, PartSchema
from hepfm_lartpc import species as sp
from hepfm_lartpc.image import ImageGrid

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
"""PILArNet's particle classes."""

TRACES = {
    "channel": Column(dtype="int32", doc="of the detector"),
    "plane": Column(dtype="int8", vocabulary="plane", doc="that the channel belongs to"),
    "start_tick": Column(dtype="int32", doc="number of the first sample, counted at all channels alike"),
    "n_samples": Column(dtype="int32", lengths_of="samples", doc="of the trace"),
    "time_ns": Column(dtype="float64", unit="ns", doc="of the first sample, from the event's time 0"),
    "pedestal_adc": Column(dtype="float32", unit="ADC", doc="nominal"),
    "position_mm": Column(dtype="float32", shape=(3,), unit="mm", doc="of the channel's middle"),
}
"""Columns of the table ``traces`` of a part of the kind ``waveform``."""

PROCESS = tuple(ClassName(value=k, name=name) for k, name in enumerate(sp.PROCESSES))


def image3d(grid: ImageGrid, detector: str, *, frame: Mapping[str, Any]) -> PartSchema:
    """The part ``image3d``: columns and classes as the kind ``image3d`` and PILArNet have them."""

    def label(dtype: str, doc: str = "", unit: str = "", vocabulary: str = "") -> Column:
        return Column(dtype=dtype, label=True, doc=doc, unit=unit, vocabulary=vocabulary)

    voxels = {
        "voxel": Column(dtype="uint16", shape=(3,), unit="voxel", doc="voxel index along x, y, z"),
        "energy_mev": Column(dtype="float32", unit="MeV", doc="energy deposited in the voxel"),
        "time_ns": Column(dtype="float32", unit="ns", doc="mean time of the deposits, by energy"),
        "electrons": Column(dtype="float32", doc="ionisation electrons that did not recombine"),
        "dx_mm": Column(dtype="float32", unit="mm", doc="path length in the voxel, of all tracks"),
        "semantic": label("int8", "semantic class", vocabulary="semantic"),
        "fragment": label("int32", "fragment_id; -1 for low-energy deposits"),
        "group": label("int32", "group_id: the particle; -1 for low-energy deposits"),
        "interaction": label("int32", "interaction_id; -1 for low-energy deposits"),
        "pdg": label("int32", "PDG code of the particle that left most energy"),
    }
    fragments = {
        "fragment_id": label("int32"),
        "group_id": label("int32", "the particle's largest fragment"),
        "interaction_id": label("int32"),
        "semantic": label("int8", vocabulary="semantic"),
        "n_voxels": label("int32", "rows of voxels, before any cut"),
        "pid": label("int8", vocabulary="pid"),
        "mass_mev": label("float32", unit="MeV"),
        "momentum_gev": label("float32", "of the particle, when it was made", unit="GeV/c"),
        "vertex": Column(
            dtype="float32", shape=(3,), unit="mm", label=True, doc="where the particle was made"
        ),
    }
    return PartSchema(
        kind="image3d",
        primary="voxels",
        tables={"voxels": voxels, "fragments": fragments},
        vocabularies={"semantic": SEMANTIC, "pid": PID},
        attributes={
            "voxel_mm": grid.voxel_mm,
            "grid": list(grid.grid),
            "origin_mm": list(grid.origin_mm),
            "hilbert_column": "voxel",  # the store keeps an event's rows in this column's Hilbert order
            "detector": detector,
            "frame": frame,
        },
    )


def truth(detector: str) -> PartSchema:
    """The part ``truth``: the event's particles as a structured record. It is truth, and says so."""

    def vector(unit: str, doc: str) -> Column:
        return Column(dtype="float32", shape=(3,), unit=unit, doc=doc)

    particles = {
        "particle": Column(dtype="int32", doc="number of the particle in the event"),
        "parent": Column(dtype="int32", doc="number of the particle that made it; -1 for a primary"),
        "interaction": Column(dtype="int32", doc="from 0; particles of one vertex share it"),
        "pdg": Column(dtype="int32", doc="PDG code"),
        "process": Column(dtype="int8", vocabulary="process", doc="how it was made"),
        "semantic": Column(dtype="int8", vocabulary="semantic", doc="class of what it left"),
        "energy_mev": Column(dtype="float32", unit="MeV", doc="kinetic energy when it was made"),
        "momentum_gev": vector("GeV/c", "when it was made"),
        "start_mm": vector("mm", "where it was made"),
        "end_mm": vector("mm", "where it stopped, ended or left the volume"),
        "start_ns": Column(dtype="float32", unit="ns", doc="when it was made"),
        "end_ns": Column(dtype="float32", unit="ns", doc="when it ended"),
        "deposited_mev": Column(dtype="float32", unit="MeV", doc="by it and all that belongs to it"),
    }
    attributes: dict[str, Any] = {"truth": True, "detector": detector}
    return PartSchema(
        kind="structured",
        primary="particles",
        tables={"particles": particles},
        vocabularies={"process": PROCESS, "semantic": SEMANTIC},
        attributes=attributes,
    )


def waveform(
    *,
    sample_ns: float,
    truth: str,
    planes: tuple[str, ...],
    detector: str,
    with_signal: bool = False,
    **attributes: Any,
) -> PartSchema:
    """A part of the kind ``waveform``: samples, and the traces that they belong to.

    Args:
        sample_ns: From one sample to the next.
        truth: What the label of each sample counts: ``"electrons"`` or ``"photoelectrons"``.
        planes: Names of the planes that traces are of.
        detector: Its name.
        with_signal: Whether there is the label ``signal_adc``.
        attributes: What else belongs to the part.
    """
    samples = {
        "adc": Column(dtype="int16", unit="ADC", doc="as digitised, with pedestal"),
        truth: Column(dtype="float32", label=True, doc=f"{truth} that arrived in the sample, without noise"),
    }
    if with_signal:
        samples["signal_adc"] = Column(
            dtype="float32", unit="ADC", label=True, doc="above the pedestal, without noise or digitisation"
        )
    return PartSchema(
        kind="waveform",
        primary="samples",
        tables={"samples": samples, "traces": TRACES},
        vocabularies={"plane": tuple(ClassName(value=k, name=name) for k, name in enumerate(planes))},
        attributes={"sample_ns": sample_ns, "detector": detector, **attributes},
    )
