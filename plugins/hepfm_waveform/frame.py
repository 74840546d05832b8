"""Where the patches of waveforms lie in the detector, along axes that other parts may share.

A wire tells one coordinate of the charge that it sees, across itself, and time the drift. Light does not
drift, and a photon detector lies where it is.

Legend: N patches or runs, Q known samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.functional import pad

from hepfm.api import PartSchema, Pieces
from hepfm.errors import DataError
from hepfm.nn.frame_attribute import check_frame
from hepfm_waveform.windows import Windows

RUN = 8
"""Samples of a run: of a wire 6 mm of drift, about its pitch."""
TIME = "time"
"""Axis of what does not drift, in the frame's unit of time."""


def axes_of(schema: PartSchema) -> tuple[str, ...]:
    """Names of the axes; none without the schema's attribute ``frame``, or a column that it needs.

    Raises:
        DataError: The frame cannot be worked with.
    """
    check_frame(schema)
    frame, traces = schema.attributes.get("frame"), schema.tables["traces"]
    if frame is None or "position_mm" not in traces or "time_ns" not in traces:
        return ()
    if "drift" in frame:
        return tuple(frame["axes"])
    if "unit_ns" not in frame:
        raise DataError(
            "The frame tells no drift, so time is an axis, and there is no unit of it.",
            where=f"schema of kind {schema.kind}, attribute frame, unit_ns",
            fix="give unit_ns, or drift, in the reader's schema; or set shared_axes: false",
        )
    return (*frame["axes"], TIME)


def places_of(
    windows: Windows,
    attributes: Mapping[str, Any],
    *,
    unit: torch.Tensor | None = None,
    first: torch.Tensor | None = None,
    ticks: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """Axis to ``(N, 2)``: the middles of patches or runs, and their reach to either side, in frame units.

    Args:
        windows: The patches.
        attributes: Of the schema.
        unit: ``(N,)`` the patch of each run; all patches by default.
        first: ``(N,)`` the place of its first tick in the patch.
        ticks: ``(N,)`` their number.
    """
    frame, columns = attributes["frame"], windows.traces.columns
    unit_mm, period = float(frame["unit_mm"]), float(attributes["sample_ns"])
    unit = torch.arange(len(windows), device=windows.trace.device) if unit is None else unit
    trace = windows.trace[unit]
    ticks = torch.full_like(unit, windows.patch) if ticks is None else ticks
    place = columns["position_mm"][trace].float() / unit_mm
    tick = windows.window[unit] * windows.patch - columns["start_tick"][trace].long()
    tick = tick if first is None else tick + first
    middle_ns = (columns["time_ns"][trace].double() + (tick + 0.5 * (ticks - 1)) * period).float()
    half_ns, plane = (0.5 * ticks * period).float(), windows.plane[unit]
    size = place.new_tensor(frame.get("size_mm", [0.0])) / unit_mm
    half = 0.5 * size[plane.clamp(0, len(size) - 1)]
    places = {}
    for name, direction in frame["axes"].items():
        reach = half
        if "sees" in frame:
            sees = torch.tensor([name in axes for axes in frame["sees"]], device=half.device)
            reach = half.where(sees[plane.clamp(0, len(sees) - 1)], torch.inf)
        places[name] = torch.stack((place @ place.new_tensor(direction), reach), 1)
    if "drift" not in frame:
        time = torch.stack((middle_ns, half_ns), 1)
        return {**places, TIME: time / float(frame["unit_ns"])}
    for volume in frame["drift"]:
        velocity = float(volume["velocity_mm_us"]) * 1e-3
        along = (float(volume["anode_mm"]) - velocity * middle_ns) / unit_mm
        drifts = torch.stack((along, half_ns * abs(velocity) / unit_mm), 1)
        of_volume = (windows.channel[unit] >= int(volume["first_channel"]))[:, None]
        places[volume["axis"]] = drifts.where(of_volume, places[volume["axis"]])
    return places


def runs_of(windows: Windows, features: torch.Tensor, attributes: Mapping[str, Any]) -> Pieces:
    """Runs of `RUN` samples: their features ``(Q, F)`` side by side, zeros where a sample is not known."""
    known, n_runs = windows.known, -(-windows.patch // RUN)
    of_sample = features.new_zeros(len(windows), n_runs * RUN, features.shape[1])
    of_sample[:, : windows.patch][known] = features
    filled = pad(known, (0, n_runs * RUN - windows.patch)).view(-1, n_runs, RUN).any(2)
    unit, run = filled.nonzero(as_tuple=True)
    return Pieces(
        features=of_sample.view(len(windows), n_runs, RUN * features.shape[1])[unit, run],
        unit=unit,
        places=places_of(
            windows, attributes, unit=unit, first=run * RUN, ticks=(windows.patch - run * RUN).clamp_max(RUN)
        ),
    )
