"""From windows back to tables of the schema: traces of what is known, each as long as it goes on.

Legend: B events, U units, P samples of a window, Q known samples, R runs of them.
"""

from __future__ import annotations

import torch

from hepfm.api import RaggedTable, RaggedTables
from hepfm.nn.ragged import offsets_of
from hepfm_waveform.windows import Windows


def tables_of(windows: Windows, adc: torch.Tensor, *, sample_ns: float) -> RaggedTables:
    """The tables ``samples`` and ``traces`` of the windows' known samples, in order of channel and time.

    Args:
        windows: The units.
        adc: ``(U, P)`` float32 counts.
        sample_ns: From one sample to the next.
    """
    unit, place = windows.known.nonzero(as_tuple=True)
    tick = windows.window[unit] * windows.patch + place
    channel = torch.stack((windows.event, windows.plane, windows.channel), 1)
    is_first = torch.ones_like(tick, dtype=torch.bool)
    is_first[1:] = (tick[1:] != tick[:-1] + 1) | (channel[unit[1:]] != channel[unit[:-1]]).any(1)
    start = is_first.nonzero()[:, 0]
    n_events = len(windows.offsets) - 1
    samples_of_event = torch.bincount(windows.event[unit], minlength=n_events)
    runs_of_event = torch.bincount(windows.event[unit[start]], minlength=n_events)

    original = windows.traces.columns
    trace, run_tick = windows.trace[unit[start]], tick[start]
    columns = {name: values[trace] for name, values in original.items()}
    n_samples = torch.cat((start, start.new_full((1,), len(unit)))).diff()
    columns["start_tick"] = run_tick.to(original["start_tick"].dtype)
    columns["n_samples"] = n_samples.to(original["n_samples"].dtype)
    if "time_ns" in original:
        later = (run_tick - original["start_tick"][trace].long()).double() * sample_ns
        columns["time_ns"] = original["time_ns"][trace] + later.to(original["time_ns"].dtype)
    if "pedestal_adc" in original:
        columns["pedestal_adc"] = windows.pedestal_adc[unit[start]].to(original["pedestal_adc"].dtype)
    return {
        "samples": RaggedTable({"adc": adc[unit, place]}, offsets_of(samples_of_event)),
        "traces": RaggedTable(columns, offsets_of(runs_of_event)),
    }
