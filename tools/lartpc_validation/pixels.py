# ruff: noqa: INP001
"""Pixels, against the hits that DUNE's simulation larnd-sim makes of the same segments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from lartpc_validation.picture import BLUE, GREY, RED, Check

from hepfm_lartpc.charge.config import PixelReadout
from hepfm_lartpc.charge.drift import ElectronDrift, drift_of
from hepfm_lartpc.charge.pixels import PixelPlanes
from hepfm_lartpc.charge.recombination import Recombination, yields
from hepfm_lartpc.event import Deposits
from hepfm_lartpc.tpc import Tpc


def draw_pixels(panel: Any, folder: Path) -> Iterator[Check]:
    """Segments of edep-sim read by our pixels, against the hits that larnd-sim made of them."""
    readout = PixelReadout(v_cm_mv=284.27734375, v_ref_mv=1282.71484375, reset_noise_e=0, readout_noise_e=0)
    drift = drift_of(
        ElectronDrift(velocity_mm_us=1.5964), field_kv_cm=0.5, temperature_k=87.17, lifetime_ms=2.2
    )
    low, high, anode = (-620.76, -310.38), (620.76, 310.38), 305.897
    volumes = [
        Tpc(low_mm=(-anode, *low), high_mm=(0, *high), anode="x-"),
        Tpc(low_mm=(0, *low), high_mm=(anode, *high), anode="x+"),
    ]
    planes = PixelPlanes(readout, volumes, drift)
    birks = Recombination(model="birks", birks_k=0.0486 * 1.396 / 1.38, fluctuate=False)
    with h5py.File(folder / "input_0.h5") as file:
        table = file["segments"][:]
    ours, theirs, hits_of = [], [], []
    with h5py.File(folder / "output_0.h5") as file:
        for name, group in ((name, group) for batch in file.values() for name, group in batch.items()):
            rows = table[table["eventID"] == int(name.removeprefix("event_"))]
            ends = [
                10 * np.stack([rows[f"{axis}_{end}"] for axis in "xyz"], -1).astype(float)
                for end in ("start", "end")
            ]
            made = Deposits(
                start_mm=ends[0],
                end_mm=ends[1],
                energy_mev=rows["dE"].astype(float),
                length_mm=10 * rows["dx"].astype(float),
                time_ns=np.zeros(len(rows)),
                track=np.zeros(len(rows), np.int32),
            )
            hits = planes.read(made, yields(made, 0.5, birks).electrons, seed=1, event=0)
            # It follows pixels alone that a segment crosses, and its window opens 1.9 us late.
            part = (np.arange(400) + 0.5) / 400
            crossed = made.start_mm[:, None] + part[:, None] * (made.end_mm - made.start_mm)[:, None]
            inside = {_pixel(point, low, readout.pitch_mm) for point in crossed.reshape(-1, 3)}
            seen = np.array([_pixel(at, low, readout.pitch_mm) in inside for at in hits.position_mm]) & (
                hits.tick >= 19
            )
            ours.append(float(hits.charge_e[seen].sum()))
            theirs.append(1e3 * float(group["Q"][:].sum()))
            hits_of.append(len(group["Q"]))
    panel.loglog(np.array(theirs) * 1e-3, np.array(ours) * 1e-3, "o", color=BLUE, label="events")
    ends_ke = np.array([min(theirs), max(theirs)]) * 1e-3
    panel.loglog(ends_ke, ends_ke, color=GREY, label="equal")
    panel.set(xlabel="larnd-sim [thousands of electrons]", ylabel="hepfm [thousands of electrons]")
    large = np.array(hits_of) >= 30
    ratio = np.array(ours) / np.array(theirs)
    panel.loglog(
        np.array(theirs)[large] * 1e-3, np.array(ours)[large] * 1e-3, "o", color=RED, label="30 hits or more"
    )
    yield Check(
        what="charge of all events over larnd-sim's",
        hepfm=sum(ours) / sum(theirs),
        reference=1.0,
        within=0.05,
        source="larnd-sim (pgranger23/larnd-sim-jax)",
    )
    yield Check(
        what="the same of the event of 30 hits or more at its worst",
        hepfm=float(ratio[large][np.argmax(np.abs(ratio[large] - 1))]),
        reference=1.0,
        within=0.05,
        source="larnd-sim",
    )


def _pixel(point: Any, low: tuple[float, float], pitch_mm: float) -> tuple[bool, int, int]:
    return bool(point[0] > 0), int((point[1] - low[0]) // pitch_mm), int((point[2] - low[1]) // pitch_mm)
