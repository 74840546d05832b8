"""The head keeps to the contract of hepfm, and learns what can be learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from MODULE.head import CLASS

from hepfm.api import ClassName, Column, Features, PartSchema, Sample, Tokens
from hepfm.errors import DataError
from hepfm.testing import head_contract

SCHEMA = PartSchema(
    kind="image3d",
    primary="voxels",
    tables={
        "voxels": {
            "energy_mev": Column(dtype="float32", unit="MeV"),
            "semantic": Column(dtype="int8", label=True, vocabulary="semantic"),
        }
    },
    vocabularies={"semantic": (ClassName(value=2, name="shower"), ClassName(value=5, name="track"))},
)


def samples(count):
    """Events with voxels of both classes, and some of a class without a name."""
    rng = np.random.default_rng(1)
    for event_id in range(count):
        n = int(rng.integers(20, 40))
        semantic = rng.choice([2, 5, -1], n).astype("i1")
        energy = rng.exponential(1.0, n).astype("f4")
        yield Sample(
            event_id=event_id,
            parts={"image3d": {"voxels": {"energy_mev": energy}}},
            labels={"image3d": {"voxels": {"semantic": semantic}}},
        )


def test_it_keeps_to_the_contract():
    head_contract(CLASS, schema={"image3d": SCHEMA}, samples=list(samples(4)))


def test_logits_become_the_values_of_classes():
    head = CLASS(CLASS.Config(), schema={"image3d": SCHEMA}, d_in=lambda _need, _part: 2)
    head.network = torch.nn.Identity()  # the features are the logits
    logits = torch.tensor([[0.0, 0.0], [1.0, 3.0], [2.0, -2.0]])
    offsets, nowhere = torch.tensor([0, 1, 3]), torch.zeros(3, 3)
    points = Tokens(x=logits, positions=nowhere, offsets=offsets, part=torch.zeros(3, dtype=torch.int64))
    tables = head.predict(head(Features(points=points, events=2)))["NAME"]["voxels"]
    assert tables["class"][1].tolist() == [5, 2]
    wanted = [1 / (1 + np.exp(-2)), 1 / (1 + np.exp(-4))]
    np.testing.assert_allclose(tables["probability"][1], wanted, rtol=1e-6)


def test_data_without_labels_are_refused():
    bare = replace(SCHEMA, tables={"voxels": {"energy_mev": SCHEMA.tables["voxels"]["energy_mev"]}})
    with pytest.raises(DataError, match="semantic"):
        CLASS(CLASS.Config(), schema={"image3d": bare}, d_in=lambda _need, _part: 8)
    with pytest.raises(DataError, match="did you mean 'image3d'"):
        CLASS(CLASS.Config(part="image"), schema={"image3d": SCHEMA}, d_in=lambda _need, _part: 8)
