"""What a detector does not see of its argon: possible, sometimes meant, and worth a sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator

from hepfm_lartpc.charge.config import WireReadout
from hepfm_lartpc.charge.drift import drift_of
from hepfm_lartpc.detector import Detector
from hepfm_lartpc.tpc import Tpc


def doubts(detector: Detector) -> Iterator[str]:
    """Sentences about argon without voxels, voxels without argon, and electrons that are not read."""
    yield from _image(detector)
    if isinstance(detector.charge, WireReadout):
        yield from _wires(detector, detector.charge)
        yield from _window(detector, detector.charge)


def _image(detector: Detector) -> Iterator[str]:
    image = detector.image
    for axis, name in enumerate("xyz"):
        low, high = detector.low_mm[axis], detector.high_mm[axis]
        first = image.origin_mm[axis]
        last = first + image.voxel_mm * image.grid[axis]
        if first > low + 1e-6 or last < high - 1e-6:
            yield (
                f"image: voxels reach from {first:g} to {last:g} mm in {name}, the argon from {low:g} to "
                f"{high:g} mm; what lies beyond is missing in the image"
            )
        elif last - first > 2 * (high - low):
            yield (
                f"image: voxels reach from {first:g} to {last:g} mm in {name}, of which only {low:g} to "
                f"{high:g} mm hold argon"
            )


def _wires(detector: Detector, readout: WireReadout) -> Iterator[str]:
    for number, tpc in enumerate(detector.tpcs):
        for plane in readout.planes:
            needed, there = face_mm(tpc, plane.angle_deg), plane.wires * plane.pitch_mm
            missed = max(0.5 * (needed - there) + abs(plane.offset_mm), 0.0)
            if missed > plane.pitch_mm:
                yield (
                    f"charge: the wires of plane {plane.name} leave {missed:.3g} mm of drift volume {number} "
                    f"free at their end; {math.ceil(needed / plane.pitch_mm)} wires, centred, cover it"
                )


def face_mm(tpc: Tpc, angle_deg: float) -> float:
    """Extent of the anode's face across wires of this angle (`WirePlane.angle_deg`)."""
    across, along = (tpc.high_mm[axis] - tpc.low_mm[axis] for axis in range(3) if axis != tpc.axis)
    if tpc.axis == 0:  # the vertical is the first of the two axes, else the second
        across, along = along, across
    angle = math.radians(angle_deg)
    return across * math.cos(angle) + along * abs(math.sin(angle))


def _window(detector: Detector, readout: WireReadout) -> Iterator[str]:
    drift = drift_of(
        readout.drift,
        field_kv_cm=detector.field_kv_cm,
        temperature_k=detector.temperature_k,
        lifetime_ms=detector.lifetime_ms,
    )
    longest_us = max(tpc.drift_mm for tpc in detector.tpcs) / drift.velocity_mm_us
    window_us = 1e-3 * readout.tick_ns * (readout.ticks - readout.trigger_offset_ticks)
    if longest_us > window_us:
        ticks = math.ceil(1e3 * longest_us / readout.tick_ns + readout.trigger_offset_ticks)
        yield (
            f"charge: the frame ends {window_us:.4g} us after the event's time 0, and electrons drift for up "
            f"to {longest_us:.4g} us; {ticks} ticks hold them"
        )
