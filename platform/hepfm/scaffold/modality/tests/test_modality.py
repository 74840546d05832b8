"""The modality keeps to the contract of hepfm, and to what the detector is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from MODULE.modality import CLASS
from MODULE.schema import CELLS, SCHEMA
from MODULE.showers import Showers

from hepfm.api import RaggedTable
from hepfm.errors import DataError
from hepfm.testing import modality_contract


def events(count, **options):
    """Hits of events, without their labels."""
    generator = Showers(Showers.Config(**options), seed=1)
    return [generator.event(index).parts["NAME"] for index in range(count)]


def units(*hits):
    """The units of one event of hits (layer, row, column, energy in MeV)."""
    cell = torch.tensor([hit[:3] for hit in hits])
    energy = torch.tensor([hit[3] for hit in hits])
    table = RaggedTable({"cell": cell, "energy_mev": energy}, torch.tensor([0, len(hits)]))
    return CLASS(CLASS.Config(), SCHEMA).units({"hits": table})


def test_it_keeps_to_the_contract():
    modality = CLASS(CLASS.Config(), SCHEMA)
    modality_contract(modality, events(4, showers=2), content=("energy_mev",))


def test_hits_of_one_cell_are_added():
    found = units((3, 1, 2, 6.0), (0, 15, 15, 1.0), (3, 1, 2, 2.0))
    assert found.positions.tolist() == [[0, 15, 15], [3, 1, 2]]
    assert torch.allclose(found.payload.content.expm1(), torch.tensor([[1.0], [8.0]]))
    assert found.payload.unit.tolist() == [1, 0, 1]


def test_a_schema_without_energies_is_refused():
    bare = replace(SCHEMA, tables={"hits": {"cell": SCHEMA.tables["hits"]["cell"]}})
    with pytest.raises(DataError, match="energy_mev"):
        CLASS(CLASS.Config(), bare)


def test_a_hit_outside_of_the_calorimeter_is_refused():
    columns = {"cell": np.array([[0, 0, 0], CELLS], np.uint16), "energy_mev": np.ones(2, np.float32)}
    table = RaggedTable(columns, np.array([0, 2]))
    with pytest.raises(DataError, match="outside"):
        CLASS(CLASS.Config(), SCHEMA).select({"hits": table})
