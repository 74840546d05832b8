"""The axes that an event's image, charge and light share: the drift, and across the wires of each plane.

A point of the image lies at one place of each of them. A wire sees one across itself, and time the drift.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hepfm_lartpc.charge.config import WireReadout
from hepfm_lartpc.charge.pixels import PixelPlanes
from hepfm_lartpc.charge.projection import wire_geometry
from hepfm_lartpc.charge.wires import WirePlanes
from hepfm_lartpc.detector import Detector
from hepfm_lartpc.light.simulation import LightSimulation

UNIT_MM, UNIT_NS = 10.0, 1000.0
"""Lengths and times in which places are counted: attention tells apart what lies further than about one."""


def frame_of(detector: Detector) -> dict[str, Any]:
    """The attribute ``frame`` of a schema: unit vectors, whose scalar products with a point are its places.

    Of wires the axes are the drift and those across the wires of each plane. Of pixels, of volumes that drift
    along different axes, and without charge, they are x, y and z.
    """
    readout, tpcs = detector.charge, detector.tpcs
    xyz = {name: unit.tolist() for name, unit in zip("xyz", np.eye(3), strict=True)}
    axes = xyz
    if _wires_share_a_drift(detector):
        assert isinstance(readout, WireReadout)
        drift = tpcs[0].axis
        axes = {"xyz"[drift]: xyz["xyz"[drift]]}
        of_face = wire_geometry(readout, tpcs).across[0]
        for plane, across in zip(readout.planes, of_face, strict=True):
            axes[plane.name] = np.insert(across * plane.pitch_mm, drift, 0.0).tolist()
    return {"axes": axes, "unit_mm": UNIT_MM, "unit_ns": UNIT_NS}


def charge_frame(detector: Detector, planes: WirePlanes | PixelPlanes) -> dict[str, Any]:
    """The same of the charge: with the axes that each plane ``sees``, and how time tells the ``drift``.

    The drift is given for each volume, from its first channel on: electrons reach the anode with a velocity
    along an axis.
    """
    frame, names = frame_of(detector), ["xyz"[tpc.axis] for tpc in planes.tpcs]
    first = planes.geometry.first[:, 0] if isinstance(planes, WirePlanes) else planes.first[:-1]
    frame["drift"] = [
        {
            "first_channel": int(channel),
            "axis": name,
            "anode_mm": tpc.anode_mm,
            "velocity_mm_us": tpc.towards * planes.drift.velocity_mm_us,
        }
        for channel, name, tpc in zip(first, names, planes.tpcs, strict=True)
    ]
    if isinstance(planes, PixelPlanes):
        frame["size_mm"] = [planes.readout.pitch_mm]
    else:
        across = [plane.name for plane in planes.readout.planes] if _wires_share_a_drift(detector) else []
        frame["size_mm"] = planes.geometry.pitch_mm.tolist()
        frame["sees"] = [[names[0], *across[p : p + 1]] for p in range(len(planes.readout.planes))]
    return frame


def light_frame(detector: Detector, light: LightSimulation) -> dict[str, Any]:
    """The same of the light: with ``size_mm``, the distance of neighbouring photon detectors."""
    place = np.array([panel.position_mm for panel in light.readout.panels()])
    distance = np.linalg.norm(place[:, None] - place, axis=2) + np.diag(np.full(len(place), np.inf))
    return {**frame_of(detector), "size_mm": [float(np.median(distance.min(1))) if len(place) > 1 else 0.0]}


def _wires_share_a_drift(detector: Detector) -> bool:
    return isinstance(detector.charge, WireReadout) and len({tpc.axis for tpc in detector.tpcs}) == 1
