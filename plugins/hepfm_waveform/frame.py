"""Where the patches of waveforms lie in the detector, along axes that other parts may share.

A wire tells one coordinate of the charge that it sees, across itself; and time tells the drift. Light comes at
once, and a photon detector lies where it is.

Legend: U patches, A axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from hepfm.api import PartSchema
from hepfm_waveform.windows import Windows

TIME = "time"
"""Axis of what does not drift, in the frame's unit of time."""


def axes_of(schema: PartSchema) -> tuple[str, ...]:
    """Names of the axes; none where the schema's attribute ``frame`` is missing, or a column that it needs."""
    frame, traces = schema.attributes.get("frame"), schema.tables["traces"]
    if frame is None or "position_mm" not in traces or "time_ns" not in traces:
        return ()
    return tuple(frame["axes"]) if "drift" in frame else (*frame["axes"], TIME)


def places_of(windows: Windows, attributes: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Axis to ``(U, 2)``: the middles of patches, and how far they reach to either side, in frame units."""
    frame, columns = attributes["frame"], windows.traces.columns
    unit_mm, period = float(frame["unit_mm"]), float(attributes["sample_ns"])
    trace, patch = windows.trace, windows.patch
    place = columns["position_mm"][trace].float() / unit_mm
    first = (windows.window * patch - columns["start_tick"][trace].long()).double()
    middle_ns = (columns["time_ns"][trace].double() + (first + 0.5 * (patch - 1)) * period).float()
    half_ns = 0.5 * patch * period
    places = {}
    for name, direction in frame["axes"].items():
        along = place @ place.new_tensor(direction)
        half = torch.full_like(along, 0.5 * float(frame.get("size_mm", 0.0)) / unit_mm)
        if "sees" in frame:
            sees = torch.tensor([name in axes for axes in frame["sees"]], device=along.device)
            half = half.where(sees[windows.plane.clamp(0, len(sees) - 1)], torch.inf)
        places[name] = torch.stack((along, half), 1)
    if "drift" not in frame:
        unit_ns = float(frame["unit_ns"])
        places[TIME] = torch.stack((middle_ns, torch.full_like(middle_ns, half_ns)), 1) / unit_ns
        return places
    for volume in frame["drift"]:
        velocity = float(volume["velocity_mm_us"]) * 1e-3
        along = (float(volume["anode_mm"]) - velocity * middle_ns) / unit_mm
        half = torch.full_like(along, half_ns * abs(velocity) / unit_mm)
        of_volume = (windows.channel >= int(volume["first_channel"]))[:, None]
        places[volume["axis"]] = torch.stack((along, half), 1).where(of_volume, places[volume["axis"]])
    return places
