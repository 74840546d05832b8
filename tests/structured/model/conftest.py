"""Small jets with every kind of field, and with numbers that are not known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hepfm.api import PartSchema, RaggedTables, Tables
from hepfm.data.tensors import to_torch
from hepfm.random import Draws
from hepfm.testing.checks import tables_of
from hepfm_structured.config import StructuredConfig
from hepfm_structured.modality import Structured
from hepfm_structured.schema import field, part_schema

SCHEMA = part_schema(
    {
        "pt": field("float32", "positive", unit="GeV"),
        "eta": field("float32", "continuous"),
        "phi": field("float32", "periodic", unit="rad"),
        "d0": field("float32", "continuous", unit="mm", shape=(2,)),
        "charge": field("int8", "categorical", vocabulary="charge"),
        "number": field("int32"),
    },
    {
        "mass": field("float32", "positive", unit="GeV"),
        "n": field("int16", "continuous"),
        "label": field("int16", label=True),
    },
    order="pt",
)


def jet(seed: int, n: int) -> Tables:
    """A jet of n particles; the second has no impact parameter, the third a charge without a name."""
    rng = np.random.default_rng((7, seed))
    d0 = rng.normal(0, 20, (n, 2)).astype("f4")
    d0[1:2] = np.nan
    charge = rng.integers(-1, 2, n).astype("i1")
    charge[2:3] = 2
    particles = {
        "pt": rng.lognormal(2, 1, n).astype("f4"),
        "eta": rng.normal(0, 1, n).astype("f4"),
        "phi": rng.uniform(-np.pi, np.pi, n).astype("f4"),
        "d0": d0,
        "charge": charge,
        "number": np.arange(n, dtype="i4"),
    }
    event = {"mass": rng.uniform(50, 200, 1).astype("f4"), "n": np.array([n], "i2")}
    return {"particles": particles, "event": event}


@pytest.fixture(scope="session")
def make_jet() -> Callable[[int, int], Tables]:
    """Jet number ``seed`` of ``n`` particles."""
    return jet


@pytest.fixture(scope="session")
def jets() -> list[Tables]:
    """Jets of 4 to 11 particles, and one without."""
    return [jet(seed, n) for seed, n in enumerate((4, 11, 0, 7))]


@pytest.fixture(scope="session")
def schema() -> PartSchema:
    """Of the jets."""
    return SCHEMA


@pytest.fixture(scope="session")
def make_modality() -> Callable[..., Structured]:
    """The modality with options, for the jets."""
    return lambda schema=SCHEMA, **options: Structured(StructuredConfig(**options), schema)


@pytest.fixture(scope="session")
def packed() -> Callable[..., RaggedTables]:
    """Torch tables of jets."""
    return lambda events, schema=SCHEMA: tables_of(events, schema)


@pytest.fixture(scope="session")
def real_events(real_data: Any) -> Callable[..., tuple[Any, PartSchema]]:
    """A torch batch of the first events of a file, and the schema of its part."""
    from hepfm_structured.root import RootReader
    from hepfm_structured.trackml import TrackmlReader

    def read(name: str, n: int) -> tuple[Any, PartSchema]:
        reader = (TrackmlReader if name == "trackml" else RootReader)(real_data / name)
        (schema,) = reader.parts.values()
        return to_torch(reader.read(range(min(n, len(reader))), labels=False)), schema

    return read


@pytest.fixture(scope="session")
def draws() -> Callable[..., Draws]:
    """Random numbers of events with these ids."""
    import torch

    return lambda ids, epoch=0: Draws(seed=1, epoch=epoch, event_ids=torch.as_tensor(ids))
