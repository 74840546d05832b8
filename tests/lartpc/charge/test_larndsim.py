"""Pixel hits against DUNE's simulation larnd-sim, event by event.

The reference (pgranger23/larnd-sim-jax) differs on purpose in three points, which the comparison allows for:
its window opens 1.9 us after electrons that are free at time 0 at the anode arrive, it follows pixels alone that
a segment crosses (charge that diffuses into others is dropped), and it has no noise.
"""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from hepfm_lartpc.charge.config import PixelReadout
from hepfm_lartpc.charge.drift import ElectronDrift, drift_of
from hepfm_lartpc.charge.pixels import PixelPlanes
from hepfm_lartpc.charge.recombination import Recombination, yields
from hepfm_lartpc.event import Deposits
from hepfm_lartpc.tpc import Tpc

PITCH = 4.434
LOW, HIGH, ANODE = (-620.76, -310.38), (620.76, 310.38), 305.897
"""Of y and z, and of x, in mm: four by two tiles of 70 pixels."""
WINDOW_TICKS = 19


def segments(table):
    def mm(*names):
        return 10.0 * np.stack([table[name].astype(float) for name in names], -1)

    return Deposits(
        start_mm=mm("x_start", "y_start", "z_start"),
        end_mm=mm("x_end", "y_end", "z_end"),
        energy_mev=table["dE"].astype(float),
        length_mm=mm("dx")[:, 0],
        time_ns=np.zeros(len(table)),
        track=np.zeros(len(table), np.int32),
    )


def pixels(x, y, z):
    """Side, and the pixel along y and z, of points."""
    index = np.stack([np.sign(x), np.floor((y - LOW[0]) / PITCH), np.floor((z - LOW[1]) / PITCH)], -1)
    return list(map(tuple, index.astype(int).tolist()))


def crossed(deposits):
    part = (np.arange(400) + 0.5) / 400
    points = deposits.start_mm[:, None] + part[:, None] * (deposits.end_mm - deposits.start_mm)[:, None]
    return set(pixels(*points.reshape(-1, 3).T))


@pytest.fixture(scope="module")
def compared(real_data):
    """For each event: hits and charge of the reference, charge here, and the pixels of both."""
    readout = PixelReadout(
        threshold_e=5000, v_cm_mv=284.27734375, v_ref_mv=1282.71484375, reset_noise_e=0, readout_noise_e=0
    )
    drift = drift_of(
        ElectronDrift(velocity_mm_us=1.5964), field_kv_cm=0.5, temperature_k=87.17, lifetime_ms=2.2
    )
    volumes = [
        Tpc(low_mm=(-ANODE, *LOW), high_mm=(0, *HIGH), anode="x-"),
        Tpc(low_mm=(0, *LOW), high_mm=(ANODE, *HIGH), anode="x+"),
    ]
    planes = PixelPlanes(readout, volumes, drift)
    # The reference takes 1.38 g/cm3 for the density.
    birks = Recombination(model="birks", birks_k=0.0486 * 1.396 / 1.38, fluctuate=False)
    with h5py.File(real_data / "larndsim" / "input_0.h5") as file:
        table = file["segments"][:]
    rows = []
    with h5py.File(real_data / "larndsim" / "output_0.h5") as file:
        for batch in file.values():
            for name, group in batch.items():
                made = segments(table[table["eventID"] == int(name.removeprefix("event_"))])
                hits = planes.read(made, yields(made, 0.5, birks).electrons, seed=1, event=0)
                inside = crossed(made)
                x, y, z = hits.position_mm.T
                here = pixels(x, y, z)
                seen = np.array([p in inside for p in here]) & (hits.tick >= WINDOW_TICKS)
                # Its z is our x, along the drift.
                there = pixels(10.0 * group["pix_z"][:], 10.0 * group["pix_y"][:], 10.0 * group["pix_x"][:])
                ticks = group["ticks"][:]
                rows.append(
                    {
                        "hits": len(there),
                        "their_e": 1e3 * float(group["Q"][:].sum()),
                        "our_e": float(hits.charge_e[seen].sum()),
                        "theirs": set(there),
                        "ours": {p for p, ok in zip(here, seen, strict=True) if ok},
                        "outside": sum(p not in inside for p in there),
                        "later": [
                            int(first - ticks[there.index(p)])
                            for p in set(there) & set(here)
                            if (first := min(hits.tick[[k for k, q in enumerate(here) if q == p]])) > 60
                        ],
                    }
                )
    return rows


def test_the_reference_follows_pixels_alone_that_a_segment_crosses(compared):
    assert sum(row["outside"] for row in compared) <= 2
    assert sum(row["hits"] for row in compared) == 777


def test_the_total_charge_is_the_references(compared):
    ours, theirs = (sum(row[key] for row in compared) for key in ("our_e", "their_e"))
    assert ours == pytest.approx(theirs, rel=0.05)


def test_the_charge_of_each_large_event_is_the_references(compared):
    large = [row for row in compared if row["hits"] >= 30]
    assert len(large) == 8
    for row in large:
        assert row["our_e"] == pytest.approx(row["their_e"], rel=0.05)


def test_the_same_pixels_fire(compared):
    both = sum(len(row["ours"] & row["theirs"]) for row in compared)
    any_ = sum(len(row["ours"] | row["theirs"]) for row in compared)
    assert both / any_ > 0.9
    for row in compared:
        if row["hits"] >= 30:
            assert len(row["ours"] & row["theirs"]) / len(row["ours"] | row["theirs"]) > 0.8


def test_pixels_fire_when_the_references_do(compared):
    later = np.concatenate([row["later"] for row in compared])
    assert len(later) > 300
    assert np.median(later) == pytest.approx(WINDOW_TICKS, abs=1.5)
    assert (np.abs(later - WINDOW_TICKS) <= 6).mean() > 0.9
