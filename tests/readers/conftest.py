"""Events of two parts with all that a store must keep: empty ones, nested lengths, labels, many types."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hepfm.api import Batch, ClassName, Column, PartSchema, Sample
from hepfm.readers.pack import pack
from hepfm.readers.store import StoreWriter

PARTS = {
    "image": PartSchema(
        kind="toy-image",
        primary="hits",
        tables={
            "hits": {
                "voxel": Column(dtype="uint16", shape=(3,), unit="voxel"),
                "energy_mev": Column(dtype="float32", unit="MeV"),
                "kind": Column(dtype="int8", label=True, vocabulary="kind"),
            },
            "particles": {
                "pdg": Column(dtype="int32", label=True),
                "p_gev": Column(dtype="float64", shape=(3,), label=True),
            },
        },
        vocabularies={"kind": (ClassName(value=0, name="a"), ClassName(value=1, name="b"))},
        attributes={"hilbert_column": "voxel", "voxel_mm": 3.0},
    ),
    "light": PartSchema(
        kind="toy-trace",
        primary="samples",
        tables={
            "samples": {"adc": Column(dtype="int16")},
            "pulses": {"length": Column(dtype="uint32", lengths_of="samples")},
        },
    ),
}


def make_events(n: int, seed: int = 0) -> list[Sample]:
    """Random events; the first three have 0, 1 and 70 hits, and the fourth lacks the part ``light``."""
    rng = np.random.default_rng(seed)
    events = []
    for k in range(n):
        hits = (0, 1, 70)[k] if k < 3 else int(rng.integers(0, 40))
        traces, particles = int(rng.integers(0, 9)), int(rng.integers(0, 4))
        image = {
            "voxel": rng.integers(0, 65536, (hits, 3)).astype(np.uint16),
            "energy_mev": rng.exponential(size=hits).astype(np.float32),
        }
        truth = {"kind": rng.integers(0, 2, hits).astype(np.int8)}
        more = {
            "pdg": rng.integers(-2212, 2212, particles).astype(np.int32),
            "p_gev": rng.normal(size=(particles, 3)),
        }
        light = {
            "samples": {"adc": rng.integers(-9, 9, traces).astype(np.int16)},
            "pulses": {"length": np.array([traces], np.uint32)},
        }
        events.append(
            Sample(
                event_id=int(rng.integers(0, 2**63)) * 2 + 1,
                parts={"image": {"hits": image}} | ({} if k == 3 else {"light": light}),
                labels={"image": {"hits": truth, "particles": more}},
            )
        )
    return events


def assert_same(a: Batch, b: Batch) -> None:
    """Same events: ids, cost, and each column with its type."""
    np.testing.assert_array_equal(a.event_ids, b.event_ids)
    np.testing.assert_array_equal(a.cost, b.cost)
    for x, y in ((a.parts, b.parts), (a.labels, b.labels)):
        assert {p: {t: set(v.columns) for t, v in ts.items()} for p, ts in x.items()} == {
            p: {t: set(v.columns) for t, v in ts.items()} for p, ts in y.items()
        }
        for part, tables in x.items():
            for name, table in tables.items():
                np.testing.assert_array_equal(table.offsets, y[part][name].offsets)
                for column, values in table.columns.items():
                    assert values.dtype == y[part][name].columns[column].dtype
                    np.testing.assert_array_equal(values, y[part][name].columns[column])


@pytest.fixture(scope="session")
def parts() -> dict[str, PartSchema]:
    return PARTS


@pytest.fixture(scope="session")
def events() -> Callable[..., list[Sample]]:
    return make_events


@pytest.fixture(scope="session")
def same() -> Callable[[Batch, Batch], None]:
    return assert_same


@pytest.fixture
def store(tmp_path: Path) -> Callable[..., Path]:
    """Writes a store of ``n`` events in blocks of 8."""

    def write(n: int = 30, name: str = "store.h5", **options) -> Path:
        path = tmp_path / name
        with StoreWriter(path, PARTS, {"made_by": "test"}, **{"block_events": 8, **options}) as writer:
            if n:
                writer.write(pack(make_events(n), PARTS))
        return path

    return write
