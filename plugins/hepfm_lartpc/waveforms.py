"""Frames, hits and light as tables of the kind ``waveform``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hepfm.api import PartSchema
from hepfm_lartpc import schema
from hepfm_lartpc.charge.pixels import PixelHits, PixelPlanes
from hepfm_lartpc.charge.suppression import suppress
from hepfm_lartpc.charge.wires import Frames, WirePlanes
from hepfm_lartpc.event import Array
from hepfm_lartpc.light.simulation import Light, LightSimulation
from hepfm_lartpc.tables import Split


def charge_schema(
    readout: WirePlanes | PixelPlanes, detector: str, *, frame: Mapping[str, Any], with_signal: bool
) -> PartSchema:
    """The part ``charge`` of wires, or of pixels, whose hits are waveforms of one sample.

    Pixels have no ``signal_adc``: when a hit comes, the noise decides.
    """
    if isinstance(readout, WirePlanes):
        planes = tuple(plane.name for plane in readout.readout.planes)
        sample_ns, kinds = readout.readout.tick_ns, readout.kinds
    else:
        planes, sample_ns, kinds = ("pixels",), readout.readout.clock_ns, ["collection"]
    return schema.waveform(
        sample_ns=sample_ns,
        truth="electrons",
        planes=planes,
        detector=detector,
        with_signal=with_signal and isinstance(readout, WirePlanes),
        plane_kinds=kinds,
        frame=frame,
    )


def light_schema(
    light: LightSimulation, detector: str, *, frame: Mapping[str, Any], with_signal: bool
) -> PartSchema:
    """The part ``light``."""
    return schema.waveform(
        sample_ns=light.readout.digitizer.sample_ns,
        truth="photoelectrons",
        planes=("photon detectors",),
        detector=detector,
        with_signal=with_signal,
        frame=frame,
    )


def wire_tables(frames: Frames, planes: WirePlanes) -> Split:
    """Frames without bad channels: whole, or the regions that zero suppression keeps."""
    readout = planes.readout
    if readout.zero_suppression:
        regions = suppress(frames, readout.zero_suppression)
        kept = frames.good[regions.channel]
        sample = np.repeat(kept, regions.samples)
        row, start, count = regions.channel[kept], regions.start_tick[kept], regions.samples[kept]
        adc, electrons = regions.adc[sample], regions.electrons[sample]
        signal = None if regions.signal_adc is None else regions.signal_adc[sample]
    else:
        row = np.flatnonzero(frames.good).astype(np.int32)
        start, count = np.zeros(len(row), np.int32), np.full(len(row), readout.ticks, np.int32)
        adc, electrons = frames.adc[row].reshape(-1), frames.electrons[row].reshape(-1)
        signal = None if frames.signal_adc is None else frames.signal_adc[row].reshape(-1)
    return _split(
        adc=adc,
        truth={"electrons": electrons} | ({} if signal is None else {"signal_adc": signal}),
        channel=frames.channel[row],
        plane=frames.plane[row],
        start_tick=start,
        n_samples=count,
        time_ns=(start - readout.trigger_offset_ticks) * readout.tick_ns,
        pedestal_adc=frames.pedestal_adc[row],
        position_mm=frames.position_mm[row],
    )


def pixel_tables(hits: PixelHits, planes: PixelPlanes) -> Split:
    """A trace of one sample for each hit."""
    readout, n = planes.readout, len(hits)
    pedestal = (readout.pedestal_mv - readout.v_cm_mv) / (readout.v_ref_mv - readout.v_cm_mv)
    return _split(
        adc=hits.adc,
        truth={"electrons": hits.electrons},
        channel=hits.channel,
        plane=np.zeros(n),
        start_tick=hits.tick,
        n_samples=np.ones(n),
        time_ns=hits.tick * readout.clock_ns,
        pedestal_adc=np.full(n, pedestal * (1 << readout.bits)),
        position_mm=hits.position_mm,
    )


def light_tables(light: Light, simulation: LightSimulation, *, with_signal: bool) -> Split:
    """A trace for each detector and trigger."""
    digitizer = simulation.readout.digitizer
    position_mm = np.array([panel.position_mm for panel in simulation.readout.panels()])
    first_ns = light.t0_ns[light.trigger] - digitizer.pretrigger * digitizer.sample_ns
    return _split(
        adc=light.adc.reshape(-1),
        truth={"photoelectrons": light.photoelectrons.reshape(-1)}
        | ({"signal_adc": light.signal_adc.reshape(-1)} if with_signal else {}),
        channel=light.detector,
        plane=np.zeros(len(light.detector)),
        start_tick=np.floor(first_ns / digitizer.sample_ns + 1e-6),
        n_samples=np.full(len(light.detector), digitizer.samples),
        time_ns=first_ns,
        pedestal_adc=np.full(len(light.detector), digitizer.pedestal_adc),
        position_mm=position_mm[light.detector],
    )


def _split(*, adc: Array, truth: Mapping[str, Array], **traces: Any) -> Split:
    types = schema.TRACES
    return Split(
        inputs={
            "samples": {"adc": adc.astype(np.int16)},
            "traces": {column: np.asarray(traces[column]).astype(types[column].dtype) for column in types},
        },
        labels={"samples": {name: values.astype(np.float32) for name, values in truth.items()}},
    )
